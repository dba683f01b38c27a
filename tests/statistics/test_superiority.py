"""Superior trials: against arch, against a plain loop, and where the truth is known."""

import math

import numpy as np
import pytest

from walkforge.base import EvaluationError
from walkforge.statistics import superior_trials
from walkforge.statistics._superiority import _studentised


def _names(k: int) -> list[str]:
    return [f"trial {i}" for i in range(k)]


def slow_variance(column: np.ndarray, length: int) -> float:
    """Return Hansen's (2005) kernel estimate of the variance, lag after lag."""
    n, q = len(column), 1 / length
    centred = column - column.mean()
    total = (centred @ centred) / n
    for i in range(1, n):
        kernel = (n - i) / n * (1 - q) ** i + i / n * (1 - q) ** (n - i)
        total += 2 * kernel * (centred[: n - i] @ centred[i:]) / n
    return float(total)


def slow_p_values(gain: np.ndarray, length: int, n_resamples: int) -> tuple[float, ...]:
    """Return Hansen's lower, consistent and upper p-value, drawn value by value."""
    n, k = gain.shape
    random = np.random.default_rng(77)
    omega = [math.sqrt(slow_variance(column, length)) for column in gain.T]
    mean = gain.mean(axis=0)
    bar = [-math.sqrt(2 * math.log(math.log(n))) * omega[j] / math.sqrt(n) for j in range(k)]
    centres = [
        [max(0.0, mean[j]) for j in range(k)],
        [mean[j] if mean[j] >= bar[j] else 0.0 for j in range(k)],
        list(mean),
    ]
    statistic = max(0.0, max(math.sqrt(n) * mean[j] / omega[j] for j in range(k)))
    beyond = [0, 0, 0]
    for _ in range(n_resamples):
        rows, at = [], 0
        for _ in range(n):
            at = int(random.integers(n)) if random.random() < 1 / length or not rows else at + 1
            rows.append(at % n)
        drawn = gain[rows].mean(axis=0)
        for place, centre in enumerate(centres):
            best = max(math.sqrt(n) * (drawn[j] - centre[j]) / omega[j] for j in range(k))
            beyond[place] += max(0.0, best) > statistic
    return tuple(count / n_resamples for count in beyond)


def test_the_standard_error_is_hansens():
    gain = np.cumsum(np.random.default_rng(0).normal(size=(60, 3)), axis=0)
    for length in (1, 4, 15):
        found = gain / _studentised(gain, length)
        for column, root in zip(gain.T, found.T, strict=True):
            np.testing.assert_allclose(root, math.sqrt(slow_variance(column, length)), rtol=1e-9)


def test_p_values_are_those_of_a_plain_loop():
    random = np.random.default_rng(1)
    gain = random.normal([0.15, 0.0, -1.0], [1.0, 3.0, 1.0], size=(80, 3))
    found = superior_trials(np.zeros(80), -gain, _names(3), n_resamples=4000, seed=5)
    slow = slow_p_values(gain, found.block_length, 3000)
    ours = (found.p_lower, found.p_value, found.p_upper)
    # Two bootstraps with 3000 draws of p near 0.2 differ by 0.01 on average.
    np.testing.assert_allclose(ours, slow, atol=0.03)
    assert found.p_lower <= found.p_value <= found.p_upper
    assert found.p_upper - found.p_lower > 0.02, "a trial that is surely worse makes a difference"


def test_arch_agrees_on_losses_that_spread_alike():
    arch = pytest.importorskip("arch.bootstrap")
    losses = np.random.default_rng(2).normal(size=(250, 8))
    losses[:, 3] -= 0.12
    found = superior_trials(np.zeros(250), losses, _names(8), n_resamples=4000)
    # arch does not divide by standard errors; of equal ones it needs none.
    alike = losses / (losses / _studentised(losses, found.block_length))
    other = arch.SPA(np.zeros(250), alike, block_size=found.block_length, reps=4000, seed=9)
    other.compute()
    assert found.p_value == pytest.approx(float(other.pvalues["consistent"]), abs=0.025)


def test_a_wild_trial_does_not_hide_a_sure_one():
    random = np.random.default_rng(3)
    losses = random.normal(size=(400, 2)) * [1.0, 100.0]
    losses[:, 0] -= 0.3
    found = superior_trials(np.zeros(400), losses, ["sure", "wild"])
    assert found.superior == ("sure",)
    assert found.p_value < 0.01


def test_just_the_better_trials_are_named_in_their_order():
    random = np.random.default_rng(4)
    common = random.normal(size=(500, 1))
    losses = common + 0.7 * random.normal(size=(500, 12))
    losses[:, [9, 2, 5]] -= [0.5, 0.3, 0.2]
    found = superior_trials(common[:, 0], losses, _names(12), n_resamples=500)
    assert found.superior == ("trial 2", "trial 5", "trial 9")
    assert found.p_value == 1 / 501


def test_trials_that_are_better_in_several_steps_end_without_an_error():
    # 2.2 standard errors are too few among 21 trials and enough alone; none is left then.
    losses = np.random.default_rng(5).normal(size=(300, 21))
    losses -= losses.mean(axis=0)
    losses[:, 20] -= 2.2 * losses[:, 20].std() / math.sqrt(300)
    before = superior_trials(np.zeros(300), losses, _names(21))
    losses[:, :20] -= 0.9
    after = superior_trials(np.zeros(300), losses, _names(21))
    assert before.superior == ()
    assert after.superior == tuple(_names(21))


def test_the_more_trials_the_better_the_best_must_be():
    random = np.random.default_rng(6)
    losses = random.normal(size=(250, 100))
    losses[:, 0] = losses[:, 0] - losses[:, 0].mean() - 0.14
    alone = superior_trials(np.zeros(250), losses[:, :1], ["it"], n_resamples=500)
    among = superior_trials(np.zeros(250), losses, _names(100), n_resamples=500)
    assert alone.p_value < 0.05
    assert alone.superior == ("it",)
    assert among.p_value > 2 * alone.p_value
    assert among.superior == ()


def test_worthless_trials_are_called_superior_in_about_five_of_a_hundred_worlds():
    random = np.random.default_rng(7)
    p, named = [], 0
    for world in range(200):
        shocks = random.normal(size=(501, 5))
        losses = shocks[1:] + 0.4 * shocks[:-1]
        found = superior_trials(np.zeros(500), losses, _names(5), n_resamples=99, seed=world)
        p.append(found.p_value)
        named += bool(found.superior)
    # 10 of 200 are meant; 21 would come by chance once in a thousand times.
    assert 2 <= named <= 20
    assert 0.35 < np.mean(np.array(p) < 0.5) < 0.65


def test_blocks_are_as_long_as_outcomes_are_known_to_overlap():
    losses = np.random.default_rng(10).normal(size=(300, 3))
    found = superior_trials(np.zeros(300), losses, _names(3), n_resamples=99)
    longer = superior_trials(np.zeros(300), losses, _names(3), n_resamples=99, least_block=24)
    assert found.block_length < 10
    assert longer.block_length == 24
    same = superior_trials(np.zeros(300), losses, _names(3), n_resamples=99, least_block=1)
    assert same == found


def test_a_trial_that_never_differs_is_set_aside_by_name():
    random = np.random.default_rng(8)
    benchmark = random.normal(size=200)
    losses = np.column_stack([benchmark, benchmark - 0.5 + random.normal(size=200)])
    found = superior_trials(benchmark, losses, ["copy", "better"], n_resamples=200)
    assert (found.superior, found.untested) == (("better",), ("copy",))
    nothing = superior_trials(benchmark, losses[:, :1], ["copy"])
    assert (nothing.p_value, nothing.superior, nothing.untested) == (1.0, (), ("copy",))


def test_the_answer_depends_on_the_seed_alone():
    losses = np.random.default_rng(9).normal(size=(100, 3)) - 0.1
    ask = [superior_trials(np.zeros(100), losses, _names(3), seed=s) for s in (1, 1, 2)]
    assert ask[0] == ask[1]
    assert ask[0].p_value != ask[2].p_value


@pytest.mark.parametrize(
    ("benchmark", "losses", "names", "words"),
    [
        (np.zeros(30), np.zeros((30, 2)), ["a"], r"\(30, 2\) of 1 named trials"),
        (np.zeros(30), np.zeros((29, 1)), ["a"], r"losses \(30,\) of the benchmark and \(29, 1\)"),
        (np.zeros(19), np.zeros((19, 1)), ["a"], "T at least 20"),
        (np.zeros(30), np.zeros((30, 0)), [], "of 0 named trials"),
        (np.zeros(30), np.zeros((30, 2)), ["a", "a"], "two trials are named 'a'"),
        (np.full(30, np.nan), np.zeros((30, 1)), ["a"], "NaN or infinite"),
    ],
)
def test_losses_that_do_not_fit_are_refused(benchmark, losses, names, words):
    with pytest.raises(EvaluationError, match=words):
        superior_trials(benchmark, losses, names)


def test_too_few_resamples_to_call_anything_superior_are_refused():
    with pytest.raises(EvaluationError, match="18 resamples; expected at least 19"):
        superior_trials(np.zeros(30), np.zeros((30, 1)), ["a"], n_resamples=18)
