"""What a run says of its series, one or many."""

import dataclasses

from drawn import random_bars
from study.token_studies import token_study, two_symbols
from walkforge.base import Silent
from walkforge.study._prepare import prepare
from walkforge.study._telling import tell_bars, tell_rows


class Noting(Silent):
    def __init__(self):
        self.noted = []

    def note(self, text):
        self.noted.append(text)


def _told(prepared):
    watcher = Noting()
    tell_rows(prepared, watcher)
    return watcher.noted


def test_few_series_have_a_line_each():
    watcher = Noting()
    tell_bars(two_symbols(), watcher)
    assert [text.split(":")[0] for text in watcher.noted] == ["drawn/AAA/1m", "drawn/BBB/1m"]


def test_many_series_are_summed_up():
    watcher = Noting()
    tell_bars({str(k): random_bars(20, symbol=str(k)) for k in range(50)}, watcher)
    assert watcher.noted == ["50 series: 1,000 bars in 50 segments"]
    few = prepare(two_symbols(), token_study("folds.count=1"))
    many = dataclasses.replace(few, series={str(k): few.series["AAA"] for k in range(50)})
    usable = int(few.series["AAA"].usable.sum())
    assert _told(many)[0].startswith(f"50 series: {50 * usable:,} usable rows; dropped: ")


def test_many_that_only_teach_are_counted_and_the_first_are_named():
    few = prepare(two_symbols(), token_study("folds.count=1"))
    names = [f"N{k}" for k in range(20)]
    series = dict.fromkeys(names[:12], few.series["AAA"])
    told = _told(
        dataclasses.replace(few, series=series, left_out=dict.fromkeys(names, "it is too short"))
    )
    assert told[12] == (
        "warning: of 12 series each teaches but is not judged: N0, N1, N2, N3, N4, N5, N6, N7 and "
        "4 more (reasons: left_out in run.json), such as it is too short"
    )
    assert told[13:] == [f"warning: N{k} left out: it is too short" for k in range(12, 20)]
