"""`data check` names every hole that the index of the shared real bars counts.

The index counts what a grid without pauses would miss. A long pause parts segments, a short one
is missing bars inside of one. For markets that never close that is what a hole is. For those that
do, most of it is nights, weekends and holidays: there each pause must be named or be excused.
"""

import datetime
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from walkforge.base import TIMEFRAMES_MS
from walkforge.market import CheckReport, check_path

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SESSION_VENUES = {"euronext", "index", "oanda", "sp500", "us_equities"}


@dataclass(frozen=True)
class Case:
    """A file, what the index says of it, its pauses (after, before) and what a check says."""

    row: dict
    report: CheckReport
    pauses: list[tuple[int, int]]

    @property
    def step_ms(self) -> int:
        return TIMEFRAMES_MS[self.row["timeframe"]]

    @property
    def parts_segments_ms(self) -> int:
        """Return the longest pause inside a segment: a day, as the README there says.

        For daily bars it says nothing; any limit from 8 days to less than 17 gives its figures.
        """
        return DAY_MS if self.step_ms < DAY_MS else 10 * DAY_MS

    @property
    def named(self) -> list[tuple[int, int]]:
        return [(hole.after_ms, hole.before_ms) for hole in self.report.holes]

    def edges(self, pauses: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return [(one, other) for one, other in pauses if other - one > self.parts_segments_ms]


@pytest.fixture(scope="module")
def cases(shared_data) -> list[Case]:
    reports = {report.source: report for report in check_path(shared_data / "bars")}
    rows = pl.read_csv(shared_data / "index.csv").to_dicts()
    files = [shared_data / row["file"] for row in rows]
    assert set(reports) == set(map(str, files))
    return [
        Case(row, reports[str(file)], pauses_in(file, row["timeframe"]))
        for row, file in zip(rows, files, strict=True)
    ]


@pytest.fixture
def always_open(cases) -> list[Case]:
    return [case for case in cases if case.row["venue"] not in SESSION_VENUES]


@pytest.fixture
def session(cases) -> list[Case]:
    return [case for case in cases if case.row["venue"] in SESSION_VENUES]


def pauses_in(path: Path, timeframe: str) -> list[tuple[int, int]]:
    stamps = pl.read_parquet(path, columns=["timestamp"])["timestamp"].dt.epoch("ms").to_numpy()
    rows = np.flatnonzero(np.diff(stamps) != TIMEFRAMES_MS[timeframe])
    return list(zip(stamps[rows].tolist(), stamps[rows + 1].tolist(), strict=True))


def test_each_market_is_taken_for_what_it_is(always_open, session):
    assert {case.report.calendar for case in always_open} == {"24/7"}
    assert {case.report.calendar for case in session} == {"session"}


def test_holes_of_markets_that_never_close_are_those_of_the_index_to_the_bar(always_open):
    for case in always_open:
        inside = [
            hole.missing_bars
            for hole in case.report.holes
            if hole.before_ms - hole.after_ms <= case.parts_segments_ms
        ]
        said = len(case.edges(case.named)) + 1, sum(inside)
        indexed = case.row["segments"], case.row["missing_inside_segments"]
        assert said == indexed, case.row["file"]
        assert case.named == case.pauses
        first, last = case.report.first_ms, case.report.last_ms
        missing = sum(hole.missing_bars for hole in case.report.holes)
        assert case.report.rows + missing == (last - first) // case.step_ms + 1


def test_the_holes_between_segments_lie_where_the_readme_lists_them(always_open, shared_data):
    text = (shared_data / "README.md").read_text()
    listed = dict(re.findall(r"^- (bars/\S+): (.* rows\))$", text, flags=re.MULTILINE))
    assert len(listed) > 40
    by_file = {case.row["file"]: case for case in always_open}
    for file, segments in listed.items():
        ends = re.findall(r"(\S+ \S+) to (\S+ \S+) \(", segments)
        between = [(in_ms(end), in_ms(start)) for (_, end), (start, _) in itertools.pairwise(ends)]
        assert by_file[file].edges(by_file[file].named) == between


def in_ms(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


def test_every_pause_of_a_session_that_the_index_counts_is_named_or_a_night_or_a_closing(session):
    # The index counts a grid that never closes, so that its segments of hourly stocks are their
    # weeks. What can be said of such a market: two weekdays in a row without a weekend beside
    # them, and anything beyond five days, is no closing that markets have.
    for case in session:
        named = set(case.named)
        assert named <= set(case.pauses)
        for after, before in case.pauses:
            assert ((after, before) in named) != may_be_a_closing(after, before), case.row["file"]
        inside = set(case.pauses) - set(case.edges(case.pauses))
        missing = sum((before - after) // case.step_ms - 1 for after, before in inside)
        assert len(case.edges(case.pauses)) + 1 == case.row["segments"]
        assert missing == case.row["missing_inside_segments"]


def may_be_a_closing(after_ms: int, before_ms: int) -> bool:
    """Return whether a night, a weekend or a holiday explains a pause, day by day."""
    if before_ms - after_ms <= 36 * HOUR_MS:
        return True
    first, last = (datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC).date()
                   for ms in (after_ms, before_ms))  # fmt: skip
    days = [first + datetime.timedelta(days=i) for i in range(1, (last - first).days)]
    weekdays = sum(day.weekday() < 5 for day in days)
    return before_ms - after_ms <= 5 * DAY_MS and (weekdays < len(days) or weekdays <= 1)


def test_every_segment_of_daily_sessions_ends_at_a_hole_that_is_named(session):
    daily = [case for case in session if case.row["timeframe"] == "1d"]
    several = {case.row["symbol"]: case for case in daily if case.row["segments"] > 1}
    assert set(several) == {"DHR", "ES", "O"}
    for case in daily:
        assert len(case.edges(case.named)) + 1 == case.row["segments"]
    hole = in_ms("2015-03-06 00:00"), in_ms("2015-03-23 00:00")
    assert all(case.edges(case.named) == [hole] for case in several.values())


def test_the_days_when_new_york_stayed_closed_are_named(session):
    shut = [
        (case.row["file"], line)
        for case in session
        for line in case.report.lines()
        if "hole" in line and "after 2001-09-10" in line
    ]
    assert len(shut) == 7  # AAPL, IBM and SPY daily, AAPL and SPY hourly, two indices
    assert all(", before 2001-09-17" in line and ": about " in line for _, line in shut)


def test_a_single_weekday_is_not_named_as_it_may_be_a_holiday(session):
    # Every other stock of the index has a bar of this Monday; the file of one cannot know.
    monday = in_ms("2016-03-11 00:00"), in_ms("2016-03-15 00:00")
    without = [case for case in session if monday in case.pauses]
    assert [case.row["file"] for case in without] == ["bars/sp500/BBY/1d.parquet"]
    assert without[0].report.holes == ()


def test_every_hole_has_a_line_of_its_own_in_the_terminal(cases):
    for case in cases:
        lines = [line for line in case.report.lines() if line.split()[0] == "hole"]
        spans = [re.search(r"after (.+), before (.+): ", line).groups() for line in lines]
        assert [(in_ms(after), in_ms(before)) for after, before in spans] == case.named
        assert len(lines) == len(case.report.as_dict()["holes"])
