"""What the ccxt source is made of, without a server: symbols, stretches, pages, the first bar."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforge.base import TIMEFRAMES_MS, BarsError, SourceUnreachableError, parse_utc_ms
from walkforge.market import Span
from walkforge.sources._ccxt_first import first_bar_ms
from walkforge.sources._ccxt_pages import bars_of, rows_of
from walkforge.sources._ccxt_stretches import joined, stretches
from walkforge.sources._ccxt_symbols import Symbols
from walkforge.sources._grid import open_ms

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NOW_MS = parse_utc_ms("2024-06-01")

# Symbols


def market_of(own_id: str, symbol: str, **more: object) -> dict[str, object]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    return {
        "id": own_id, "symbol": symbol, "base": base, "quote": quote, "settle": settle or None,
        "baseId": base, "quoteId": quote, "active": True, "spot": not settle, "swap": bool(settle),
        "linear": bool(settle), **more,
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["BTC/USDT", "BTC-USDT", "BTCUSDT", "btcusdt", "BTC/USDT:USDT"])
def test_every_spelling_finds_the_same_symbol(asked):
    joined = Symbols("bybit_linear", "perpetual", [market_of("BTCUSDT", "BTC/USDT:USDT")])
    parted = Symbols("okx_swap", "perpetual", [market_of("BTC-USDT-SWAP", "BTC/USDT:USDT")])
    assert joined.find(asked)[0] == "BTCUSDT"
    assert parted.find(asked)[0] == "BTC-USDT"


def test_a_venue_with_ids_of_its_own_writes_all_symbols_with_a_dash():
    kraken = [market_of("XXBTZUSD", "BTC/USD", baseId="XXBT", quoteId="ZUSD")]
    symbols = Symbols("kraken", "spot", [*kraken, market_of("SOLUSD", "SOL/USD")])
    assert list(symbols.by_name) == ["BTC-USD", "SOL-USD"]
    assert symbols.find("XXBTZUSD")[0] == "BTC-USD"


def test_only_perpetuals_that_settle_in_their_quote_are_listed():
    markets = [
        market_of("BTCOLD", "BTC/USDT:USDT", active=False),
        market_of("BTCUSDT", "BTC/USDT:USDT"),
        market_of("BTCUSD", "BTC/USD:BTC", linear=False),
        market_of("BTCUSDC", "BTC/USDC:USDT"),
        market_of("BTCUSDT_240628", "BTC/USDT:USDT-240628", swap=False),
        market_of("BTCPERP", "BTC/USDC:USDC"),
        market_of("BTCUSDT", "BTC/USDT"),
    ]
    symbols = Symbols("bybit_linear", "perpetual", markets)
    assert {name: each["id"] for name, each in symbols.by_name.items()} == {
        "BTC-USDC": "BTCPERP",
        "BTC-USDT": "BTCOLD",
        "BTCUSDT": "BTCUSDT",
    }


def test_a_name_belongs_to_the_market_that_trades():
    ended, trading = market_of("A", "A/USD", active=False), market_of("A2", "A/USD")
    symbols = Symbols("kraken", "spot", [ended, trading])
    assert symbols.find("A-USD") == ("A-USD", trading)


# Stretches


@given(
    start=st.integers(0, 25_000),
    days=st.integers(0, 4000),
    timeframe=st.sampled_from(sorted(TIMEFRAMES_MS)),
    page_bars=st.sampled_from([100, 300, 1000, 1500]),
)
def test_stretches_cover_a_span_without_overlap_in_at_most_twelve_pages(
    start, days, timeframe, page_bars
):
    step_ms = TIMEFRAMES_MS[timeframe]
    # An odd hour, and few enough stretches to look at.
    span = Span(start * DAY_MS + HOUR_MS, start * DAY_MS + min(days * DAY_MS, 9999 * step_ms))
    parts = list(stretches(span, timeframe, page_bars))
    if span.end_ms <= span.start_ms:
        assert parts == []
        return
    assert (parts[0].start_ms, parts[-1].end_ms) == span
    assert all(a.end_ms == b.start_ms for a, b in pairwise(parts))
    assert all(0 < part.end_ms - part.start_ms <= 12 * page_bars * step_ms for part in parts)


def test_spans_within_a_page_are_joined_and_no_others():
    minutes = [(5, 5), (10, 11), (12, 14), (18, 20), (21, 60), (60, 61)]
    spans = [Span(60_000 * start, 60_000 * end) for start, end in minutes]
    found = [(one.start_ms // 60_000, one.end_ms // 60_000) for one in joined(spans, "1m", 10)]
    assert found == [(10, 20), (21, 60), (60, 61)]


@pytest.mark.parametrize(
    ("timeframe", "page_bars", "cuts"),
    [
        ("1m", 1000, ["2023-12-25", "2024-01-01", "2024-01-08"]),
        ("1m", 300, ["2023-12-29", "2023-12-30", "2023-12-31"]),
        ("5m", 1000, ["2024-01-01", "2024-02-01", "2024-03-01"]),
        ("1h", 1000, ["2024-01-01", "2025-01-01", "2026-01-01"]),
    ],
)
def test_stretches_end_where_days_weeks_months_or_years_do(timeframe, page_bars, cuts):
    span = Span(parse_utc_ms("2023-12-28T12:00"), parse_utc_ms("2027-01-01"))
    if timeframe == "1m" and page_bars == 1000:
        span = Span(parse_utc_ms("2023-12-20"), span.end_ms)
    ends = [part.end_ms for part in stretches(span, timeframe, page_bars)]
    assert ends[:3] == [parse_utc_ms(cut) for cut in cuts]


# The first bar


def first_bar_of(answer: Callable[[str, int, int], list[list[int]]], page_bars: int = 720):
    return first_bar_ms(answer, "1h", coarse="1d", page_bars=page_bars, now_ms=NOW_MS)


def test_the_first_bar_is_the_oldest_kept_where_an_exchange_answers_with_its_latest_always():
    kept_ms = [NOW_MS - n * HOUR_MS for n in range(720, 0, -1)]
    assert first_bar_of(lambda frame, since, limit: [[ms] for ms in kept_ms]) == kept_ms[0]


def test_an_answer_since_nought_that_is_not_the_first_bar_is_not_taken_for_it():
    first_ms = parse_utc_ms("2021-03-04T05:00")

    def answer(frame: str, since_ms: int, limit: int) -> list[list[int]]:
        step_ms = TIMEFRAMES_MS[frame]
        if since_ms == 0:
            return [[NOW_MS - step_ms]]  # the latest
        opens = range(open_ms(first_ms, frame), NOW_MS, step_ms)
        return [[ms] for ms in opens if since_ms <= ms < since_ms + limit * step_ms]

    assert first_bar_of(answer) == first_bar_of(answer, page_bars=5) == first_ms


def test_nothing_is_searched_for_where_the_exchange_cannot_be_reached():
    def answer(frame: str, since_ms: int, limit: int) -> list[list[int]]:
        raise SourceUnreachableError("gone")

    with pytest.raises(SourceUnreachableError):
        first_bar_of(answer)


# Pages and bars by hand


def test_rows_that_overlap_come_early_or_lie_off_the_span_are_dropped():
    pages = {0: [[0, "a"], [1, "b"], [2, "c"]], 3: [[1, "x"], [2, "x"]], 6: [[6, "d"], [12, "e"]]}
    rows = rows_of(
        lambda since, limit: pages[since], Span(0, 10), step_ms=1, page_rows=3, next_ms=1
    )
    assert rows == [[0, "a"], [1, "b"], [2, "c"], [6, "d"]]


@pytest.mark.parametrize("cell", [None, float("nan")])
def test_a_bar_that_lacks_a_number_is_named(cell):
    row = [parse_utc_ms("2024-01-01"), 1.0, 2.0, 0.5, 1.5, cell]
    with pytest.raises(BarsError, match="kraken BTC-USD 1m: the bar of 2024-01-01 00:00 lacks"):
        bars_of([row], "1m", "kraken BTC-USD 1m")


def test_a_bar_beside_the_utc_grid_is_refused():
    row = [parse_utc_ms("2024-01-01T16:00"), 1.0, 2.0, 0.5, 1.5, 9.0]
    with pytest.raises(BarsError, match="opens at 2024-01-01 16:00 UTC, where no 1d bar opens"):
        bars_of([row], "1d", "htx BTC-USDT 1d")
