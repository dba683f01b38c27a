"""Tokens on the device, and the windows that are read of them."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.token_markets import asset, noise, small_table
from walkforge.base import TrainingError
from walkforge.folds import SLICES
from walkforge.training import TokenTable
from walkforge.training._token_table import UNCOUNTED, ResidentTokens
from walkforge.training._token_windows import TrainingWindows, covering_windows

CPU = torch.device("cpu")


@st.composite
def tables(draw):
    """Draw assets with holes, rows without a token, and slices of any length in time order."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    assets = []
    for number in range(draw(st.integers(1, 3))):
        n = draw(st.integers(1, 60))
        lengths = random.multinomial(n, random.dirichlet(np.ones(5)))
        assets.append(
            asset(
                random.integers(0, 9, n),
                asset=number,
                category=number % 2,
                pieces=list(lengths[:4]),
                holes=list(random.integers(1, n + 1, draw(st.integers(0, 3)))),
                without=list(random.integers(0, n, draw(st.integers(0, 3)))),
            )
        )
    return TokenTable.of(assets)


def windows_of(table, piece, context, kind):
    if len(table.target_rows(piece)) == 0:
        return None
    if kind == "covering":
        return covering_windows(table, piece, context)
    return TrainingWindows(table, context=context, weights="rows", seed=1).draw(0, 20)


def test_runs_end_at_holes_at_rows_without_a_token_and_where_an_asset_ends():
    table = TokenTable.of(
        [asset(range(6), holes=[2], without=[4]), asset(range(3), asset=1, category=1)]
    )

    assert table.run_first.tolist() == [0, 0, 2, 2, -1, 5, 6, 6, 6]
    assert table.asset.tolist() == [0] * 6 + [1] * 3
    assert table.category.tolist() == [0] * 6 + [1] * 3


def test_the_first_row_of_a_run_is_a_target_of_no_slice():
    table = TokenTable.of([asset(range(8), pieces=[3, 3, 1, 1], holes=[4])])

    assert table.target_rows("train").tolist() == [1, 2]
    assert table.target_rows("validation").tolist() == [3, 5]


@pytest.mark.parametrize(
    ("column", "row", "value", "problem"),
    [
        ("piece", 3, 4, "row 3 has no known piece"),
        ("run_first", 3, 5, "row 3 belongs to a run that begins after it"),
        ("run_first", 3, 2, "row 3 breaks its run in run_first"),
        ("asset", 3, 1, "row 3 breaks its run in asset"),
        ("category", 3, 1, "row 3 breaks its run in category"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(column, row, value, problem):
    table = TokenTable.of([asset(range(8))])
    changed = getattr(table, column).copy()
    changed[row] = value

    with pytest.raises(TrainingError, match=problem):
        dataclasses.replace(table, **{column: changed})


def test_a_column_of_another_type_is_refused():
    table = TokenTable.of([asset(range(8))])

    with pytest.raises(TrainingError, match=r"tokens is int64 .* expected uint16"):
        dataclasses.replace(table, tokens=table.tokens.astype(np.int64))


def test_a_slice_without_targets_is_refused_by_name():
    table = TokenTable.of([asset(range(8), pieces=[8])])

    with pytest.raises(TrainingError, match="its piece validation"):
        covering_windows(table, "validation", 4)


def test_a_window_is_gathered_as_drawn_by_hand():
    table = TokenTable.of([asset([10, 11, 12, 13, 14, 15], pieces=[2, 3])])
    tokens = ResidentTokens.of(table, CPU)
    # Row 0 is the first input; targets count from row 2 to row 4; inputs end before row 4.
    inputs_BT, targets_BT = tokens.gather(torch.tensor([[0, 1, 4, 0, 0]]), 6, 1)

    assert inputs_BT.tolist() == [[10, 11, 12, 13, 0, 0]]
    assert targets_BT.tolist() == [[UNCOUNTED, 12, 13, 14, UNCOUNTED, UNCOUNTED]]


def test_the_highest_tokens_of_16_bits_come_back_as_they_were():
    table = TokenTable.of([asset([0, 32767, 32768, 65535], pieces=[4])])
    inputs_BT, targets_BT = ResidentTokens.of(table, CPU).gather(
        torch.tensor([[0, 1, 3, 0, 0]]), 3, 0
    )

    assert inputs_BT.tolist() == [[0, 32767, 32768]]
    assert targets_BT.tolist() == [[32767, 32768, 65535]]


@settings(max_examples=60, deadline=None)
@given(
    table=tables(),
    piece=st.sampled_from(SLICES),
    context=st.integers(1, 9),
    kind=st.sampled_from(["drawn", "covering"]),
)
def test_no_window_crosses_a_hole_or_counts_a_target_of_another_slice(table, piece, context, kind):
    piece = "train" if kind == "drawn" else piece
    windows = windows_of(table, piece, context, kind)
    if windows is None:
        return
    number = SLICES.index(piece)

    for (first, begin, last, which, category), n in zip(
        windows.places_W5, windows.n_targets_W, strict=True
    ):
        rows = np.arange(first, last + 1)
        assert first < begin <= last <= first + context
        assert len(set(table.run_first[rows])) == 1
        assert table.run_first[first] >= 0
        assert {which} == set(table.asset[rows])
        assert {category} == set(table.category[rows])
        assert table.piece[last] == number
        assert n == (table.piece[begin : last + 1] == number).sum() > 0
        assert (table.piece[rows] <= number).all()  # nothing of a later slice, not even as input


@settings(max_examples=60, deadline=None)
@given(table=tables(), piece=st.sampled_from(SLICES), context=st.integers(1, 9))
def test_measuring_counts_every_target_once_with_half_a_context_of_past(table, piece, context):
    windows = windows_of(table, piece, context, "covering")
    if windows is None:
        return
    counted = []
    for first, begin, last, *_ in windows.places_W5:
        for row in range(begin, last + 1):
            if table.piece[row] == SLICES.index(piece):
                counted.append(row)
                assert row - first >= min(context // 2, row - table.run_first[row])

    assert counted == table.target_rows(piece).tolist()


def test_tokens_of_later_slices_are_never_gathered():
    table = small_table()
    later = table.piece > 0
    poisoned = dataclasses.replace(
        table, tokens=np.where(later, np.uint16(6) - table.tokens, table.tokens).astype(np.uint16)
    )
    drawn = TrainingWindows(table, context=8, weights="rows", seed=2).draw(0, 200)
    places = torch.from_numpy(drawn.places_W5)

    assert (poisoned.tokens != table.tokens).sum() > 20
    for clean, dirty in zip(
        ResidentTokens.of(table, CPU).gather(places, 8, 0),
        ResidentTokens.of(poisoned, CPU).gather(places, 8, 0),
        strict=True,
    ):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ("rows", [300 / 480, 120 / 480, 60 / 480]),
        ("equal_assets", [1 / 3, 1 / 3, 1 / 3]),
        ("equal_categories", [1 / 2, 1 / 3, 1 / 6]),
    ],
)
def test_assets_come_up_exactly_as_often_as_they_weigh(weights, shares):
    table = TokenTable.of(
        [
            asset(noise(301), pieces=[301]),
            asset(noise(122), asset=1, category=1, pieces=[122], holes=[40]),
            asset(noise(61), asset=2, category=1, pieces=[61]),
        ]
    )
    windows = TrainingWindows(table, context=8, weights=weights, seed=3)

    for epoch in range(3):
        drawn = np.bincount(windows.draw(epoch, 600).places_W5[:, 3], minlength=3)
        assert np.abs(drawn - 600 * np.array(shares)).max() <= 1
        assert drawn.sum() == 600


def test_an_epoch_learns_every_target_inside_a_run_once():
    table = TokenTable.of([asset(noise(801), pieces=[801])])
    windows = TrainingWindows(table, context=8, weights="rows", seed=3)

    for epoch in range(3):
        times = np.zeros(801, dtype=int)
        for first, _, last, *_ in windows.draw(epoch, 100).places_W5:
            times[first + 1 : last + 1] += 1
        assert (times[9:-8] == 1).all()
        assert times[0] == 0
        assert times.sum() == 800


def test_draws_follow_from_the_seed_and_the_epoch_alone():
    def draw(seed, epoch):
        windows = TrainingWindows(small_table(), context=8, weights="rows", seed=seed)
        return windows.draw(epoch, 40).places_W5.tolist()

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3)
    assert draw(1, 2) != draw(2, 2)


def test_training_rows_too_few_for_a_window_are_read_with_the_past_before_them():
    table = TokenTable.of([asset(noise(40), pieces=[40])])
    piece = np.full(40, -1, dtype=np.int8)
    piece[20:24] = 0
    windows = TrainingWindows(
        dataclasses.replace(table, piece=piece), context=8, weights="rows", seed=1
    ).draw(0, 5)

    assert windows.places_W5[:, 0].tolist() == [15] * 5
    assert windows.places_W5[:, 2].tolist() == [23] * 5
    assert windows.n_targets_W.tolist() == [4] * 5
