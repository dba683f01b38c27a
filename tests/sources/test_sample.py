"""The bars that are installed anyway are fetched like any others."""

from threading import Event

import numpy as np
import pytest

from served import Quiet
from walkforge.base import UsageError, parse_utc_ms
from walkforge.market import BarStore, Span, sample_bars
from walkforge.sources import fetch, make_plan, make_source
from walkforge.sources._sample import sample

EVERYTHING = Span(parse_utc_ms("1990-01-01"), parse_utc_ms("2024-01-01"))


def test_both_indices_come_whole_and_once(tmp_path):
    source, store = sample(), BarStore(tmp_path)
    series = [(listing.symbol, "1d") for listing in source.listings()]
    assert series == [("NASDAQ", "1d"), ("SP500", "1d")]
    plans = make_plan(source, store, series, lambda *_: EVERYTHING)
    assert fetch(source, store, plans, watcher=Quiet()).ok
    for symbol, bars in sample_bars().items():
        stored = store.read("index", symbol, "1d")
        assert (stored.provenance, stored.calendar) == ("sample", "session")
        for name in ("timestamp", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(bars, name))
    again = make_plan(source, store, series, lambda *_: EVERYTHING)
    assert [plan.pieces for plan in again] == [(), ()]


def test_a_range_is_cut_out_of_it():
    source = make_source("sample")
    span = Span(parse_utc_ms("2005-03-01"), parse_utc_ms("2005-03-08"))
    (piece,) = source.pieces("SP500", "1d", wanted=span, missing=[span], files={})
    delivery = source.fetch(piece, Event())
    assert len(delivery.frame) == 5
    assert delivery.answered_to_ms == span.end_ms
    early = Span(parse_utc_ms("1998-01-01"), parse_utc_ms("1999-01-05"))
    (piece,) = source.pieces("SP500", "1d", wanted=early, missing=[early], files={})
    assert len(source.fetch(piece, Event()).frame) == 1


@pytest.mark.parametrize(
    ("start", "end"), [("2020-01-01", "2021-01-01"), ("2001-09-11", "2001-09-17")]
)
def test_days_that_were_never_traded_are_nothing_to_fetch(start, end):
    span = Span(parse_utc_ms(start), parse_utc_ms(end))
    assert sample().pieces("SP500", "1d", wanted=span, missing=[span], files={}) == []


def test_listings_tell_when_the_bars_begin_and_end():
    first = sample().listings()[0]
    assert (first.first_ms, first.last_ms) == (
        parse_utc_ms("1999-01-04"),
        parse_utc_ms("2019-01-01"),
    )
    assert sample().first_ms("NASDAQ", "1d") == first.first_ms


def test_other_symbols_and_timeframes_are_refused_with_what_there_is():
    with pytest.raises(UsageError, match=r"no symbol 'SP50' \(did you mean 'SP500'\?\); it has"):
        sample().name_of("SP50")
    with pytest.raises(UsageError, match="sample has no 1h bars; it has 1d"):
        sample().first_ms("SP500", "1h")
    assert sample().name_of("nasdaq") == "NASDAQ"
