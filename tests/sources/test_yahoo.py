"""What the real yfinance brings from a local Yahoo: adjusted, complete, and never half a truth."""

import dataclasses
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import polars as pl
import pytest

from served import Quiet
from servers.local import Fault, LocalServer, Response, closed_port
from servers.yahoo_api import Asset, YahooApi, YahooServer
from walkforge.base import BarsError, FetchError, SourceUnreachableError, UsageError, parse_utc_ms
from walkforge.market import BarStore, Span
from walkforge.sources import fetch, make_plan
from walkforge.sources._http import FIRST_WAIT_S
from walkforge.sources._yahoo import yahoo

DAY_MS = 86_400_000
PRICES = ("open", "high", "low", "close")
SINCE = Span(parse_utc_ms("2016-03-01"), parse_utc_ms("2017-02-07"))
# Invented: Apple paid other dividends, and split 7 to 1 two years before.
DIVIDENDS = {"2016-05-05": 0.57, "2016-08-04": 0.55, "2016-11-03": 0.61}
SPLITS = {"2016-06-09": (7, 1), "2016-12-01": (3, 2)}


class Waits(Event):
    """An event that remembers how long somebody wanted to wait, and returns at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return self.is_set()


@pytest.fixture(scope="module")
def real_days(shared_data):
    def read(place: str) -> pl.DataFrame:
        frame = pl.read_parquet(shared_data / "bars" / place / "1d.parquet")
        return frame.filter(pl.col("timestamp") >= pl.datetime(2015, 12, 1, time_zone="UTC"))

    return read


@pytest.fixture
def apple(real_days):
    return Asset(real_days("us_equities/AAPL"), dividends=dict(DIVIDENDS), splits=dict(SPLITS))


@pytest.fixture
def api(apple):
    return YahooApi({"AAPL": apple}, now="2017-02-06 22:30")


@pytest.fixture
def server(api):
    with YahooServer(api) as server:
        yield server


@pytest.fixture
def source(server):
    source = yahoo(urls={"api": server.url})
    yield source
    source.close()


def pieces_of(source, symbol, timeframe, span=SINCE, missing=None, files=None):
    missing = [span] if missing is None else missing
    return source.pieces(symbol, timeframe, wanted=span, missing=missing, files=files or {})


def bring(source, symbol, timeframe="1d", span=SINCE, halt=None):
    (piece,) = pieces_of(source, symbol, timeframe, span)
    return source.fetch(piece, halt or Event())


def dates(frame: pl.DataFrame) -> list[str]:
    return frame["timestamp"].dt.strftime("%Y-%m-%d %H:%M").to_list()


def slowly_adjusted(days: pl.DataFrame, dividends: dict[str, float]) -> list[dict]:
    """Return every day with its prices cut by each later dividend, one after the other."""
    rows = days.to_dicts()
    for date, amount in dividends.items():
        before = [row for row in days.to_dicts() if f"{row['timestamp']:%Y-%m-%d}" < date]
        kept = 1 - amount / before[-1]["close"]
        for row in rows[: len(before)]:
            for name in PRICES:
                row[name] *= kept
    return rows


def test_days_are_the_served_ones_adjusted_for_every_later_dividend(source, apple):
    frame = bring(source, "AAPL").frame
    slow = [
        row
        for row in slowly_adjusted(apple.days, DIVIDENDS)
        if SINCE.start_ms <= row["timestamp"].timestamp() * 1000
    ]
    assert len(frame) == len(slow) == 237
    assert frame["timestamp"].to_list() == [row["timestamp"] for row in slow]
    assert frame["volume"].to_list() == [row["volume"] for row in slow]
    for name in PRICES:
        np.testing.assert_allclose(frame[name], [row[name] for row in slow], rtol=1e-9)
    assert frame.schema["timestamp"] == pl.Datetime("ms", "UTC")
    # The dividends matter: a year before, prices are 2 % lower.
    served = apple.days.filter(pl.col("timestamp") == frame["timestamp"][0])
    assert frame["close"][0] < 0.985 * served["close"][0]


def test_high_and_low_lie_exactly_around_open_and_close(source):
    frame = bring(source, "AAPL").frame
    assert (frame["high"] >= frame.select(pl.max_horizontal("open", "close")).to_series()).all()
    assert (frame["low"] <= frame.select(pl.min_horizontal("open", "close")).to_series()).all()
    for name in PRICES:
        shown = frame[name].map_elements(lambda price: float(f"{price:.10g}"), pl.Float64)
        assert shown.to_list() == frame[name].to_list()


def test_raw_close_is_what_was_paid_on_the_day(source, apple):
    frame = bring(source, "AAPL").frame
    served = dict(zip(dates(apple.days), apple.days["close"], strict=True))
    for date, raw in zip(dates(frame), frame["raw_close"], strict=True):
        shares = 7 * 1.5 if date < "2016-06-09" else 1.5 if date < "2016-12-01" else 1.0
        assert raw == pytest.approx(served[date] * shares, rel=1e-9), date


def test_a_split_after_the_last_wanted_day_counts_as_well(source, apple):
    early = Span(parse_utc_ms("2016-03-01"), parse_utc_ms("2016-04-01"))
    frame = bring(source, "AAPL", span=early).frame
    assert (dates(frame)[0], dates(frame)[-1]) == ("2016-03-01 00:00", "2016-03-31 00:00")
    served = apple.days.filter(pl.col("timestamp") == frame["timestamp"][-1])["close"][0]
    assert frame["raw_close"][-1] == pytest.approx(served * 10.5, rel=1e-9)
    assert frame["close"][-1] < 0.985 * served


def store_days(source, store, span=SINCE):
    plans = make_plan(source, store, [("AAPL", "1d")], lambda *_: span)
    return plans[0], fetch(source, store, plans, watcher=Quiet())


def test_a_dividend_changes_the_past_of_the_store_with_the_next_fetch(server, api, tmp_path):
    store = BarStore(tmp_path)
    api.now = "2017-02-02 23:30"
    first = yahoo(urls={"api": server.url})
    store_days(first, store, Span(SINCE.start_ms, parse_utc_ms("2017-02-03")))
    before = store.read("yahoo", "AAPL", "1d")
    again, report = store_days(first, store, Span(SINCE.start_ms, parse_utc_ms("2017-02-03")))
    assert (again.pieces, report.series["AAPL/1d"].pieces) == ((), 0)
    api.assets["AAPL"].dividends["2017-02-06"] = 0.9
    api.now = "2017-02-06 23:30"
    plan, report = store_days(yahoo(urls={"api": server.url}), store)
    assert plan.pieces[0].span == SINCE
    assert report.ok
    after = store.read("yahoo", "AAPL", "1d")
    assert (len(before), len(after), after.provenance) == (235, 237, "exchange")
    kept = 1 - 0.9 / api.assets["AAPL"].days["close"][-2]
    np.testing.assert_allclose(after.close[:235], before.close * kept, rtol=1e-8)
    assert after.calendar == "session"


def test_a_later_span_alone_asks_for_all_that_is_stored_too(source):
    files = {"AAPL-1d": "2010-01-04 00:00 to 2016-12-31 00:00"}
    (piece,) = pieces_of(source, "AAPL", "1d", files=files)
    assert (piece.span, piece.replaces) == (
        Span(parse_utc_ms("2010-01-04"), SINCE.end_ms),
        True,
    )
    assert piece.version == "2010-01-04 00:00 to 2017-02-07 00:00"


def test_where_nothing_is_missing_nothing_is_asked(source, server):
    assert pieces_of(source, "AAPL", "1d", missing=[]) == []
    hours = Span(SINCE.end_ms - DAY_MS + 1, SINCE.end_ms)
    assert pieces_of(source, "AAPL", "1d", missing=[hours]) == []
    assert server.paths == []


@pytest.mark.parametrize(
    ("now", "traded", "last", "answered"),
    [
        ("2017-02-06 12:00", None, "2017-02-03", "2017-02-06"),  # before the session
        ("2017-02-06 20:59", None, "2017-02-03", "2017-02-06"),  # within it
        ("2017-02-06 21:30", "2017-02-06 20:45", "2017-02-03", "2017-02-06"),  # shown with delay
        ("2017-02-06 21:00", None, "2017-02-06", "2017-02-07"),  # closed
        ("2017-02-06 22:00", "2017-02-06 18:00", "2017-02-06", "2017-02-07"),  # few trades
        ("2017-02-05 12:00", "2017-02-03 21:00", "2017-02-03", "2017-02-05"),  # a Sunday
    ],
)
def test_a_day_under_way_is_left_out_by_the_exchanges_clock(
    source, api, now, traded, last, answered
):
    api.now = now
    api.assets["AAPL"].traded = traded
    delivery = bring(source, "AAPL")
    assert dates(delivery.frame)[-1] == f"{last} 00:00"
    assert delivery.answered_to_ms == parse_utc_ms(answered)


def test_weeks_are_made_of_adjusted_days_and_only_whole_ones(source, api):
    span = Span(parse_utc_ms("2016-11-02"), parse_utc_ms("2017-02-09"))
    days, weeks = bring(source, "AAPL", span=span), bring(source, "AAPL", "1w", span)
    assert dates(weeks.frame)[0] == "2016-11-07 00:00"
    assert dates(weeks.frame)[-1] == "2017-01-30 00:00"
    assert weeks.answered_to_ms == parse_utc_ms("2017-02-06")
    last = days.frame.filter(
        pl.col("timestamp").is_between(
            pl.datetime(2017, 1, 30, time_zone="UTC"), pl.datetime(2017, 2, 5, time_zone="UTC")
        )
    )
    assert len(last) == 5
    assert weeks.frame.row(-1)[1:] == (
        last["open"][0],
        last["high"].max(),
        last["low"].min(),
        last["close"][-1],
        last["volume"].sum(),
        last["raw_close"][-1],
    )


def test_indices_and_currencies_are_asked_for_by_the_names_they_have(source, api, real_days):
    api.assets["^GSPC"] = Asset(real_days("index/SP500"), kind="INDEX")
    euro = Asset(
        real_days("oanda/EURUSD").filter(pl.col("timestamp").dt.weekday() < 6),
        zone="Europe/London",
        opens="00:00",
        closes="23:59",
        kind="CURRENCY",
    )
    api.assets["EURUSD=X"] = euro
    index = bring(source, "^GSPC").frame
    assert index["raw_close"].to_list() == index["close"].to_list()
    np.testing.assert_allclose(index["close"], api.assets["^GSPC"].days["close"][-237:], rtol=1e-9)
    rate = bring(source, "EURUSD=X").frame
    # London is an hour ahead of UTC in summer: its days begin on the evening before.
    assert dates(rate) == [day for day in dates(euro.days) if day >= "2016-03-01"]
    assert rate["volume"].sum() == 0


def hours_of(shared_data) -> pl.DataFrame:
    """Return Apple's real hours, from the half hour on, as Yahoo stamps them."""
    hours = pl.read_parquet(shared_data / "bars/us_equities/AAPL/1h.parquet")
    late = hours.filter(pl.col("timestamp") >= pl.datetime(2016, 11, 20, time_zone="UTC"))
    return late.with_columns(pl.col("timestamp").dt.offset_by("30m"))


def test_hours_are_the_served_ones_without_those_under_way(source, api, shared_data):
    hours = hours_of(shared_data)
    api.assets["AAPL"].intraday["1h"] = hours
    api.now = "2017-02-06 18:10"
    span = Span(parse_utc_ms("2016-11-21"), parse_utc_ms("2017-02-06T18:00"))
    delivery = bring(source, "AAPL", "1h", span)
    served = hours.filter(
        pl.col("timestamp").is_between(
            pl.datetime(2016, 11, 21, time_zone="UTC"), pl.datetime(2017, 2, 6, 17, time_zone="UTC")
        )
    )
    assert delivery.frame["timestamp"].to_list() == served["timestamp"].to_list()
    for name in (*PRICES, "volume"):
        np.testing.assert_allclose(delivery.frame[name], served[name], rtol=1e-9)
    assert delivery.answered_to_ms == parse_utc_ms("2017-02-06T17:30")
    shares = np.where(served["timestamp"].dt.strftime("%Y-%m-%d") < "2016-12-01", 1.5, 1.0)
    np.testing.assert_allclose(delivery.frame["raw_close"], served["close"] * shares, rtol=1e-9)


def coin(shared_data, timeframe: str, first: str, last: str) -> pl.DataFrame:
    bars = pl.read_parquet(shared_data / f"bars/binance/BTCUSDT/{timeframe}.parquet")
    ms = pl.col("timestamp").dt.epoch("ms")
    return bars.filter((ms >= parse_utc_ms(first)) & (ms < parse_utc_ms(last)))


@pytest.fixture
def bitcoin(api, shared_data):
    """Bitcoin trades around the clock, at weekends too."""
    minutes = coin(shared_data, "1m", "2025-06-10", "2025-06-21")
    quarters = minutes.group_by_dynamic("timestamp", every="15m").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    api.assets["BTC-USD"] = Asset(
        coin(shared_data, "1d", "2025-05-01", "2025-07-01"),
        zone="UTC",
        opens="00:00",
        closes="23:59",
        kind="CRYPTOCURRENCY",
        intraday={"1m": minutes, "15m": quarters},
    )
    api.now = "2025-06-20 12:34"
    return api.assets["BTC-USD"]


def test_minutes_come_in_pieces_of_a_week(source, bitcoin):
    span = Span(parse_utc_ms("2025-05-30"), parse_utc_ms("2025-06-20T12:34"))
    pieces = pieces_of(source, "BTC-USD", "1m", span)
    lengths = [piece.span.end_ms - piece.span.start_ms for piece in pieces]
    assert lengths == [7 * DAY_MS, 7 * DAY_MS, 7 * DAY_MS, (12 * 60 + 34) * 60_000]
    assert len({(piece.name, piece.version) for piece in pieces}) == 1
    deliveries = [source.fetch(piece, Event()) for piece in pieces]
    frame = pl.concat([one.frame for one in deliveries if one.frame is not None])
    served = bitcoin.intraday["1m"].filter(pl.col("timestamp").dt.epoch("ms") < span.end_ms)
    # The last minute of the day as well, where Yahoo says that the session ends.
    for name in ("timestamp", *PRICES):
        assert frame[name].to_list() == served[name].to_list()
    assert (deliveries[0].frame, deliveries[-1].answered_to_ms) == (None, span.end_ms)


def test_a_few_intraday_bars_come_with_three_weeks_that_tell_the_market_s_hours(source, bitcoin):
    span = Span(parse_utc_ms("2025-06-19"), parse_utc_ms("2025-06-20T12:30"))
    (piece,) = pieces_of(source, "BTC-USD", "15m", span)
    assert piece.span == Span(parse_utc_ms("2025-05-30"), span.end_ms)


def test_half_hours_are_whole(source, bitcoin):
    span = Span(parse_utc_ms("2025-05-30"), parse_utc_ms("2025-06-20T12:30"))
    frame = bring(source, "BTC-USD", "30m", span).frame
    assert len(frame) == 10 * 48 + 25
    quarters = bitcoin.intraday["15m"]
    assert frame["close"].to_list() == quarters["close"][1 : 2 * len(frame) : 2].to_list()
    assert frame["open"].to_list() == quarters["open"][: 2 * len(frame) : 2].to_list()


def test_hours_off_the_grid_of_utc_are_stored_like_any_others(source, api, shared_data, tmp_path):
    api.assets["AAPL"].intraday["1h"] = hours_of(shared_data)
    store = BarStore(tmp_path)
    span = Span(parse_utc_ms("2017-02-06"), parse_utc_ms("2017-02-06T22:00"))
    plans = make_plan(source, store, [("AAPL", "1h")], lambda *_: span)
    assert fetch(source, store, plans, watcher=Quiet()).ok
    bars = store.read("yahoo", "AAPL", "1h")
    assert (bars.calendar, len(bars.segments)) == ("session", 1)
    assert bars.closes_at[-1] == parse_utc_ms("2017-02-06T21:30")
    raw = store.scan("yahoo", "AAPL", "1h", columns=["raw_close"]).collect()
    assert raw["raw_close"].to_list() == bars.close.tolist()


def test_a_thin_answer_takes_no_hour_away_unless_a_split_came_between(
    server, api, shared_data, tmp_path
):
    hours = hours_of(shared_data)
    api.assets["AAPL"].intraday["1h"] = hours
    store, since = BarStore(tmp_path), parse_utc_ms("2017-01-17")

    def fetch_until(text):
        source, span = yahoo(urls={"api": server.url}), Span(since, parse_utc_ms(text))
        plans = make_plan(source, store, [("AAPL", "1h")], lambda *_: span)
        report = fetch(source, store, plans, watcher=Quiet())
        source.close()
        assert report.ok
        return report.series["AAPL/1h"], store.read("yahoo", "AAPL", "1h")

    _, before = fetch_until("2017-02-03")
    thin = hours.filter(pl.int_range(pl.len()) % 10 == 0)
    api.assets["AAPL"].intraday["1h"] = thin
    series, after = fetch_until("2017-02-04")
    assert np.isin(before.timestamp, after.timestamp).all()
    assert (series.rows_differing, series.rows_taken_away) == (0, 0)
    api.assets["AAPL"].splits["2017-02-06"] = (2, 1)
    api.assets["AAPL"].intraday["1h"] = thin.with_columns(pl.col(*PRICES) / 2)
    series, split = fetch_until("2017-02-05")
    assert series.rows_taken_away == len(after) - len(split) > 0
    assert (split.close < 0.6 * after.close.min()).all()


def test_a_coin_trades_at_weekends_and_a_share_does_not(source, bitcoin, api, tmp_path):
    store = BarStore(tmp_path)
    span = Span(parse_utc_ms("2025-05-05"), parse_utc_ms("2025-06-20"))
    plans = make_plan(source, store, [("BTC-USD", "1d")], lambda *_: span)
    assert fetch(source, store, plans, watcher=Quiet()).ok
    bars = store.read("yahoo", "BTC-USD", "1d")
    assert (bars.calendar, len(bars), len(bars.segments)) == ("24/7", 46, 1)


def test_what_yahoo_no_longer_has_is_left_out_or_refused_with_the_reason(source, bitcoin):
    assert source.first_ms("BTC-USD", "1m") == parse_utc_ms("2025-05-22")
    assert source.first_ms("BTC-USD", "1d") == parse_utc_ms("2025-05-01")
    long = Span(parse_utc_ms("2025-01-01"), parse_utc_ms("2025-06-20"))
    assert pieces_of(source, "BTC-USD", "1m", long)[0].span.start_ms == parse_utc_ms("2025-05-22")
    too_old = Span(long.start_ms, parse_utc_ms("2025-05-01"))
    assert pieces_of(source, "BTC-USD", "1m", long, missing=[too_old]) == []
    with pytest.raises(UsageError, match=r"yahoo has 1m bars of BTC-USD from 2025-05-22 00:00 on"):
        pieces_of(source, "BTC-USD", "1m", too_old)
    assert "1m bars reach back 30 days" in source.limits


def test_minutes_beyond_reach_are_not_joined_to_those_after_a_split(source, bitcoin):
    span = Span(parse_utc_ms("2025-05-25"), parse_utc_ms("2025-06-20T12:00"))
    bitcoin.splits["2025-06-17"] = (2, 1)
    old = {"BTC-USD-1m": "2025-05-01 00:00 to 2025-06-12 00:00"}
    with pytest.raises(FetchError, match=r"BTC-USD/1m: a split of 2025-06-17 changed all .*05-22"):
        pieces_of(source, "BTC-USD", "1m", span, files=old)
    # All can be fetched anew, or all were fetched after it.
    for words in ("2025-05-23 00:00 to 2025-06-12 00:00", "2025-05-01 00:00 to 2025-06-18 00:00"):
        assert pieces_of(source, "BTC-USD", "1m", span, files={"BTC-USD-1m": words})


def test_a_hole_within_old_minutes_that_yahoo_no_longer_has_is_nothing_to_fetch(source, bitcoin):
    hole = Span(parse_utc_ms("2025-05-10"), parse_utc_ms("2025-05-11"))
    old = {"BTC-USD-1m": "2025-05-01 00:00 to 2025-06-12 00:00"}
    assert pieces_of(source, "BTC-USD", "1m", hole, files=old) == []


def test_minutes_with_a_hole_are_not_mended_across_a_split(source, bitcoin):
    hole = Span(parse_utc_ms("2025-06-01"), parse_utc_ms("2025-06-02"))
    old = {"BTC-USD-1m": "2025-05-01 00:00 to 2025-06-12 00:00"}
    found = pieces_of(source, "BTC-USD", "1m", hole, files=old)
    assert (found[0].span.start_ms, found[-1].span.end_ms) == (
        parse_utc_ms("2025-05-22"),
        parse_utc_ms("2025-06-12"),
    )
    bitcoin.splits["2025-06-17"] = (2, 1)
    source._splits.clear()
    with pytest.raises(FetchError, match="a split of 2025-06-17 changed all earlier prices"):
        pieces_of(source, "BTC-USD", "1m", hole, files=old)


def test_a_hole_between_days_is_filled_with_all_of_them_in_the_prices_of_today(
    source, api, apple, tmp_path
):
    store, whole = BarStore(tmp_path), apple.days
    apple.days = whole.filter(pl.col("timestamp").dt.strftime("%Y-%m") != "2016-07")
    plans = make_plan(source, store, [("AAPL", "1d")], lambda *_: SINCE)
    assert fetch(source, store, plans, watcher=Quiet()).ok
    apple.days, apple.dividends["2017-01-20"] = whole, 20.0
    hole = Span(parse_utc_ms("2016-07-01"), parse_utc_ms("2016-08-01"))
    held = store.manifest("yahoo", "AAPL", "1d").files_of("yahoo")
    found = pieces_of(source, "AAPL", "1d", hole, files=held)
    plan = dataclasses.replace(plans[0], missing=(hole,), pieces=tuple(found))
    assert fetch(source, store, [plan], watcher=Quiet()).ok
    stored = store.read("yahoo", "AAPL", "1d")
    now = bring(source, "AAPL").frame
    assert stored.close.tolist() == now["close"].to_list()
    assert len(stored) == 237


def test_a_range_that_yahoo_refuses_all_the_same_is_told_in_its_words(source, bitcoin):
    (piece,) = pieces_of(
        source, "BTC-USD", "15m", Span(*map(parse_utc_ms, ("2025-06-12", "2025-06-20")))
    )
    early = dataclasses.replace(
        piece, span=Span(piece.span.start_ms - 90 * DAY_MS, piece.span.end_ms)
    )
    with pytest.raises(FetchError, match="must be within the last 60 days"):
        source.fetch(early, Event())


@pytest.mark.parametrize("bare", [True, False])
def test_a_span_without_bars_is_answered_as_one(source, api, apple, bare):
    api.bare = bare
    apple.days = apple.days.filter(pl.col("timestamp") < pl.datetime(2017, 1, 4, time_zone="UTC"))
    span = Span(parse_utc_ms("2017-01-06"), parse_utc_ms("2017-01-20"))
    delivery = bring(source, "AAPL", span=span)
    assert (delivery.frame, delivery.answered_to_ms) == (None, span.end_ms)


def test_a_symbol_that_yahoo_does_not_have_is_named_with_how_it_writes_them(source, server):
    with pytest.raises(UsageError, match=r"no symbol 'BRK\.B' \(did you mean 'BRK-B'\?\): No data"):
        source.first_ms("BRK.B", "1d")
    with pytest.raises(UsageError, match=r"no symbol 'AAPPL': .*such as AAPL, BRK-B"):
        pieces_of(source, "AAPPL", "1d")
    assert len(server.requests) == 2
    with pytest.raises(UsageError, match=r"'A\?B' cannot be a symbol of yahoo"):
        source.first_ms("A?B", "1d")
    with pytest.raises(UsageError, match=r"unknown timeframe of yahoo '4h'.*1m, 5m, 15m, 30m, 1h"):
        source.first_ms("AAPL", "4h")
    assert source.listings() == []


def test_a_first_day_that_yahoo_does_not_tell_is_looked_up(source, api, monkeypatch):
    told = YahooApi._meta
    monkeypatch.setattr(YahooApi, "_meta", lambda *args: {**told(*args), "firstTradeDate": None})
    assert source.first_ms("aapl", "1d") == parse_utc_ms("2015-12-01")


def test_noise_of_float32_is_mended_and_nonsense_refused(source, apple):
    rows = pl.col("timestamp") == pl.datetime(2016, 4, 1, time_zone="UTC")
    price = apple.days.filter(rows)["high"][0]
    body = {"open": price, "low": price * 0.99, "close": price * 0.995}
    changed = {**body, "high": price * (1 - 1e-8)}
    days = apple.days
    apple.days = days.with_columns(
        pl.when(rows).then(value).otherwise(name).alias(name) for name, value in changed.items()
    )
    frame = bring(source, "AAPL").frame.filter(rows)
    assert frame["high"][0] == frame["open"][0]
    apple.days = days.with_columns(open=pl.when(rows).then(0.0).otherwise("open"))
    with pytest.raises(
        BarsError, match=r"yahoo/AAPL: the bar of 2016-04-01 00:00 has open 0, high"
    ):
        bring(source, "AAPL")
    later = Span(parse_utc_ms("2016-04-02"), SINCE.end_ms)
    assert dates(bring(source, "AAPL", span=later).frame)[0] == "2016-04-04 00:00"


def test_days_with_empty_cells_are_left_out(source, server):
    (piece,) = pieces_of(source, "AAPL", "1d")
    answer = server._answer

    def with_a_hole(request) -> Response:
        content = json.loads(answer(request).body)
        quote = content["chart"]["result"][0]["indicators"]["quote"][0]
        for name in (*PRICES, "volume"):
            quote[name][-10] = None
        return Response(json.dumps(content).encode(), content_type="application/json")

    server._answer = with_a_hole
    frame = source.fetch(piece, Event()).frame
    assert len(frame) == 236
    assert "2017-01-24 00:00" not in dates(frame)


def fails(source, halt):
    (piece,) = pieces_of(source, "AAPL", "1d")
    with pytest.raises(FetchError) as caught:
        source.fetch(piece, halt)
    return caught.value


def test_a_server_that_nobody_reaches_is_no_empty_market(api):
    source = yahoo(urls={"api": f"http://user:secret@127.0.0.1:{closed_port()}"})
    source._closed = Waits()
    with pytest.raises(SourceUnreachableError, match=r"127.0.0.1:\d+ cannot be reached") as caught:
        source.first_ms("AAPL", "1d")
    assert "secret" not in str(caught.value)
    assert source._closed.seconds == [FIRST_WAIT_S * 2**number for number in range(4)]


@pytest.mark.parametrize(
    ("fault", "times", "kind", "words"),
    [
        # curl asks once more where a connection that was kept open breaks.
        (Fault("reset"), 6, SourceUnreachableError, "refused or breaks off (5 tries)"),
        (Fault("truncated"), 5, SourceUnreachableError, "cannot be reached"),
        (Fault("status", status=502), 5, FetchError, "answered 502, its server has trouble"),
        (Fault("html"), 1, FetchError, "a web page ('Login') came instead of a chart"),
        (Fault("status", status=401, body=b"{}"), 1, FetchError, "answered 401 and no chart"),
        (Fault("status", status=200, body=b"Edge"), 1, FetchError, "answered 200 and no chart"),
    ],
)
def test_failures_are_told_as_what_they_are(source, server, fault, times, kind, words):
    source.first_ms("AAPL", "1d")
    server.forget()
    server.fail(dataclasses.replace(fault, path="chart", times=times))
    error = fails(source, Waits())
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
    assert len(server.requests) == times
    assert source.fetch(pieces_of(source, "AAPL", "1d")[0], Event()).frame is not None


def test_a_server_that_never_answers_is_given_up(source, server, monkeypatch):
    source.first_ms("AAPL", "1d")
    monkeypatch.setattr("walkforge.sources._yahoo_charts._TIMEOUT_S", 0.1)
    server.fail(Fault("hang", times=5))
    assert "no answer for 0.1 s (5 tries)" in str(fails(source, Waits()))


def test_a_passing_trouble_costs_a_wait_and_nothing_else(source, server):
    source.first_ms("AAPL", "1d")
    halt = Waits()
    server.fail(Fault("status", status=503, times=1))
    server.fail(Fault("truncated", times=1))
    assert bring(source, "AAPL", halt=halt).frame is not None
    assert halt.seconds == [FIRST_WAIT_S, 2 * FIRST_WAIT_S]


def test_too_many_requests_are_waited_out_as_the_server_asks(source, server):
    source.first_ms("AAPL", "1d")
    halt = Waits()
    server.fail(Fault("status", status=429, headers={"Retry-After": "7"}, times=1))
    server.fail(Fault("status", status=429, body=b"Too Many Requests\r\n", times=1))
    assert bring(source, "AAPL", halt=halt).frame is not None
    assert halt.seconds == [7.0, 10.0]


def test_too_many_requests_for_long_end_the_fetch(source, server):
    source.first_ms("AAPL", "1d")
    server.fail(Fault("status", status=429, times=5))
    error = fails(source, Waits())
    assert isinstance(error, SourceUnreachableError)
    assert "answered 429, too many requests (5 tries)" in str(error)
    server.fail(Fault("status", status=429, headers={"Retry-After": "3600"}, times=1))
    halt = Waits()
    assert "asks to wait 3600 s" in str(fails(source, halt))
    assert halt.seconds == []
    server.fail(Fault("status", status=429, headers={"Retry-After": "250"}, times=5))
    assert "asks to wait 250 s" in str(fails(source, halt))
    assert halt.seconds == [250.0, 250.0]


def test_an_interrupted_fetch_ends_before_it_asks(source, server):
    source.first_ms("AAPL", "1d")
    server.forget()
    halt = Event()
    halt.set()
    assert "interrupted" in str(fails(source, halt))
    assert server.paths == []


class SilentApi(YahooApi):
    """Does what it is told when it is asked, and answers when it is told that all is over."""

    asked = staticmethod(lambda: None)

    def answer(self, request):
        self.asked()
        self.over.wait(20)
        return super().answer(request)


@pytest.fixture
def silent(apple, monkeypatch):
    monkeypatch.setattr("walkforge.sources._yahoo_charts._TIMEOUT_S", 60.0)
    api = SilentApi({"AAPL": apple}, now="2017-02-06 22:30")
    api.over = Event()
    api.over.set()
    with YahooServer(api) as server:
        source = yahoo(urls={"api": server.url})
        yield api, source
        api.over.set()
        source.close()


def test_a_halt_ends_a_fetch_while_yahoo_says_nothing(silent):
    api, source = silent
    (piece,) = pieces_of(source, "AAPL", "1d")
    halt = Event()
    api.over.clear()
    api.asked = halt.set
    with pytest.raises(FetchError, match="/chart/AAPL: interrupted"):
        source.fetch(piece, halt)
    assert not api.over.is_set()


def test_closing_ends_the_question_what_a_silent_yahoo_has(silent):
    api, source = silent
    api.over.clear()
    api.asked = source.close
    with pytest.raises(FetchError, match="/chart/AAPL: interrupted"):
        source.first_ms("AAPL", "1d")


def test_a_connection_is_kept_for_the_next_question(apple):
    opened = []

    class Counting(YahooServer):
        def _handler(self):
            class Handler(super()._handler()):
                def setup(self):
                    opened.append(self.client_address)
                    super().setup()

            return Handler

    with Counting(YahooApi({"AAPL": apple}, now="2017-02-06 22:30")) as server:
        source = yahoo(urls={"api": server.url})
        for _ in range(3):
            bring(source, "AAPL")
        source.close()
        assert len(server.requests) == 4
        assert len(opened) == 1


def test_yfinance_asks_for_charts_alone_and_leaves_nothing_behind(source, server, capfd):
    from yfinance import cache

    bring(source, "AAPL")
    server.fail(Fault("html", times=1))
    fails(source, Waits())
    assert set(server.paths) == {"/v8/finance/chart/AAPL"}
    assert cache._TzDBManager._db is None
    assert cache._CookieDBManager._db is None
    assert logging.getLogger("yfinance").handlers
    assert capfd.readouterr() == ("", "")


def test_two_addresses_in_many_threads_never_meet(apple, real_days):
    assets = {"AAPL": apple, "SPY": Asset(real_days("us_equities/SPY"))}
    apis = [YahooApi({"ANY": asset}, now="2017-02-06 22:30") for asset in assets.values()]
    with YahooServer(apis[0]) as one, YahooServer(apis[1]) as other, ThreadPoolExecutor(8) as pool:
        sources = [yahoo(urls={"api": server.url}) for server in (one, other)]
        frames = list(pool.map(lambda n: bring(sources[n % 2], "ANY").frame, range(24)))
    raw = [frame["raw_close"].to_list() for frame in frames]
    served = assets["SPY"].days["close"].tail(237)
    np.testing.assert_allclose(raw[1], served, rtol=1e-9)
    assert raw[0] != raw[1]
    assert all(closes == raw[number % 2] for number, closes in enumerate(raw))


def test_another_address_than_yahoos_is_a_setting(server):
    with pytest.raises(UsageError, match="unknown URL 'files'"):
        yahoo(urls={"files": "http://127.0.0.1"})
    with pytest.raises(UsageError, match="the URL of 'api'"):
        yahoo(urls={"api": "127.0.0.1"})
    elsewhere = LocalServer(
        lambda request: server._answer(
            dataclasses.replace(request, path=request.path.removeprefix("/mirror"))
        )
    )
    with elsewhere:
        frame = bring(yahoo(urls={"api": f"{elsewhere.url}/mirror/"}), "AAPL").frame
    assert len(frame) == 237
    assert set(elsewhere.paths) == {"/mirror/v8/finance/chart/AAPL"}
