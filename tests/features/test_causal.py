"""What looks ahead is found, what does not is left alone, and how far values look back is told."""

import numpy as np
import pytest

from drawn import random_bars
from own_parts import CHEATING, HONEST, centred, expanding, mean_20, returns, running_hour, shifted
from walkforge.base import FeatureError
from walkforge.features import build, check_causal, settle_bars
from walkforge.market import noise_after

BARS = random_bars(1500, seed=5, holes_at=(200,))


@pytest.mark.parametrize("make", HONEST, ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_honest_is_left_alone(make, seed):
    assert check_causal(make, random_bars(1500, seed=seed), n_cuts=3, seed=seed) == {}


@pytest.mark.parametrize("make", CHEATING, ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_what_looks_ahead_is_found_whatever_the_cuts(make, seed):
    found = check_causal(make, random_bars(1500, seed=seed), n_cuts=5, seed=seed)
    assert list(found) == list(make(BARS))


def test_a_finding_names_column_bar_cut_and_both_values():
    bars = random_bars(500)
    found = check_causal(shifted, bars, n_cuts=1)["next"]
    row = int(np.searchsorted(bars.timestamp, found.bar_ms))
    assert found.bar_ms == found.cut_ms == bars.timestamp[row]
    assert found.with_future == bars.close[row + 1]
    assert np.isnan(found.without_future)
    assert found.words.startswith("next looks ahead: for the bar of 2024-01-01 0")
    assert found.words.endswith("are cut off")
    assert "drawn/RANDOM/1m" in found.words


def test_only_the_columns_that_look_ahead_are_named():
    def make(bars):
        return {**returns(bars), **centred(bars), "open": bars.open}

    assert list(check_causal(make, BARS)) == ["smooth"]


def test_a_leak_that_cutting_alone_cannot_show_is_found_by_noise():
    """The largest price of all lies in the past: only another future could be larger."""
    bars = random_bars(400)
    bars.high[5] = bars.high.max() * 2

    def make(bars):
        return {"share": bars.close / bars.high.max()}

    assert check_causal(make, bars)["share"].future == "noise"


def test_noise_keeps_the_past_and_goes_beyond_it_both_ways():
    noisy = noise_after(BARS, 700, seed=1)
    for name in ("open", "high", "low", "close", "volume"):
        before, after = getattr(BARS, name), getattr(noisy, name)
        np.testing.assert_array_equal(before[:700], after[:700])
        assert not np.isin(after[700:], before).any()
    assert noisy.high.max() > BARS.high.max()
    assert noisy.low.min() < BARS.low.min()
    np.testing.assert_array_equal(noisy.timestamp, BARS.timestamp)


def test_random_features_are_told_from_those_that_look_ahead():
    random = np.random.default_rng(1)
    with pytest.raises(FeatureError, match="when asked again; features must not draw random"):
        check_causal(lambda bars: {"a": random.normal(size=len(bars))}, BARS)


def test_columns_that_depend_on_the_number_of_bars_are_refused():
    def make(bars):
        return {"a": bars.close} if len(bars) < 1000 else {"a": bars.close, "b": bars.open}

    with pytest.raises(
        FeatureError, match=r"returned 1 columns \(a\) for fewer bars, expected a, b"
    ):
        check_causal(make, random_bars(1500))


def test_too_few_bars_show_nothing_and_say_so():
    with pytest.raises(FeatureError, match="6 bars without a hole, expected at least 8"):
        check_causal(returns, random_bars(6))


def test_values_settle_after_as_many_bars_as_they_look_back():
    def make(bars):
        table = build(bars, "gru")
        values = np.where(table.valid[:, None], table.values, np.nan)
        return dict(zip(table.columns, values.T, strict=True))

    assert set(settle_bars(make, [BARS]).values()) == {201}  # NaN until the whole set is settled
    assert settle_bars(mean_20, [BARS]) == {"mean": 20}
    assert settle_bars(returns, [BARS]) == {"change": 2}
    assert check_causal(make, BARS) == {}


def test_an_exponential_mean_settles_before_its_oldest_weight_is_a_millionth():
    def make(bars):
        mean, kept = np.empty(len(bars)), 0.0
        for row, close in enumerate(np.log(bars.close)):
            kept = close if row == 0 else 0.9 * kept + 0.1 * close
            mean[row] = kept
        return {"mean": mean}

    found = settle_bars(make, [BARS])["mean"]
    # How much less depends on how far the first close lies from the mean, against the range.
    assert 1e-6 <= 0.9 ** (found - 1) < 1e-3


def test_a_mean_of_all_bars_so_far_never_settles():
    assert settle_bars(expanding, [BARS]) == {"mean_so_far": None}


def test_a_series_too_short_to_tell_says_nothing_beside_a_longer_one():
    assert settle_bars(mean_20, [random_bars(40)]) == {"mean": None}
    assert settle_bars(mean_20, [random_bars(40), BARS]) == {"mean": 20}
    assert settle_bars(expanding, [random_bars(40), BARS]) == {"mean_so_far": None}


def test_a_bar_of_a_longer_timeframe_is_found_though_most_of_its_rows_agree():
    found = check_causal(running_hour, random_bars(1500), n_cuts=5)["hour"]
    assert found.bar_ms // 3_600_000 == found.cut_ms // 3_600_000, "within the hour of the cut"
