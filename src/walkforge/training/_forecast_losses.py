"""Losses of a forecaster's heads, each about as large at every step ahead.

A market that walks at random is sqrt(h) sigma away after h bars, so that every price is compared
in units of what its own step lets expect; else the last step alone would be learned.

Shapes: ... any leading axes, H steps ahead, Q quantiles, T = 6 H + 1 targets, K forecast numbers
"""

import torch
from torch import Tensor
from torch.nn import functional

from walkforge.models import ForecastRow

# A horizon without any move has no log volatility; this is a hundredth of the past's.
_LEAST_VARIANCE_RATIO = 1e-4


def forecast_losses(
    row: ForecastRow, forecast: Tensor, targets: Tensor, *, levels_Q: Tensor
) -> Tensor:
    """Return the losses [..., 4] of `ohlc`, `band`, `volatility` and `quantiles`.

    `forecast` [..., K] is ordered as `row` says, `targets` [..., T] as `labels.forecast_targets`
    gives them: per step open, high, low, close, then per step middle and half width of the band,
    then the volatility of the horizon, all in sigma. `levels_Q` are the row's, on the device.

    `ohlc`, `band`: the Huber loss (half the square up to 1, then linear), mean over steps and
    numbers. `volatility`: half the QLIKE loss of the variance (Patton 2011, "Volatility forecast
    comparison using imperfect volatility proxies"). `quantiles`: the pinball loss of the close
    (Koenker and Bassett 1978), mean over steps and levels.
    """
    root_H1 = torch.arange(1, row.horizon_bars + 1, device=forecast.device).sqrt()[:, None]
    parts = row.split(forecast)
    true = row.split_targets(targets)
    missed_HQ = (true["ohlc"][..., 3:] - parts["quantiles"]) / root_H1
    pinball_HQ = torch.maximum(levels_Q * missed_HQ, (levels_Q - 1.0) * missed_HQ)
    losses = [
        _huber((parts["ohlc"] - true["ohlc"]) / root_H1),
        _huber((parts["band"] - true["band"]) / root_H1),
        _half_qlike(parts["volatility"][..., 0], true["volatility"][..., 0]),
        pinball_HQ.mean(dim=(-2, -1)),
    ]
    return torch.stack(losses, dim=-1)


def _huber(missed: Tensor) -> Tensor:
    return functional.huber_loss(missed, torch.zeros_like(missed), reduction="none").mean((-2, -1))


def _half_qlike(log_ratio: Tensor, ratio: Tensor) -> Tensor:
    """Return half of x - ln x - 1, x the true variance over the forecast one; both over sigma."""
    log_true = ratio.square().clamp(min=_LEAST_VARIANCE_RATIO).log()
    log_x = log_true - 2.0 * log_ratio
    return 0.5 * (log_x.exp() - log_x - 1.0)
