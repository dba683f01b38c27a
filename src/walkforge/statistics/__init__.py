"""Statistics that several rooms need, each with the paper that it comes from.

Plain numbers in, plain numbers out: nothing here knows a model, a market or a gate.
"""

from ._block_bootstrap import FEWEST_VALUES, block_bootstrap
from ._block_length import optimal_block_length
from ._diebold_mariano import DieboldMariano, bartlett_lag, diebold_mariano
from ._multiple_testing import benjamini_hochberg, benjamini_yekutieli, holm
from ._overfitting import BacktestOverfitting, probability_of_backtest_overfitting
from ._rates import Uniformity, binomial_interval, uniformity
from ._sharpe import (
    ReturnMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    moments_of,
    probabilistic_sharpe,
    sharpe_ratio,
    sharpe_variance,
)
from ._superiority import SuperiorTrials, superior_trials
from ._uniqueness import effective_labels, label_uniqueness

__all__ = [
    "FEWEST_VALUES",
    "BacktestOverfitting",
    "DieboldMariano",
    "ReturnMoments",
    "SuperiorTrials",
    "Uniformity",
    "bartlett_lag",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "binomial_interval",
    "block_bootstrap",
    "deflated_sharpe",
    "diebold_mariano",
    "effective_labels",
    "expected_maximum_sharpe",
    "holm",
    "label_uniqueness",
    "minimum_track_record",
    "moments_of",
    "optimal_block_length",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "sharpe_ratio",
    "sharpe_variance",
    "superior_trials",
    "uniformity",
]
