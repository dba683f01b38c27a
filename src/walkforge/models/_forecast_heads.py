"""From the raw numbers of linear heads to a forecast that can come true.

A bar's high lies on or above both its ends, its low on or below them, a band has no negative
width, and quantiles rise: each is a sum of what stands below it and a softplus, so that no number
of a head, and no rounding, can break it.

Shapes: H steps ahead, Q quantiles, K numbers of a forecast row
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ._forecast_row import ForecastRow

HEADS = ("ohlc", "band", "volatility", "quantiles")


def head_widths(row: ForecastRow) -> dict[str, int]:
    """Return how many numbers each head says: of every step, but `volatility` once."""
    return {"ohlc": 4, "band": 2, "volatility": 1, "quantiles": len(row.levels)}


def possible_forecast(row: ForecastRow, raw: Mapping[str, Tensor]) -> Tensor:
    """Return forecast rows [..., K], at least in float32, from the heads' raw numbers.

    `ohlc` [..., H, 4] holds open, upper wick, lower wick, close; `band` [..., H, 2] middle and half
    width; `quantiles` [..., H, Q] the median and the distances away from it; `volatility` [..., 1].
    """
    wide = {name: _at_least_float32(raw[name]) for name in HEADS}
    parts = (_bars(wide["ohlc"]), _band(wide["band"]), _quantiles(row, wide["quantiles"]))
    bars, band, quantiles = (part.flatten(-2) for part in parts)
    return torch.cat([bars, band, wide["volatility"], quantiles], dim=-1)


def _bars(raw: Tensor) -> Tensor:
    first, up, down, last = raw.unbind(-1)
    high = torch.maximum(first, last) + functional.softplus(up)
    low = torch.minimum(first, last) - functional.softplus(down)
    return torch.stack([first, high, low, last], dim=-1)


def _band(raw: Tensor) -> Tensor:
    middle, half = raw.unbind(-1)
    return torch.stack([middle, functional.softplus(half)], dim=-1)


def _quantiles(row: ForecastRow, raw: Tensor) -> Tensor:
    """Walk from the median outwards: added one by one, sums cannot fall, whereas a parallel
    cumulative sum rounds each of its sums on its own."""
    middle = row.levels.index(0.5)
    found = list(raw.unbind(-1))
    gaps = functional.softplus(raw).unbind(-1)
    for q in range(middle + 1, len(found)):
        found[q] = found[q - 1] + gaps[q]
    for q in range(middle - 1, -1, -1):
        found[q] = found[q + 1] - gaps[q]
    return torch.stack(found, dim=-1)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
