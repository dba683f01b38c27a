"""ccxt's real client against local servers that speak the protocols of Binance and Coinbase."""

import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from threading import Event

import ccxt
import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from servers.binance_rest import BinanceRestServer
from servers.coinbase_rest import CoinbaseRestServer
from servers.local import Fault, closed_port
from walkforge.base import (
    TIMEFRAMES_MS,
    FetchError,
    SourceUnreachableError,
    UsageError,
    parse_utc_ms,
)
from walkforge.market import Span
from walkforge.sources import _ccxt_client
from walkforge.sources._ccxt import ccxt_source
from walkforge.sources._grid import open_ms
from walkforge.sources._source import Piece

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ALL_TIME = Span(0, parse_utc_ms("2030-01-01"))


class Halt(Event):
    """Waits take no time and are remembered; `then` is called with each."""

    def __init__(self, then: Callable[[float], object] = lambda seconds: None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._then = then

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        self._then(timeout)
        return self.is_set()


@pytest.fixture(scope="module")
def minutes(shared_data) -> pl.DataFrame:
    """Return 2 600 real minutes of BTCUSDT without a hole."""
    frame = pl.read_parquet(shared_data / "bars" / "binance" / "BTCUSDT" / "1m.parquet")
    frame = frame.filter(pl.col("timestamp") >= pl.datetime(2024, 2, 1, time_zone="UTC"))
    frame = frame.head(2600).select("timestamp", "open", "high", "low", "close", "volume")
    assert stamps(frame)[-1] - stamps(frame)[0] == 2599 * MINUTE_MS
    return frame


@pytest.fixture
def make_source(request):
    """Return a builder of sources that are closed when the test ends."""

    def make(exchange: str, url: str, market: str = "spot"):
        source = ccxt_source(exchange, market=market, urls={"api": url})
        request.addfinalizer(source.close)
        return source

    return make


def stamps(frame: pl.DataFrame) -> list[int]:
    return frame["timestamp"].dt.epoch("ms").to_list()


def piece_of(frame: pl.DataFrame, symbol: str = "BTCUSDT", timeframe: str = "1m") -> Piece:
    """Return one piece over all bars of a frame."""
    times = stamps(frame)
    span = Span(times[0], times[-1] + TIMEFRAMES_MS[timeframe])
    return Piece(symbol=symbol, timeframe=timeframe, span=span, name="all of it")


def fetch_all(source, symbol: str, timeframe: str = "1m") -> pl.DataFrame:
    pieces = source.pieces(symbol, timeframe, wanted=ALL_TIME, missing=[ALL_TIME], files={})
    frames = [source.fetch(piece, Halt()).frame for piece in pieces]
    return pl.concat([frame for frame in frames if frame is not None])


def moved_to_end(frame: pl.DataFrame, end_ms: int) -> pl.DataFrame:
    """Return the bars as if the last of them opened at a minute's start."""
    by_ms = end_ms - stamps(frame)[-1]
    return frame.with_columns(pl.col("timestamp") + pl.duration(milliseconds=by_ms))


# What comes


@pytest.mark.parametrize("market", ["spot", "perpetual"])
def test_fetched_bars_equal_the_served_ones_to_the_bit_without_the_unfinished_one(
    minutes, make_source, market
):
    served = {"BTCUSDT": {"1m": minutes}}
    with BinanceRestServer(spot=served, futures=served) as server:
        fetched = fetch_all(make_source("binance", server.url, market), "BTCUSDT")
    assert_frame_equal(fetched, minutes.head(-1), check_exact=True)


def test_pages_follow_each_other_without_a_gap_or_a_bar_twice(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        delivery = source.fetch(piece_of(minutes), Halt())
        asked = [each.query for each in server.requests if each.path == "/api/v3/klines"]
    first_ms = stamps(minutes)[0]
    assert [(int(each["startTime"]) - first_ms) // MINUTE_MS for each in asked] == [0, 1000, 2000]
    assert [each["limit"] for each in asked] == ["1000", "1000", "599"]
    assert delivery.entry == {"url": f"{server.url}/api/v3/klines"}
    assert delivery.received_bytes > 100 * len(minutes)


def test_a_hole_longer_than_a_page_does_not_end_a_piece(minutes, make_source):
    holed = pl.concat([minutes.head(100), minutes.tail(1100)])  # 1 400 minutes are missing
    now_ms = stamps(minutes)[-1] + MINUTE_MS
    with (
        BinanceRestServer(spot={"BTCUSDT": {"1m": holed}}, now_ms=now_ms) as binance,
        CoinbaseRestServer({"BTC-USD": {"1m": holed}}, now_ms=now_ms) as coinbase,
    ):
        jumped = make_source("binance", binance.url).fetch(piece_of(holed), Halt())
        walked = make_source("coinbase", coinbase.url).fetch(piece_of(holed, "BTC-USD"), Halt())
    assert_frame_equal(jumped.frame, holed, check_exact=True)
    assert_frame_equal(walked.frame, holed, check_exact=True)
    assert jumped.answered_to_ms == walked.answered_to_ms == now_ms


def test_a_span_without_bars_is_answered_for_with_none(minutes, make_source):
    first_ms = stamps(minutes)[0]
    before = Span(first_ms - 60 * MINUTE_MS, first_ms)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        piece = Piece(symbol="BTCUSDT", timeframe="1m", span=before, name="before")
        delivery = source.fetch(piece, Halt())
    assert (delivery.frame, delivery.answered_to_ms) == (None, first_ms)


def test_btc_usd_comes_from_coinbase_under_its_own_name(minutes, make_source):
    now_ms = stamps(minutes)[-1] + MINUTE_MS // 2
    days = minutes.group_by_dynamic("timestamp", every="1d").agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(),
    )  # fmt: skip
    with CoinbaseRestServer({"BTC-USD": {"1m": minutes, "1d": days}}, now_ms=now_ms) as server:
        source = make_source("coinbase", server.url)
        assert source.venue == "coinbase"
        assert [listing.symbol for listing in source.listings()] == ["BTC-USD"]
        assert source.first_ms("BTC/USD", "1m") == stamps(minutes)[0]
        fetched = fetch_all(source, "BTCUSD")
    assert_frame_equal(fetched, minutes.head(-1), check_exact=True)


# Which pieces


def test_pieces_lie_between_the_first_bar_and_the_last_complete_one(minutes, make_source):
    start_ms = stamps(minutes)[0]
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        gap = Span(start_ms + 5 * MINUTE_MS, start_ms + 9 * MINUTE_MS)
        words = {"wanted": ALL_TIME, "files": {}}
        whole = source.pieces("BTC/USDT", "1m", missing=[ALL_TIME], **words)
        part = source.pieces("BTC/USDT", "1m", missing=[Span(0, start_ms), gap], **words)
        server.forget()
        assert source.pieces("BTC/USDT", "1m", missing=[], **words) == []
        assert server.paths == []
    assert {piece.symbol for piece in whole} == {"BTCUSDT"}
    assert (whole[0].span.start_ms, whole[-1].span.end_ms) == (start_ms, stamps(minutes)[-1])
    assert [piece.span for piece in part] == [gap]
    assert part[0].name == "BTCUSDT-1m-2024-02-12T03:05..2024-02-12T03:09"


def test_holes_within_a_page_are_asked_for_at_once(minutes, make_source):
    is_hole = pl.int_range(pl.len()) % 7 == 3
    times = minutes.filter(is_hole)["timestamp"].dt.epoch("ms").to_list()
    missing = [Span(at_ms, at_ms + MINUTE_MS) for at_ms in times]
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        words = {"wanted": ALL_TIME, "files": {}}
        pieces = source.pieces("BTCUSDT", "1m", missing=missing, **words)
        server.forget()
        came = pl.concat([source.fetch(piece, Halt()).frame for piece in pieces])
        asked = sum(path == "/api/v3/klines" for path in server.paths)
    assert asked == 3  # there are 371 holes, and a page has 1 000 bars
    assert set(times) <= set(stamps(came))


def test_the_first_bar_is_found_where_the_exchange_refuses_a_time_so_long_ago(minutes, make_source):
    days = minutes.gather([0, 1440])
    frames = {"BTC-USD": {"1m": minutes, "1d": days}}
    with CoinbaseRestServer(frames, now_ms=stamps(minutes)[-1]) as server:
        server.fail(Fault("status", path=r"start=0&", status=400, body=b'{"error": "too old"}'))
        assert make_source("coinbase", server.url).first_ms("BTC-USD", "1m") == stamps(minutes)[0]
        refused = [each for each in server.requests if each.query.get("start") == "0"]
        assert len(refused) == 1
        assert len(server.requests) < 40


def test_a_symbol_without_bars_has_no_first_bar_and_no_pieces(minutes, make_source):
    frames = {"BTCUSDT": {"1m": minutes}, "NEWUSDT": {}}
    with BinanceRestServer(spot=frames) as server:
        source = make_source("binance", server.url)
        # Pages of days, as nothing answers from the first bar on: 15 years of them.
        assert source.first_ms("NEWUSDT", "1d") is None
        words = {"wanted": ALL_TIME, "missing": [ALL_TIME], "files": {}}
        assert source.pieces("NEWUSDT", "1d", **words) == []


# Whose clock


@pytest.mark.parametrize("hours", [-7, 0, 7])
@pytest.mark.parametrize("tells_time", [True, False])
def test_the_exchange_s_clock_tells_which_bar_is_complete(
    minutes, make_source, monkeypatch, hours, tells_time
):
    described = ccxt.binance.describe
    without = {"has": {"fetchTime": tells_time}}
    monkeypatch.setattr(
        ccxt.binance, "describe", lambda self: self.deep_extend(described(self), without)
    )
    now_ms = int(time.time() * 1000) + hours * HOUR_MS
    last_ms = open_ms(now_ms, "1m")
    frame = moved_to_end(minutes.tail(1500), last_ms)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": frame}}, now_ms=now_ms) as server:
        source = make_source("binance", server.url)
        delivery = source.fetch(piece_of(frame), Halt())
        paths = server.paths
    assert_frame_equal(delivery.frame, frame.head(-1), check_exact=True)
    assert delivery.answered_to_ms == last_ms
    assert ("/api/v3/time" in paths) == tells_time


# Bars that come late


def late(frame: pl.DataFrame, bars: int, timeframe: str = "1m") -> tuple[pl.DataFrame, int, int]:
    """Return a frame without its last bars, where all of it ends, and a clock just after that."""
    end_ms = stamps(frame)[-1] + TIMEFRAMES_MS[timeframe]
    return frame.head(len(frame) - bars), end_ms, end_ms + 1000


@pytest.mark.parametrize("bars", [1, 2, 9, 10])
def test_bars_that_the_exchange_does_not_show_yet_are_not_answered_for(minutes, make_source, bars):
    shown, end_ms, now_ms = late(minutes, bars)
    frames = {"BTCUSDT": {"1m": shown}}
    with BinanceRestServer(spot=frames, now_ms=now_ms) as server:
        source = make_source("binance", server.url)
        first = source.fetch(piece_of(minutes), Halt())
        assert_frame_equal(first.frame, shown, check_exact=True)
        assert first.answered_to_ms == end_ms - bars * MINUTE_MS
        frames["BTCUSDT"]["1m"] = minutes
        missing = [Span(first.answered_to_ms, end_ms)]
        (piece,) = source.pieces("BTCUSDT", "1m", wanted=ALL_TIME, missing=missing, files={})
        rest = source.fetch(piece, Halt())
    assert_frame_equal(rest.frame, minutes.tail(bars), check_exact=True)
    assert rest.answered_to_ms == end_ms


@pytest.mark.parametrize(("bars", "left"), [(11, 10), (60, 10)])
def test_a_coin_without_a_trade_for_longer_is_answered_for(minutes, make_source, bars, left):
    shown, end_ms, now_ms = late(minutes, bars)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": shown}}, now_ms=now_ms) as server:
        delivery = make_source("binance", server.url).fetch(piece_of(minutes), Halt())
    assert delivery.answered_to_ms == end_ms - left * MINUTE_MS


@pytest.mark.parametrize(("timeframe", "left"), [("1h", 3), ("1d", 3)])
def test_of_longer_bars_the_last_three_may_come_late(minutes, make_source, timeframe, left):
    step_ms = TIMEFRAMES_MS[timeframe]
    first_ms = parse_utc_ms("2024-02-12")
    moments = pl.Series([first_ms + n * step_ms for n in range(50)]).cast(pl.Datetime("ms", "UTC"))
    frame = minutes.head(50).with_columns(timestamp=moments)
    shown, end_ms, now_ms = late(frame, 7, timeframe)
    with BinanceRestServer(spot={"BTCUSDT": {timeframe: shown}}, now_ms=now_ms) as server:
        source = make_source("binance", server.url)
        delivery = source.fetch(piece_of(frame, timeframe=timeframe), Halt())
    assert delivery.answered_to_ms == end_ms - left * step_ms


def test_an_empty_answer_about_the_latest_bars_answers_for_none_of_them(minutes, make_source):
    end_ms = stamps(minutes)[-1] + MINUTE_MS
    latest = Span(end_ms - 5 * MINUTE_MS, end_ms)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}, now_ms=end_ms + 1000) as server:
        source = make_source("binance", server.url)
        piece = Piece(symbol="BTCUSDT", timeframe="1m", span=latest, name="latest")
        server.fail(Fault("status", path="klines", status=200, body=b"[]"))
        empty = source.fetch(piece, Halt())
        whole = source.fetch(piece, Halt())
    assert (empty.frame, empty.answered_to_ms) == (None, latest.start_ms)
    assert (len(whole.frame), whole.answered_to_ms) == (5, end_ms)


def test_a_span_in_which_no_bar_opens_is_not_asked_for(minutes, make_source):
    weeks = minutes.head(1).with_columns(timestamp=pl.datetime(2024, 2, 12, time_zone="UTC"))
    weeks = weeks.with_columns(pl.col("timestamp").dt.cast_time_unit("ms"))
    now_ms = parse_utc_ms("2024-02-25")  # a Sunday
    with BinanceRestServer(spot={"BTCUSDT": {"1w": weeks}}, now_ms=now_ms) as server:
        source = make_source("binance", server.url)
        asked = {"wanted": ALL_TIME, "files": {}}
        sunday = Span(parse_utc_ms("2024-02-18"), parse_utc_ms("2024-02-19"))
        assert source.pieces("BTCUSDT", "1w", missing=[sunday], **asked) == []
        (piece,) = source.pieces("BTCUSDT", "1w", missing=[ALL_TIME], **asked)
    assert piece.span == Span(parse_utc_ms("2024-02-12"), parse_utc_ms("2024-02-19"))


# How it is asked


def test_requests_are_paced_as_ccxt_reckons_and_the_pause_is_one_that_ctrl_c_ends(
    minutes, make_source, monkeypatch
):
    described = ccxt.binance.describe
    slow = {"rateLimit": 1_000_000}
    monkeypatch.setattr(
        ccxt.binance, "describe", lambda self: self.deep_extend(described(self), slow)
    )
    halt = Halt()
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        make_source("binance", server.url).fetch(piece_of(minutes), halt)
        assert len(halt.waits) == len(server.requests) - 1
        assert min(halt.waits) > 100
        halt = Halt(lambda seconds: halt.set())
        with pytest.raises(FetchError, match="interrupted"):
            make_source("binance", server.url).fetch(piece_of(minutes), halt)
        assert len(halt.waits) == 1


# What goes wrong


def test_a_refused_connection_is_one_line_after_five_tries(minutes, make_source):
    halt = Halt()
    source = make_source("binance", f"http://me:hush@127.0.0.1:{closed_port()}")
    with pytest.raises(SourceUnreachableError, match="connection is refused") as caught:
        source.fetch(piece_of(minutes), halt)
    # What is shorter paces the requests.
    assert [pause_s for pause_s in halt.waits if pause_s >= 1] == [1.0, 2.0, 4.0, 8.0]
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_user_and_password_in_a_url_reach_the_server_and_no_message_or_log(
    minutes, make_source, caplog
):
    caplog.set_level(logging.DEBUG)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url.replace("//", "//me:h%40sh@"))
        delivery = source.fetch(piece_of(minutes), Halt())
        server.fail(Fault("status", status=401, times=9, body=b"who are you?"))
        with pytest.raises(FetchError) as caught:
            source.fetch(piece_of(minutes), Halt())
        sent = httpx.BasicAuth("me", "h@sh")._auth_header
        assert {each.headers["Authorization"] for each in server.requests} == {sent}
    assert "@" not in delivery.entry["url"] + str(caught.value)
    assert "api/v3/klines" in caplog.text
    assert "h%40sh" not in caplog.text
    assert "h@sh" not in caplog.text


def test_an_exchange_that_does_not_answer_in_time_is_given_up_after_five_tries(
    minutes, make_source, monkeypatch
):
    monkeypatch.setattr(_ccxt_client, "TIMEOUT_S", 0.05)
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        server.fail(Fault("hang", times=5))
        halt = Halt()
        with pytest.raises(SourceUnreachableError, match="does not answer in time"):
            source.fetch(piece_of(minutes), halt)
    # Counted by the pauses between them: a busy server may not have heard of all of them yet.
    assert [pause_s for pause_s in halt.waits if pause_s >= 1.0] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("kind", ["reset", "truncated", "status"])
def test_what_breaks_off_is_asked_again(minutes, make_source, kind):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        server.fail(Fault(kind, path="klines.*limit=1000", times=2, status=503))
        delivery = source.fetch(piece_of(minutes), Halt())
    assert_frame_equal(delivery.frame, minutes.head(-1), check_exact=True)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reset", "the connection breaks off"),
        ("truncated", "the answer breaks off"),
        ("status", "status 502"),
    ],
)
def test_what_breaks_off_every_time_is_said_in_one_line(minutes, make_source, kind, said):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        page = b"<html><title>Bad gateway</title></html>"
        server.fail(Fault(kind, path="klines", times=5, status=502, body=page))
        with pytest.raises(SourceUnreachableError, match=said) as caught:
            source.fetch(piece_of(minutes), Halt())
    assert f"{server.url}/api/v3/klines" in str(caught.value)
    assert not {"?", "\n", "<"} & set(str(caught.value))


def test_a_429_is_waited_out_for_as_long_as_the_exchange_asks(minutes, make_source):
    frames = {"BTCUSDT": {"1m": minutes}}
    server = BinanceRestServer(spot=frames, weight_limit=26)

    def pass_time(seconds):
        server.now_ms += int(seconds * 1000)

    halt = Halt(pass_time)
    # The list of symbols weighs 20, so that the last page is one too many for the minute.
    server.now_ms = stamps(minutes)[-1] + 20_000
    with server:
        source = make_source("binance", server.url)
        server.forget()
        delivery = source.fetch(piece_of(minutes), halt)
        assert len(server.paths) == 1 + 1 + 3 + 1
    assert_frame_equal(delivery.frame, minutes.head(-1), check_exact=True)
    assert max(halt.waits) >= 30


def test_a_429_for_ever_becomes_a_ban_that_says_until_when(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}, weight_limit=0) as server:
        server.now_ms = parse_utc_ms("2024-02-03T12:00")
        with pytest.raises(SourceUnreachableError, match=r"banned .*until 2024-02-03 12:02 UTC"):
            make_source("binance", server.url).fetch(piece_of(minutes), Halt())
        assert len(server.requests) == 4


def test_a_ban_without_words_ends_by_the_exchange_s_clock(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        server.now_ms = parse_utc_ms("2024-02-03T12:00")
        server.fail(Fault("status", status=418, headers={"Retry-After": "3600"}))
        with pytest.raises(SourceUnreachableError, match="until 2024-02-03 13:00 UTC"):
            make_source("binance", server.url).fetch(piece_of(minutes), Halt())


def test_a_pause_named_as_a_date_is_kept_and_one_of_hours_is_not_waited_for(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source, halt = make_source("binance", server.url), Halt()
        date = formatdate(server.now_ms / 1000 + 17, usegmt=True)
        server.fail(Fault("status", status=429, headers={"Retry-After": date}))
        source.fetch(piece_of(minutes), halt)
        assert 17.0 in halt.waits
        server.fail(Fault("status", status=429, headers={"Retry-After": "7200"}))
        with pytest.raises(SourceUnreachableError, match="asks to wait until"):
            source.fetch(piece_of(minutes), halt)
        assert max(halt.waits) == 17.0


def test_pauses_for_one_answer_add_up_to_ten_minutes_at_most(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source, halt = make_source("binance", server.url), Halt()
        server.fail(Fault("status", status=429, headers={"Retry-After": "250"}, times=9))
        with pytest.raises(SourceUnreachableError, match="asks to wait until"):
            source.fetch(piece_of(minutes), halt)
        assert [pause for pause in halt.waits if pause > 10] == [250.0, 250.0]
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [403, 451])
def test_a_refused_place_is_not_asked_again(minutes, make_source, status):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        server.fail(Fault("status", status=status, times=9, body=b"<html>restricted</html>"))
        with pytest.raises(SourceUnreachableError, match="refuses to serve this address"):
            make_source("binance", server.url).fetch(piece_of(minutes), Halt())
        assert len(server.requests) == 1


def test_a_web_page_is_not_taken_for_an_answer(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        for path in ("exchangeInfo", "klines"):
            server.fail(Fault("html", path=path))
            with pytest.raises(FetchError, match="web page where data was expected"):
                source.fetch(piece_of(minutes), Halt())


@pytest.mark.parametrize("body", [b"maintenance", b"", b'[[1706745600000,"42'])
def test_a_text_is_not_taken_for_a_page_without_bars(minutes, make_source, body):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        server.fail(Fault("status", path="klines", status=200, body=body, times=9))
        with pytest.raises(FetchError, match="a text where data was expected"):
            source.fetch(piece_of(minutes), Halt())


def test_an_error_of_the_exchange_is_passed_on_in_one_line_without_another_try(
    minutes, make_source
):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        body = b'{"code": -1100, "msg": "Illegal characters\\nfound in a parameter."}'
        server.fail(Fault("status", path="klines", status=400, body=body, times=9))
        with pytest.raises(FetchError, match="Illegal characters") as caught:
            source.fetch(piece_of(minutes), Halt())
        assert server.paths.count("/api/v3/klines") == 1
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_is_not_asked_for_again(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        server.fail(Fault("status", status=404, times=9))
        with pytest.raises(FetchError, match=r"binance refuses: .*/api/v3/exchangeInfo 404"):
            make_source("binance", server.url).fetch(piece_of(minutes), Halt())
        assert len(server.requests) == 1


def test_a_symbol_that_is_not_listed_is_named_with_the_nearest(minutes, make_source):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        with pytest.raises(UsageError, match=r"lists no 'BTCUSD'.*did you mean 'BTCUSDT'"):
            source.first_ms("BTCUSD", "1m")
        source.listings()
        del server.frames["api"]["BTCUSDT"]  # delisted since
        with pytest.raises(UsageError, match="Invalid symbol"):
            source.fetch(piece_of(minutes), Halt())


def test_ctrl_c_ends_a_wait_and_nothing_more_is_asked(minutes, make_source):
    halt = Halt(lambda seconds: halt.set())
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        source = make_source("binance", server.url)
        server.fail(Fault("status", status=503, times=9))
        with pytest.raises(FetchError, match="interrupted"):
            source.fetch(piece_of(minutes), halt)
        assert len(server.requests) == 1


# What is refused before anything is asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"exchange": "binanse"}, "did you mean 'binance'"),
        ({"exchange": "kraken", "market": "perpetual"}, "kraken has no perpetual market"),
        ({"exchange": "binance", "market": "futures"}, "unknown market 'futures'"),
        ({"exchange": "binance", "urls": {"apis": "http://127.0.0.1"}}, "unknown URL 'apis'"),
        ({"exchange": "binance", "urls": {"api": "127.0.0.1"}}, "expected one such as"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_ones(words, said):
    with pytest.raises(UsageError, match=said):
        ccxt_source(**words)


def test_an_exchange_without_bars_is_refused():
    without = next(
        name
        for name in ccxt.exchanges
        if (has := getattr(ccxt, name)().has)["spot"] and has["fetchOHLCV"] is not True
    )
    with pytest.raises(UsageError, match="ccxt has no bars"):
        ccxt_source(without)


def test_a_timeframe_that_the_exchange_lacks_is_refused_with_those_it_has():
    source = ccxt_source("coinbase")
    with pytest.raises(UsageError, match=r"coinbase has no 4h bars.*1m, 5m, 15m, 30m, 1h, 2h, 6h"):
        source.first_ms("BTC-USD", "4h")
    with pytest.raises(UsageError, match="unknown timeframe '7m'"):
        source.first_ms("BTC-USD", "7m")


@pytest.mark.parametrize(
    ("exchange", "market", "venue"),
    [
        ("binance", "spot", "binance"),
        ("binance", "perpetual", "binance_um"),
        ("binanceusdm", "perpetual", "binance_um"),
        ("bybit", "perpetual", "bybit_linear"),
        ("okx", "perpetual", "okx_swap"),
        ("kraken", "spot", "kraken"),
    ],
)
def test_a_venue_says_what_its_symbols_are(exchange, market, venue):
    assert ccxt_source(exchange, market=market).venue == venue


def test_listings_hold_ended_symbols_and_when_futures_began(minutes, make_source):
    frames = {"BTCUSDT": {"1m": minutes}, "OLDUSDT": {"1m": minutes}}
    ended = frozenset({"OLDUSDT"})
    with BinanceRestServer(spot=frames, futures=frames, ended=ended) as server:
        spot = make_source("binance", server.url).listings()
        futures = make_source("binance", server.url, "perpetual").listings()
        paths = server.paths
    assert [(each.symbol, each.first_ms) for each in spot] == [("BTCUSDT", None), ("OLDUSDT", None)]
    assert [each.symbol for each in futures] == ["BTCUSDT", "OLDUSDT"]
    assert {each.first_ms for each in futures} == {stamps(minutes)[0]}
    # One kind of market, no list of coins, nothing that needs a key.
    assert paths == ["/api/v3/exchangeInfo", "/fapi/v1/exchangeInfo"]


# Funding


def rates(count: int, every_ms: int) -> pl.DataFrame:
    times = [parse_utc_ms("2023-01-01") + n * every_ms + n % 7 for n in range(count)]
    return pl.DataFrame(
        {"timestamp": times, "rate": [(n % 13 - 6) / 30_000 for n in range(count)]}
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))


@pytest.mark.parametrize("hours", [1, 8])
def test_funding_rates_come_page_by_page_to_the_bit(make_source, hours):
    served = rates(2300, hours * HOUR_MS)
    now_ms = stamps(served)[-1] + MINUTE_MS
    words = {"futures": {"BTCUSDT": {}}, "funding": {"BTCUSDT": served}, "now_ms": now_ms}
    with BinanceRestServer(**words) as server:
        source = make_source("binance", server.url, "perpetual")
        span = Span(stamps(served)[10], stamps(served)[-5])
        fetched = source.funding("BTC/USDT", span, Halt()).frame
        none = source.funding("BTC/USDT", Span(0, stamps(served)[0]), Halt()).frame
    assert_frame_equal(fetched, served[10:-5], check_exact=True)
    assert len(none) == 0
    assert none.schema == served.schema


def test_spot_has_no_funding(make_source, minutes):
    with BinanceRestServer(spot={"BTCUSDT": {"1m": minutes}}) as server:
        with pytest.raises(UsageError, match="no history of funding"):
            make_source("binance", server.url).funding("BTCUSDT", ALL_TIME, Halt())
        assert server.paths == []


# The server itself


def test_the_server_pages_and_refuses_as_the_exchange_does(minutes):
    served = {"BTCUSDT": {"1m": minutes}}
    with BinanceRestServer(spot=served, futures=served) as server, httpx.Client() as client:

        def ask(path: str, **query: object) -> httpx.Response:
            return client.get(server.url + path, params={"symbol": "BTCUSDT", **query})

        latest = ask("/api/v3/klines", interval="1m")
        assert [row[0] for row in latest.json()] == stamps(minutes)[-500:]
        assert latest.headers["X-MBX-USED-WEIGHT-1M"] == "2"
        assert len(ask("/api/v3/klines", interval="1m", limit=2000).json()) == 1000
        assert len(ask("/fapi/v1/klines", interval="1m", limit=1500).json()) == 1500
        assert ask("/fapi/v1/klines", interval="1m", limit=1501).json()["code"] == -1130
        first, second = stamps(minutes)[:2]
        some = ask("/api/v3/klines", interval="1m", startTime=first, endTime=second).json()
        assert [row[0] for row in some] == [first, second]
        wrong = client.get(f"{server.url}/api/v3/klines?symbol=NOPE&interval=1m")
        assert (wrong.status_code, wrong.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert ask("/api/v3/klines", interval="1y").json()["code"] == -1120
