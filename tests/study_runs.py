"""A small study of noise, for tests that need a whole run."""

from drawn import random_bars
from walkforge import study

SETTINGS = [
    "name=small",
    "features.set=gru",
    "labels.kind=quantile",
    "labels.horizon_bars=3",
    "folds.kind=walk_forward",
    "folds.unit=bars",
    "folds.count=2",
    "folds.validation=200",
    "folds.calibration=200",
    "folds.test=300",
    "folds.embargo_bars=5",
    "model.widths=[16]",
    "training.epochs=3",
    "training.batch_size=64",
    "seeds=[0, 1]",
    "judge.n_resamples=200",
    "backtest.n_random=20",
    "backtest.n_resamples=100",
    "backtest.size_contracts=1.0",
    "backtest.sizes=[1.0]",
]


def small_study(*more: str) -> study.Study:
    """Return a study that runs in a few seconds."""
    overrides = [*SETTINGS, *more]
    return study.from_plain(study.plain_of_overrides(overrides), "test")


def small_bars():
    """Return two symbols of noise, one with a hole."""
    return {
        "AAA": random_bars(2200, seed=1, symbol="AAA"),
        "BBB": random_bars(2200, seed=2, symbol="BBB", holes_at=(700,)),
    }
