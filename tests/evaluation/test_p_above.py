"""One-sided p-values of the bootstrap: uniform on nothing, and at one with the interval."""

import numpy as np

from walkforge.evaluation._bootstrap import interval, p_above, resample
from walkforge.statistics import uniformity

N_BLOCKS, N_RESAMPLES = 60, 500


def _means(random: np.random.Generator, *, shift: float = 0.0) -> np.ndarray:
    """Return resampled means (R,) of blocks of a series whose true mean is `shift`."""
    sums = random.normal(shift, 1.0, (N_BLOCKS, 1))
    seed = int(random.integers(2**31))
    return resample(sums, n_resamples=N_RESAMPLES, seed=seed)[:, 0] / N_BLOCKS


def test_p_values_are_uniform_where_the_truth_is_the_limit():
    random = np.random.default_rng(17)
    found = [p_above(_means(random), 0.0, N_BLOCKS) for _ in range(300)]
    assert uniformity(found).p_value > 0.01
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09


def test_p_values_lean_to_1_where_the_truth_is_below_the_limit():
    random = np.random.default_rng(18)
    found = np.array([p_above(_means(random, shift=-0.2), 0.0, N_BLOCKS) for _ in range(100)])
    assert (found < 0.05).mean() <= 0.02
    assert np.median(found) > 0.8


def test_p_is_below_a_fortieth_where_the_interval_lies_above_the_limit():
    random = np.random.default_rng(19)
    for _ in range(60):
        drawn = _means(random, shift=0.25)
        low = interval(drawn, N_BLOCKS)[0]
        p = p_above(drawn, 0.0, N_BLOCKS)
        # Both read the same resamples; a resample's width of quarrel is left out.
        if abs(p - 0.025) > 0.005:
            assert (p < 0.025) == (low > 0.0)


def test_p_is_never_0_or_1_and_none_where_there_is_no_interval():
    assert 0.0 < p_above(np.full(100, 5.0), 0.0, N_BLOCKS) < 0.01
    assert 0.99 < p_above(np.full(100, -5.0), 0.0, N_BLOCKS) < 1.0
    assert p_above(np.full(100, 5.0), 0.0, 4) is None
