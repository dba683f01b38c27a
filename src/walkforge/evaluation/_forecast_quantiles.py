"""What every row loses by its quantiles: pinball loss, CRPS and coverage.

Shapes: n rows, Q levels
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray, PredictionsError

from ._forecast_rows import BPS, ROUNDING, Forecasts

INTERVALS = {"coverage_90": ("q_05", "q_95"), "coverage_80": ("q_10", "q_90")}
"""Columns between which a share of the closes should lie, and the measure of it."""

BELOW = "below_"
"""Begins the name of the share of closes at or below a quantile; its level follows."""


def quantile_losses(
    rows: Forecasts, close: FloatArray, error: FloatArray
) -> Iterator[tuple[str, FloatArray]]:
    """Yield pinball loss, CRPS, coverages, and which closes lie at or below each quantile.

    `close` are logs, `error` |forecast - close| in bps (n,): the CRPS of a row that has no
    quantiles, for that is what it is for a point. NaN marks a row without the rest.
    """
    levels = levels_of(rows)
    if not levels:
        yield "crps_bps", error
        return
    pinball, crps = np.zeros(len(rows)), np.zeros(len(rows))
    outer: dict[str, FloatArray] = {}
    weights = dict(zip(levels, trapezoid_weights([*levels.values()]), strict=True))
    first, last = min(levels), max(levels)
    kept = {first, last}.union(*INTERVALS.values())
    for name, above in _above_quantiles(rows, close, levels):
        loss = np.where(above >= 0, levels[name] * above, (levels[name] - 1.0) * above)
        pinball += loss
        crps += weights[name] * loss
        yield BELOW + name.removeprefix("q_"), _flags(above <= ROUNDING, above)
        if name in kept:
            outer[name] = above
    for measure, (low, high) in INTERVALS.items():
        if low in outer and high in outer:
            inside = (outer[low] >= -ROUNDING) & (outer[high] <= ROUNDING)
            yield measure, _flags(inside, outer[low])
    crps += _tail(outer[first], levels[first]) + _tail(-outer[last], 1.0 - levels[last])
    yield "pinball_bps", BPS * pinball / len(levels)
    yield "crps_bps", np.where(np.isnan(crps), error, 2.0 * BPS * crps)


def levels_of(rows: Forecasts) -> dict[str, float]:
    """Return the quantile columns that hold numbers and their levels, rising.

    Raises PredictionsError for a name that is not `q_` and a level in percent, two digits.
    """
    columns = [name for name in rows.table.columns if name.startswith("q_")]
    strange = [name for name in columns if not re.fullmatch(r"q_(?!00)\d\d", name)]
    if strange:
        raise PredictionsError(
            f"{rows.what}: column {strange[0]!r}, expected q_01 to q_99: the level in percent"
        )
    held = [name for name in columns if rows.table[name].null_count() < len(rows)]
    return {name: int(name.removeprefix("q_")) / 100 for name in sorted(held)}


def trapezoid_weights(levels: Sequence[float]) -> Float[np.ndarray, " Q"]:
    """Return what each level counts in an integral from the first to the last of them."""
    halves = np.diff(levels) / 2.0
    return np.append(halves, 0.0) + np.append(0.0, halves)


def _tail(above: FloatArray, level: float) -> FloatArray:
    """Return the integral of the pinball loss from level 0 to the lowest one, or its mirror.

    The quantile stays where the outermost one is, as if all the mass beyond lay there: nothing
    is assumed that was not said, and a close beyond is charged in full.
    """
    return np.where(above >= 0, level**2 / 2.0 * above, (level**2 / 2.0 - level) * above)


def _above_quantiles(
    rows: Forecasts, close: FloatArray, levels: dict[str, float]
) -> Iterator[tuple[str, FloatArray]]:
    """Yield how far the close lies above each quantile (n,), logs; refuse quantiles that fall."""
    before: FloatArray | None = None
    for name in levels:
        quantile = rows.log_price(name)
        assert quantile is not None, name
        if before is not None:
            holes = np.isnan(before) != np.isnan(quantile)
            rows.refuse(holes, lambda _: "only some of the quantiles", "all or none")
            falls = quantile < before - ROUNDING
            rows.refuse_price(falls, name, quantile, "at least the quantile before it")
        yield name, close - quantile
        before = quantile


def _flags(true: np.ndarray, given: FloatArray) -> FloatArray:
    """Return 1 where true, else 0, and NaN where nothing is given (n,)."""
    return np.where(np.isnan(given), np.nan, true.astype(np.float64))
