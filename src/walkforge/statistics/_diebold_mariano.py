"""Does one forecast lose less than another? The test of Diebold and Mariano (1995).

Shapes: n times
"""

import math
from dataclasses import dataclass

from walkforge.base import EvaluationError, FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class DieboldMariano:
    """The mean difference of two forecasts' losses, and what can be said of it.

    All but the mean are NaN where the difference is the same at every time.
    """

    mean_difference: float
    low: float
    """With `high` the two-sided 95 % interval, in the unit of the losses."""
    high: float
    statistic: float
    """Student's t with n - 1 degrees where the true mean is 0."""
    p_value: float
    """One-sided: the chance of at least this mean where the true one is 0 or below."""
    p_two_sided: float
    n: int
    lag_times: int


def diebold_mariano(difference: FloatArray, *, overlap_times: int) -> DieboldMariano:
    """Return the test of a series of loss differences (n,) in time order, one for each time.

    One forecast's losses less the other's: above 0 the other is better. `overlap_times` is how
    many later times a forecast shares its future with: h - 1 where each looks h steps ahead.

    Diebold and Mariano (1995), Comparing Predictive Accuracy, Journal of Business and Economic
    Statistics 13(3), with a Bartlett kernel for the variance (Newey and West 1987;
    the flat one of 1995 may make it negative) over `bartlett_lag` lags; corrected for small
    samples as Harvey, Leybourne and Newbold (1997), Testing the Equality of Prediction Mean
    Squared Errors, International Journal of Forecasting 13(2). Raises
    EvaluationError where the lags leave no time to spare.
    """
    from scipy.stats import t

    n, lag = len(difference), bartlett_lag(len(difference), overlap_times)
    if lag >= n - 1:
        raise EvaluationError(
            f"{n} loss differences of forecasts that overlap with {overlap_times} later ones; "
            f"expected at least {max(5, 3 * overlap_times + 2)}"
        )
    mean = float(difference.mean())
    error = standard_error(difference, lag)
    if error <= 1e-12 * abs(mean):
        error = math.nan
    half, ratio = error * float(t.ppf(0.975, n - 1)), mean / error
    return DieboldMariano(
        mean_difference=mean,
        low=mean - half,
        high=mean + half,
        statistic=ratio,
        p_value=float(t.sf(ratio, n - 1)),
        p_two_sided=float(2 * t.sf(abs(ratio), n - 1)),
        n=n,
        lag_times=lag,
    )


def bartlett_lag(n: int, overlap_times: int) -> int:
    """Return the lag of the kernel: 3 (h - 1), 1.3 sqrt(n) rounded up if that is more.

    The kernel gives a lag its weight 1 - j / (lag + 1), so a lag of h - 1 alone would count only
    two thirds of the variance that sums over h overlapping steps have; three times as many count
    nine tenths. The square root is the rule of Lazarus, Lewis, Stock and Watson (2018) for
    memories of any other kind.
    """
    return min(n - 1, max(3 * overlap_times, math.ceil(1.3 * math.sqrt(n))))


def standard_error(difference: FloatArray, lag: int) -> float:
    """Return the standard error of the mean, corrected for small samples.

    Harvey, Leybourne and Newbold's factor is for h - 1 lags; here h is the lag plus 1.
    """
    n = len(difference)
    centred = difference - difference.mean()
    variance = float(centred @ centred)
    for j in range(1, lag + 1):
        variance += 2.0 * (1.0 - j / (lag + 1)) * float(centred[j:] @ centred[:-j])
    h = lag + 1
    shrink = (n + 1 - 2 * h + h * (h - 1) / n) / n
    return math.sqrt(max(0.0, variance) / shrink) / n
