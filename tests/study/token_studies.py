"""Small studies of MarketGPT, and bars for them."""

from drawn import random_bars
from walkforge import study

STEPS = 3
SETTINGS = [
    "name=market",
    "features.set=gru",
    "labels.kind=quantile",
    f"labels.horizon_bars={STEPS}",
    "folds.kind=walk_forward",
    "folds.unit=bars",
    "folds.count=2",
    "folds.validation=100",
    "folds.calibration=100",
    "folds.test=100",
    "folds.embargo_bars=5",
    "model={name: marketgpt, d_model: 16, layers: 1, heads: 2, d_ff: 32, context: 16}",
    "tokenizer={vocabulary: 32, volatility_bars: 20, volume_bars: 20}",
    "training={epochs: 2, batch_windows: 16, learning_rate: 0.01, warmup_steps: 5}",
    "sampling.paths=8",
    "judge.baselines=[prior, majority]",
    "judge.forecast_baselines=[persistence, historical_volatility]",
    "judge.n_resamples=100",
    "backtest.n_random=20",
    "backtest.n_resamples=100",
    "backtest.size_contracts=1.0",
    "backtest.sizes=[1.0]",
]
UNIVERSE = """
assets:
  - {venue: drawn, category: coins, currency: USD, calendar: 24/7, symbols: [ZZZ, AAA]}
  - {venue: drawn, category: other, currency: USD, calendar: 24/7, symbols: [BBB, GONE]}
"""


def token_study(*more):
    """Return the settings above as a study, with more of them."""
    return study.from_plain(study.plain_of_overrides([*SETTINGS, *more]), "test")


def two_symbols():
    """Return two symbols of noise, one that begins later and has a hole."""
    late = random_bars(1400, seed=2, symbol="BBB", holes_at=(450,))
    return {
        "AAA": random_bars(1400, seed=1, symbol="AAA"),
        "BBB": late.take(slice(100, None)),
    }


def universe_file(folder):
    """Write a universe of four symbols, two of which have bars, and return its path."""
    path = folder / "mine.yaml"
    path.write_text(UNIVERSE)
    return path
