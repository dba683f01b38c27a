"""Funding rates beside the bars: kept whole, joined without contradiction, known as of a moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforge.base import BarsError
from walkforge.market import Funding, funding_known_at, read_funding, write_funding
from walkforge.market._raw_files import read_metadata

HOUR_MS = 3_600_000
FIRST_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC


def _frame(rates: dict[float, float]) -> pl.DataFrame:
    """Return rates by hours after 2024."""
    stamps = [FIRST_MS + round(hour * HOUR_MS) for hour in rates]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(stamps, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
            "rate": pl.Series(list(rates.values()), dtype=pl.Float64),
        }
    )


def _hours(funding: Funding) -> list[float]:
    return ((funding.timestamp - FIRST_MS) / HOUR_MS).tolist()


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "binance_um" / "BTCUSDT"


def test_what_is_written_is_read_to_the_last_digit(folder):
    assert read_funding(folder) is None
    rates = {0: 0.0001, 8: -0.00012345678, 16: 3e-05}
    assert write_funding(folder, _frame(rates), entry={"source": "archive", "file": "2024-01"}) == 3
    found = read_funding(folder)
    assert _hours(found) == [0, 8, 16]
    assert found.rate.tolist() == list(rates.values())
    assert found.provenance == "exchange"
    stored = pl.read_parquet(folder / "funding.parquet")
    assert dict(stored.schema) == {"timestamp": pl.Datetime("ms", "UTC"), "rate": pl.Float64}


def test_rates_join_in_time_order_and_each_source_is_remembered(folder):
    write_funding(folder, _frame({16: 0.3e-3, 24: 0.4e-3}), entry={"source": "b"})
    assert (
        write_funding(folder, _frame({0: 0.1e-3, 8: 0.2e-3, 16: 0.3e-3}), entry={"file": "a"}) == 2
    )
    found = read_funding(folder)
    assert _hours(found) == [0, 8, 16, 24]
    assert found.rate.tolist() == [0.1e-3, 0.2e-3, 0.3e-3, 0.4e-3]
    assert read_metadata(folder / "funding.parquet")["sources"] == [{"source": "b"}, {"file": "a"}]


def test_nothing_new_leaves_the_file_as_it_is(folder):
    write_funding(folder, _frame({0: 0.1e-3, 8: 0.2e-3}), entry={})
    before = (folder / "funding.parquet").stat()
    assert write_funding(folder, _frame({8: 0.2e-3}), entry={"source": "again"}) == 0
    assert write_funding(folder, _frame({}), entry={"source": "nothing"}) == 0
    after = (folder / "funding.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_no_rates_at_all_leave_no_file(folder):
    assert write_funding(folder, _frame({}), entry={}) == 0
    assert read_funding(folder) is None


def test_a_contradicting_rate_is_refused_with_both_and_changes_nothing(folder):
    write_funding(folder, _frame({0: 0.1e-3, 8: 0.2e-3}), entry={})
    message = (
        r"^binance_um/BTCUSDT/funding: the rate at 2024-01-01 08:00 is 0\.0005, but there is "
        r"0\.0002 already; 1 rates differ"
    )
    with pytest.raises(BarsError, match=message):
        write_funding(folder, _frame({8: 0.5e-3, 16: 0.3e-3}), entry={})
    assert read_funding(folder).rate.tolist() == [0.1e-3, 0.2e-3]


def test_a_rate_that_replaces_takes_the_place_of_the_stored_one(folder):
    write_funding(folder, _frame({0: 0.1e-3, 8: 0.2e-3}), entry={})
    new = _frame({8: 0.5e-3, 16: 0.3e-3})
    assert write_funding(folder, new, entry={}, replaces=True) == 2
    assert read_funding(folder).rate.tolist() == [0.1e-3, 0.5e-3, 0.3e-3]


def test_two_stamps_within_a_second_are_one_settlement(folder):
    late = 8 + 7 / HOUR_MS
    write_funding(folder, _frame({0: 0.1e-3, late: 0.2e-3}), entry={})
    assert write_funding(folder, _frame({8: 0.2e-3, 16: 0.3e-3}), entry={}) == 1
    found = read_funding(folder)
    assert found.timestamp.tolist() == [
        FIRST_MS,
        FIRST_MS + 8 * HOUR_MS + 7,
        FIRST_MS + 16 * HOUR_MS,
    ]
    with pytest.raises(BarsError, match=r"is 0\.0009, but there is 0\.0002 already"):
        write_funding(folder, _frame({8: 0.9e-3}), entry={})


def test_a_stamp_that_comes_late_the_second_time_changes_nothing(folder):
    write_funding(folder, _frame({0: 0.1e-3, 8: 0.2e-3}), entry={})
    late = 8 + 7 / HOUR_MS
    assert write_funding(folder, _frame({late: 0.2e-3}), entry={}) == 0
    with pytest.raises(BarsError, match=r"is 0\.0009, but there is 0\.0002 already"):
        write_funding(folder, _frame({late: 0.9e-3}), entry={})
    assert write_funding(folder, _frame({late: 0.9e-3}), entry={}, replaces=True) == 1
    found = read_funding(folder)
    assert (_hours(found), found.rate.tolist()) == ([0, 8], [0.1e-3, 0.9e-3])


def test_provenances_join_like_those_of_bars(folder):
    write_funding(folder, _frame({0: 0.1e-3}), entry={})
    write_funding(folder, _frame({8: 0.1e-3}), entry={}, provenance="file")
    assert read_funding(folder).provenance == "file"
    with pytest.raises(BarsError, match="never mixed"):
        write_funding(folder, _frame({16: 0.1e-3}), entry={}, provenance="simulated")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame({0: 0.1e-3}).rename({"rate": "funding"}), "expected timestamp as times and rate"),
        (_frame({0: 0.1e-3}).cast({"timestamp": pl.Int64}), "expected timestamp as times and rate"),
        (_frame({0: 0.1e-3}).cast({"rate": pl.String}), "expected timestamp as times and rate"),
        (_frame({0: None}), "1 cells of rate are empty"),
        (_frame({0: float("nan")}), "the rate at 2024-01-01 00:00 is nan, expected a fraction"),
        (_frame({0: 1.0}), "the rate at 2024-01-01 00:00 is 1.0, expected a fraction"),
        (pl.concat([_frame({0: 0.1e-3})] * 2), "2024-01-01 00:00 does not come after"),
    ],
)
def test_odd_frames_are_refused_and_leave_nothing(folder, frame, message):
    with pytest.raises(BarsError, match=f"^binance_um/BTCUSDT/funding: .*{message}"):
        write_funding(folder, frame, entry={})
    assert read_funding(folder) is None


def test_a_damaged_file_is_named(folder):
    folder.mkdir(parents=True)
    (folder / "funding.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(BarsError, match=r"funding\.parquet: not a readable file of funding rates"):
        read_funding(folder)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "venue").write_text("a file where a folder should be")
    with pytest.raises(BarsError, match=r"funding\.parquet: cannot be written"):
        write_funding(tmp_path / "venue" / "BTCUSDT", _frame({0: 0.1e-3}), entry={})


def _write_hours(folder: Path, first: int) -> None:
    for hour in range(first, 40, 4):
        write_funding(folder, _frame({hour: 1e-4}), entry={"hour": hour})


def test_writers_at_once_lose_nothing(folder):
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda first: _write_hours(folder, first), range(4)))
    assert _hours(read_funding(folder)) == list(range(40))


def test_between_takes_what_settles_in_the_span():
    funding = Funding(np.array([0, 8, 16, 24]), np.array([0.1, 0.2, 0.3, 0.4]))
    assert funding.between(8, 24).rate.tolist() == [0.2, 0.3]
    assert funding.between(None, 1).rate.tolist() == [0.1]
    assert len(funding.between(9, 16)) == 0
    assert funding.digest() != funding.between(8, None).digest()


# As of a moment


def test_a_rate_is_known_from_its_settlement_on():
    funding = Funding(np.array([100, 200]), np.array([0.1, 0.2]))
    known = funding_known_at(funding, np.array([0, 99, 100, 101, 199, 200, 10_000]))
    np.testing.assert_array_equal(known, [np.nan, np.nan, 0.1, 0.1, 0.1, 0.2, 0.2])
    nobody = funding_known_at(funding.between(0, 0), np.array([5, 6]))
    assert np.isnan(nobody).all()


@given(
    gaps=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    cut=st.integers(0, 1000),
    seed=st.integers(0, 100),
)
def test_later_rates_change_nothing_that_was_known_before(gaps, cut, seed):
    random = np.random.default_rng(seed)
    stamps = np.cumsum(gaps)
    rates = random.normal(0, 0.01, len(stamps))
    poisoned = np.where(stamps > cut, 0.9, rates)
    moments = np.arange(0, 1100)
    known = funding_known_at(Funding(stamps, rates), moments)
    other = funding_known_at(Funding(stamps, poisoned), moments)
    gone = funding_known_at(Funding(stamps, rates).between(None, cut + 1), moments)
    early = moments <= cut
    np.testing.assert_array_equal(known[early], other[early])
    np.testing.assert_array_equal(known[early], gone[early])
    slow = [
        next(
            (rate for at, rate in zip(stamps[::-1], rates[::-1], strict=True) if at <= moment),
            np.nan,
        )
        for moment in moments
    ]
    np.testing.assert_array_equal(known, slow)
