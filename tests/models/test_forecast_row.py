"""What the numbers of a forecast are, and where they stand."""

import numpy as np
import pytest
import torch

from walkforge.base import TrainingError
from walkforge.models import LEVELS, ForecastRow

ROWS = pytest.mark.parametrize(
    "row", [ForecastRow(1), ForecastRow(5), ForecastRow(3, (0.25, 0.5)), ForecastRow(2, (0.5,))],
    ids=str,
)  # fmt: skip


@ROWS
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("make", [torch.arange, np.arange], ids=["torch", "numpy"])
def test_parts_are_views_that_put_together_are_the_row(row, lead, make):
    n = int(np.prod(lead)) * row.n_numbers
    numbers = make(n).reshape(*lead, row.n_numbers)
    parts = row.split(numbers)
    steps = row.horizon_bars
    shapes = {name: tuple(part.shape[len(lead) :]) for name, part in parts.items()}
    assert shapes == {
        "ohlc": (steps, 4),
        "band": (steps, 2),
        "volatility": (1,),
        "quantiles": (steps, len(row.levels)),
    }
    flat = [np.asarray(part).reshape(*lead, -1) for part in parts.values()]
    assert np.array_equal(np.concatenate(flat, axis=-1), np.asarray(numbers))


def test_what_is_written_to_a_part_stands_in_the_row():
    row = ForecastRow(2)
    for numbers in (torch.zeros(3, row.n_numbers), np.zeros((3, row.n_numbers))):
        row.split(numbers)["ohlc"][:, 1, 3] = 7.0
        row.split(numbers)["quantiles"][:, 0, 5] = 8.0
        named = dict(zip(row.names, numbers[0].tolist(), strict=True))
        assert {name for name, number in named.items() if number} == {"close_2", "q_50_1"}


@ROWS
def test_every_number_has_a_name_of_its_own(row):
    assert len(row.names) == len(set(row.names)) == row.n_numbers


def test_targets_are_the_first_numbers_of_a_row():
    row = ForecastRow(3)
    targets = np.arange(2 * 19).reshape(2, 19)
    true = row.split_targets(targets)
    padded = np.concatenate([targets, np.zeros((2, row.n_numbers - 19))], axis=1)
    for name, part in true.items():
        assert np.array_equal(part, row.split(padded)[name])
    assert true.keys() == {"ohlc", "band", "volatility"}


def test_equal_rows_are_one_key():
    assert len({ForecastRow(5), ForecastRow(5, LEVELS), ForecastRow(6)}) == 2


@pytest.mark.parametrize(
    "levels",
    [(), (0.1, 0.9), (0.5, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, 0.4), (0.5, float("nan")), (0.5, 2)],
)
def test_levels_that_do_not_rise_around_a_median_are_refused(levels):
    with pytest.raises(TrainingError, match=r"the median 0\.5 among them"):
        ForecastRow(5, levels)


@pytest.mark.parametrize("horizon_bars", [0, -3])
def test_a_horizon_that_looks_nowhere_is_refused(horizon_bars):
    with pytest.raises(TrainingError, match="horizon_bars is"):
        ForecastRow(horizon_bars)
