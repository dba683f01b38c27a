"""How sure a Sharpe ratio is, and what luck alone would have shown. All ratios are per period.

A year's ratio becomes a period's by dividing it by the root of the periods a year.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from walkforge.base import EvaluationError, FloatArray

from ._block_bootstrap import FEWEST_VALUES

_EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True, kw_only=True, slots=True)
class ReturnMoments:
    """What the distribution of a Sharpe ratio depends on."""

    sharpe: float
    """Mean over standard deviation (n - 1), per period; NaN where there is none."""
    n_returns: int
    skewness: float = 0.0
    kurtosis: float = 3.0
    """Not in excess: 3 for a normal."""

    @property
    def spread(self) -> float:
        """Return the standard deviation of the estimated ratio times the root of (n - 1).

        sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2), Mertens (2002) in Bailey and Lopez de Prado (2012);
        NaN where impossible moments make the square negative.
        """
        squared = 1 - self.skewness * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2
        return math.sqrt(squared) if squared > 0 else math.nan


def sharpe_ratio(returns: FloatArray) -> float:
    """Return mean over standard deviation (n - 1) of returns (n,), per period; NaN if undefined.

    Undefined: fewer than FEWEST_VALUES returns, NaN among them, or no variation beyond rounding.
    """
    if len(returns) < FEWEST_VALUES or np.isnan(returns).any():
        return math.nan
    spread = float(np.std(returns, ddof=1))
    # Equity near 10 000 is exact to 1e-12 of itself; less variation than that is rounding.
    return float(np.mean(returns)) / spread if spread > 1e-14 else math.nan


def moments_of(returns: FloatArray) -> ReturnMoments:
    """Return the moments of returns (n,); all are NaN where there is no Sharpe ratio."""
    ratio = sharpe_ratio(returns)
    if math.isnan(ratio):
        return ReturnMoments(
            sharpe=ratio, n_returns=len(returns), skewness=math.nan, kurtosis=math.nan
        )
    centred = returns - returns.mean()
    variance = float(np.mean(centred**2))
    return ReturnMoments(
        sharpe=ratio,
        n_returns=len(returns),
        skewness=float(np.mean(centred**3)) / variance**1.5,
        kurtosis=float(np.mean(centred**4)) / variance**2,
    )


def probabilistic_sharpe(moments: ReturnMoments, *, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio is above `benchmark`; NaN if undefined.

    Phi((SR - benchmark) sqrt(n - 1) / spread): Bailey and Lopez de Prado (2012), The Sharpe Ratio
    Efficient Frontier, Journal of Risk 15(2). Returns are taken as independent.
    """
    from scipy.stats import norm

    if math.isnan(moments.sharpe):
        return math.nan
    z = (moments.sharpe - benchmark) * math.sqrt(moments.n_returns - 1)
    return float(norm.cdf(z / moments.spread))


def minimum_track_record(
    moments: ReturnMoments, *, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Return how many returns make `probabilistic_sharpe` reach `confidence`, moments unchanged.

    1 + spread^2 (Phi^-1(confidence) / (SR - benchmark))^2: Bailey and Lopez de Prado (2012),
    equation 13. In returns, not in years; infinite where the ratio is not above `benchmark`, NaN
    where there is none. Raises EvaluationError for a confidence that is not from 0.5 to 1.
    """
    from scipy.stats import norm

    if not 0.5 <= confidence < 1:
        raise EvaluationError(f"confidence is {confidence}; expected from 0.5 to below 1")
    above = moments.sharpe - benchmark
    if above <= 0:
        return math.inf
    return 1.0 + (moments.spread * float(norm.ppf(confidence)) / above) ** 2


def expected_maximum_sharpe(n_trials: int, *, trial_variance: float) -> float:
    """Return the Sharpe ratio that the best of `n_trials` worthless ones is expected to show.

        sqrt(V) ((1 - e) Phi^-1(1 - 1 / N) + e Phi^-1(1 - 1 / (N exp(1))))

    with the variance V of the trials' ratios and Euler's constant e: Bailey and Lopez de Prado
    (2014), The Deflated Sharpe Ratio, Journal of Portfolio Management 40(5), equation 1. 0 for
    one trial. Raises EvaluationError below one trial.
    """
    from scipy.stats import norm

    if n_trials < 1:
        raise EvaluationError(f"n_trials is {n_trials}; the one looked at counts, so at least 1")
    if n_trials == 1:
        return 0.0
    luck = (1 - _EULER_GAMMA) * norm.ppf(1 - 1 / n_trials)
    luck += _EULER_GAMMA * norm.ppf(1 - 1 / (n_trials * math.e))
    return math.sqrt(trial_variance) * float(luck)


def sharpe_variance(ratios: Iterable[float | None]) -> float | None:
    """Return the variance (n - 1) of trials' Sharpe ratios, per period.

    None and NaN, trials without a ratio, are left out; None with fewer than two others.
    """
    known = [ratio for ratio in ratios if ratio is not None and not math.isnan(ratio)]
    return float(np.var(known, ddof=1)) if len(known) > 1 else None


def deflated_sharpe(
    moments: ReturnMoments, *, n_trials: int, trial_variance: float | None = None
) -> float:
    """Return the probability that the true Sharpe ratio is above what luck shows in `n_trials`.

    `probabilistic_sharpe` above `expected_maximum_sharpe`: Bailey and Lopez de Prado (2014),
    equation 2. `trial_variance` is measured over the trials (`sharpe_variance`); left out, it is
    that of worthless ones with as many returns, 1 / (n - 1). NaN where there is no ratio.
    """
    if trial_variance is None:
        trial_variance = 1.0 / (moments.n_returns - 1) if moments.n_returns > 1 else math.nan
    luck = expected_maximum_sharpe(n_trials, trial_variance=trial_variance)
    return probabilistic_sharpe(moments, benchmark=luck)
