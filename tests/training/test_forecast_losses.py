"""The losses of a forecaster's heads against slow code, and what they are smallest at."""

import numpy as np
import pytest
import torch

from walkforge.base import TrainingError
from walkforge.models import ForecastRow
from walkforge.training import HEADS, HeadWeights, forecast_losses

ROW = ForecastRow(3, (0.1, 0.5, 0.9))
LEVELS = torch.tensor(ROW.levels)


def _losses(forecast, targets):
    return forecast_losses(ROW, forecast, targets, levels_Q=LEVELS)


def _drawn(n=40, seed=0):
    random = torch.Generator().manual_seed(seed)
    forecast = torch.randn(n, ROW.n_numbers, generator=random) * 2
    targets = torch.randn(n, 6 * 3 + 1, generator=random)
    targets[:, -1].abs_()
    return forecast, targets


def _slow(forecast, targets):
    def huber(x):
        return 0.5 * x * x if abs(x) <= 1 else abs(x) - 0.5

    parts = {name: part.numpy().astype(float) for name, part in ROW.split(forecast).items()}
    bar, band = targets[:12].reshape(3, 4), targets[12:18].reshape(3, 2)
    roots = np.sqrt([1.0, 2.0, 3.0])
    ohlc = np.mean([[huber((parts["ohlc"][h, k] - bar[h, k]) / roots[h]) for k in range(4)]
                    for h in range(3)])  # fmt: skip
    bands = np.mean([[huber((parts["band"][h, k] - band[h, k]) / roots[h]) for k in range(2)]
                     for h in range(3)])  # fmt: skip
    x = max(targets[18] ** 2, 1e-4) / np.exp(2 * parts["volatility"][0])
    pinball = []
    for h in range(3):
        for level, q in zip(ROW.levels, parts["quantiles"][h], strict=True):
            missed = (bar[h, 3] - q) / roots[h]
            pinball.append(level * missed if missed > 0 else (level - 1) * missed)
    return [ohlc, bands, 0.5 * (x - np.log(x) - 1), np.mean(pinball)]


def test_losses_are_what_slow_code_finds():
    forecast, targets = _drawn()
    found = _losses(forecast, targets)
    slow = [_slow(f, t.numpy().astype(float)) for f, t in zip(forecast, targets, strict=True)]
    np.testing.assert_allclose(found.numpy(), np.array(slow), rtol=2e-4, atol=1e-5)
    assert (found >= 0).all()


def test_a_perfect_forecast_has_no_loss():
    forecast, targets = _drawn()
    parts = ROW.split(forecast)
    parts["ohlc"][:] = targets[:, :12].view(-1, 3, 4)
    parts["band"][:] = targets[:, 12:18].view(-1, 3, 2)
    parts["volatility"][:, 0] = targets[:, 18].clamp(min=1e-2).log()
    parts["quantiles"][:] = targets[:, :12].view(-1, 3, 4)[..., 3:]
    np.testing.assert_allclose(_losses(forecast, targets).numpy(), 0.0, atol=1e-6)


def test_pinball_is_least_at_the_quantile():
    random = torch.Generator().manual_seed(1)
    targets = torch.zeros(20_000, 19)
    targets[:, 3] = torch.randn(20_000, generator=random)
    at = {}
    for q in (-1.6, -1.2816, -0.9):
        forecast = torch.zeros(1, ROW.n_numbers).repeat(20_000, 1)
        ROW.split(forecast)["quantiles"][:, 0, 0] = q
        at[q] = _losses(forecast, targets)[:, 3].mean()
    assert at[-1.2816] < min(at[-1.6], at[-0.9])


def test_a_horizon_that_stood_still_has_a_finite_loss_and_slope():
    forecast = torch.zeros(1, ROW.n_numbers, requires_grad=True)
    loss = _losses(forecast, torch.zeros(1, 19))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(forecast.grad).all()


@pytest.mark.parametrize("changes", [{"ohlc": -1.0}, {"band": float("nan")}])
def test_impossible_weights_are_refused(changes):
    with pytest.raises(TrainingError, match=f"training.heads.{next(iter(changes))}"):
        HeadWeights(**changes)


def test_weights_that_teach_nothing_are_refused():
    with pytest.raises(TrainingError, match="nothing to learn"):
        HeadWeights(**dict.fromkeys(HEADS, 0.0))
