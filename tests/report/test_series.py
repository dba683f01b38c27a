"""Series made fit for a screen: thinned equity, members' histories, lines of folds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforge.report._figure import epoch_axis, rounded, thinned
from walkforge.report._folds import fold_lines
from walkforge.report._forest import Gain, _edges
from walkforge.report._training import _median_line, member_histories

_FOLD = {
    "fold": 0,
    "train": ["2024-01-01 00:00", "2024-02-01 00:00"],
    "test": ["2024-02-01 00:00", "2024-03-01 00:00"],
    "purged": 3,
    "embargoed": 5,
}


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 5_000), most=st.integers(10, 400), seed=st.integers(0, 9))
def test_a_thinned_series_keeps_its_ends_and_its_extremes(n: int, most: int, seed: int) -> None:
    values = np.cumsum(np.random.default_rng(seed).normal(size=n))
    kept = thinned(values, most)
    assert len(kept) <= max(n if n <= most else most, 1)
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, n - 1)
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()


def test_rounding_keeps_digits_and_makes_holes_of_what_is_not_finite() -> None:
    assert rounded([1 / 3, np.nan, np.inf, 12_345.678]) == [0.333333, None, None, 12_345.7]


def test_a_members_best_epoch_is_the_last_that_was_best() -> None:
    losses = [(1.10, True), (1.05, True), (1.07, False)]
    epochs = [
        {
            "epoch": epoch,
            "members": [
                {"name": "BTC/0", "train_loss": 1.0, "validation_loss": loss, "best": best}
            ],
        }
        for epoch, (loss, best) in enumerate(losses, start=1)
    ]
    histories = member_histories(epochs)
    assert histories["BTC/0"].best == (2, 1.05)
    assert histories["BTC/0"].validation == [1.10, 1.05, 1.07]


def test_few_epochs_are_ticked_one_by_one_and_the_last_mark_has_room() -> None:
    assert epoch_axis(3)["dtick"] == 1
    assert "dtick" not in epoch_axis(60)
    assert epoch_axis(60)["range"][1] > 60


def test_the_median_counts_the_members_that_still_train() -> None:
    lines = [([1, 2, 3], [3.0, 2.0, 1.0]), ([1, 2], [5.0, 4.0]), ([1], [float("nan")])]
    median = _median_line(lines, "--ink", "training")
    assert (median["x"], median["y"]) == ([1, 2, 3], [4.0, 3.0, 1.0])


def test_symbols_with_the_same_slices_share_a_line_and_their_rows_are_added() -> None:
    later = {"test": ["2024-02-15 00:00", "2024-03-01 00:00"]}
    lines = fold_lines(
        [
            {**_FOLD, "symbol": "BTC", "rows": {"train": 100, "test": 40}},
            {**_FOLD, "symbol": "ETH", "rows": {"train": 90, "test": 30}},
            {**_FOLD, **later, "symbol": "SOL"},
        ]
    )
    assert [line.symbols for line in lines] == [["BTC", "ETH"], ["SOL"]]
    assert lines[0].counts == {"train": 190, "test": 70, "purged": 6, "embargoed": 10}


def test_a_baseline_far_away_does_not_press_the_others_together() -> None:
    near = [Gain(value, value - 0.001, value + 0.001) for value in (0.0, 0.004)]
    far = Gain(0.9, 0.8, 1.0)
    low, high = _edges([*near, far])
    assert low < -0.001
    assert 0.005 < high < 0.02
