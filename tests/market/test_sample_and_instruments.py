"""The sample's bars, the facts about bars, and what is known about symbols."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from drawn import bars_from, random_bars
from walkforge.base import BarsError, UsageError
from walkforge.market import (
    Instrument,
    check_bars,
    data_info,
    instrument_of,
    is_perpetual_venue,
    read_folder,
    read_instruments,
    sample_bars,
    write_instruments,
)


def test_the_sample_is_twenty_years_of_two_indices():
    bars = sample_bars()
    assert list(bars) == ["SP500", "NASDAQ"]
    for symbol, one in bars.items():
        assert one.name == f"index/{symbol}/1d"
        assert (one.provenance, one.calendar, len(one)) == ("sample", "session", 5031)
        assert check_bars(one, allow=["notes"]).ok
        assert one.history == ("0 of 5031 days left out for broken prices",)
        # The exchanges stayed closed for a week after 2001-09-10.
        assert [hole["after"] for hole in data_info(one)["holes"]["largest"]] == [
            "2001-09-10 00:00"
        ]


def test_the_sample_agrees_with_the_shared_copy_of_it(shared_data):
    stored = read_folder(shared_data / "bars/index", timeframe="1d")
    for symbol, one in sample_bars().items():
        other = stored[symbol]
        part = one.between(int(other.timestamp[0]), int(other.timestamp[-1]) + 1)
        shared = np.isin(part.timestamp, other.timestamp)
        for name in ("timestamp", "open", "high", "low", "close", "volume"):
            np.testing.assert_array_equal(getattr(part, name)[shared], getattr(other, name))


def test_the_facts_about_bars_are_plain_data():
    bars = dataclasses.replace(random_bars(100, holes_at=(30, 60)), history=("mended",))
    info = json.loads(json.dumps(data_info(bars)))
    assert info == {
        "venue": "drawn",
        "symbol": "RANDOM",
        "timeframe": "1m",
        "rows": 100,
        "first": "2024-01-01 00:00",
        "last": "2024-01-01 01:59",
        "segments": 3,
        "holes": {
            "count": 2,
            "missing_bars": 20,
            "estimated": False,
            "largest": [
                {"after": "2024-01-01 00:29", "before": "2024-01-01 00:40", "missing_bars": 10},
                {"after": "2024-01-01 01:09", "before": "2024-01-01 01:20", "missing_bars": 10},
            ],
        },
        "repairs": ["mended"],
        "provenance": "simulated",
        "calendar": "24/7",
        "digest": bars.digest(),
        "spans": [
            ["2024-01-01 00:00", "2024-01-01 00:29"],
            ["2024-01-01 00:40", "2024-01-01 01:09"],
            ["2024-01-01 01:20", "2024-01-01 01:59"],
        ],
        "spans_joined": 0,
    }
    assert data_info(bars.take(slice(0, 0)))["first"] is None


def test_bitcoin_has_the_tick_that_the_fill_rules_are_stated_with():
    for venue in ("binance", "binance_um", "bybit_linear", "anywhere"):
        assert instrument_of(venue, "BTCUSDT").tick_size == 0.1
    assert instrument_of("binance", "BTCUSDT").lot_step == 0.00001
    assert instrument_of("binance_um", "BTCUSDT").lot_step == 0.001
    assert instrument_of("binance", "BTCUSDT").source == "stored defaults"


def flat(*closes: float):
    return bars_from("\n".join(f"{close} {close} {close} {close}" for close in closes))


@pytest.mark.parametrize(
    ("closes", "tick"),
    [
        ((101.0, 102.0, 99.0), 1.0),
        ((101.5, 102.0, 99.1), 0.1),
        ((2.327, 2.331, 2.3), 0.001),
        ((0.00001234, 0.000015, 0.0000201), 1e-8),
        # Prices that went through float32, as those of Yahoo did.
        ((2207.540039, 2233.570068, 1228.099976), 0.01),
        ((600.12, 612.34, 599.99), 0.01),
        # Decimals finer than 1/100 000 of the price are no tick.
        ((60_000.12, 61_234.56, 59_999.99), 0.1),
        ((2_286.41015625, 2_300.12345678, 2_286.40999999), 0.01),
        ((1.12345, 1.12347, 1.1), 1e-5),
    ],
)
def test_an_unknown_tick_is_inferred_from_the_decimals(closes, tick):
    instrument = instrument_of("venue", "UNKNOWN", flat(*closes))
    assert instrument.tick_size == tick
    assert instrument.source == "inferred from prices"


def test_prices_without_a_grid_get_a_ten_thousandth_of_their_size():
    bars = random_bars(500)
    assert 10 <= np.median(bars.close) < 100
    assert instrument_of("drawn", "RANDOM", bars).tick_size == 0.001


def test_a_few_odd_prices_do_not_make_the_tick_finer():
    cents = [50 + cent / 100 for cent in range(96)]
    assert (
        instrument_of("v", "S", flat(*cents, 50.1234, 50.4321, 51.777, 52.3333)).tick_size == 0.01
    )
    many = [price + 0.001 for price in cents[:10]]
    assert instrument_of("v", "S", flat(*cents, *many)).tick_size == 0.001


def _in_sessions(*closes: float):
    """Return daily bars of a market that keeps sessions."""
    bars = flat(*closes)
    stamps = bars.timestamp[0] + 86_400_000 * np.arange(len(bars))
    return dataclasses.replace(bars, timeframe="1d", calendar="session", timestamp=stamps)


@pytest.mark.parametrize(
    ("symbol", "tick"),
    [
        ("AAPL", 0.01),
        ("BRK-B", 0.01),
        ("^GSPC", 0.01),
        ("ACA.PA", 0.01),
        ("EURUSD", 1e-6),
        ("EUR/USD", 1e-6),
        ("EURUSD=X", 1e-6),
        ("XAGUSD", 1e-6),
        ("HG=F", 1e-6),
    ],
)
def test_a_stock_has_no_finer_tick_than_a_cent_however_its_prices_were_adjusted(symbol, tick):
    adjusted = 0.128348, 0.121651, 0.112723, 0.1155137  # of 1980, from 28.75 and so on
    found = instrument_of("yahoo", symbol, _in_sessions(*adjusted))
    assert (found.tick_size, found.source) == (tick, "inferred from prices")
    around_the_clock = dataclasses.replace(_in_sessions(*adjusted), calendar="24/7")
    assert instrument_of("yahoo", symbol, around_the_clock).tick_size == 1e-6


def test_a_coarser_tick_of_a_stock_stays_what_its_prices_show():
    assert instrument_of("yahoo", "BIG", _in_sessions(4000.5, 4001.0)).tick_size == 0.1


def test_nothing_is_known_of_lots_and_minimums_of_an_unknown_symbol_so_there_are_none():
    for price in (0.02, 1.5, 99.0, 60_000.0):
        instrument = instrument_of("venue", "UNKNOWN", flat(price, price))
        assert (instrument.lot_step, instrument.min_notional) == (1e-8, 0.0)
        assert not instrument.has_lot_step
    assert instrument_of("binance", "BTCUSDT").has_lot_step


@pytest.mark.parametrize(
    ("place", "timeframe", "tick"),
    [
        ("sp500/ABBV", "1d", 0.01),
        ("sp500/AAL", "1d", 0.01),
        ("oanda/XAUUSD", "1h", 0.01),
        # At 34 000 a hundredth is finer than 1/100 000 of the price.
        ("coinmarketcap/BTCUSD", "1d", 0.1),
        ("index/SP500", "1d", 0.01),
    ],
)
def test_real_symbols_have_the_tick_they_are_quoted_in(shared_data, place, timeframe, tick):
    venue, symbol = place.split("/")
    folder = shared_data / "bars" / venue
    bars = read_folder(folder, timeframe=timeframe, symbols=[symbol])[symbol]
    assert instrument_of(venue, symbol, bars).tick_size == tick


def test_the_real_coins_lie_on_their_inferred_ticks(shared_data):
    bars = read_folder(shared_data / "bars/binance_um", timeframe="1m", symbols=["NEARUSDT"])
    unknown = dataclasses.replace(bars["NEARUSDT"], symbol="UNKNOWN")
    assert instrument_of("binance_um", "UNKNOWN", unknown).tick_size == 0.001
    assert instrument_of("binance_um", "NEARUSDT").tick_size == 0.001


def test_a_symbol_nothing_is_known_about_is_refused():
    with pytest.raises(UsageError, match="venue/UNKNOWN: no stored tick size; pass the bars"):
        instrument_of("venue", "UNKNOWN")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tick_size", 0.0, r"X: tick_size 0.0, expected a positive number"),
        ("contract_size", float("inf"), r"X: contract_size inf, expected a positive number"),
        ("min_notional", -1.0, r"X: min_notional -1.0, expected 0 or more"),
        ("maker_fee_frac", -0.02, r"X: maker_fee_frac -0.02, expected a fraction of the notional"),
        (
            "taker_fee_frac",
            0.5,
            r"X: taker_fee_frac 0.5, expected a fraction .* \(0.001 is 0.1 %\)",
        ),
        ("taker_fee_frac", float("nan"), r"X: taker_fee_frac nan, expected a fraction"),
        ("funding_interval_h", 0, r"X: funding_interval_h 0, expected a positive number or none"),
        ("calendar", "daily", r"unknown calendar of X 'daily'; choose one of 24/7, session"),
    ],
)
def test_an_impossible_instrument_cannot_be_built(field, value, message):
    possible = {"tick_size": 0.1, "lot_step": 1.0, "min_notional": 5.0}
    with pytest.raises(UsageError, match=message):
        Instrument("X", **{**possible, field: value})


def test_an_instrument_stands_in_one_order_and_most_of_it_may_be_unknown():
    plain = Instrument("X", 0.1, 1.0, 5.0).as_dict()
    assert plain == {
        "symbol": "X",
        "tick_size": 0.1,
        "lot_step": 1.0,
        "min_notional": 5.0,
        "contract_size": 1.0,
        "maker_fee_frac": None,
        "taker_fee_frac": None,
        "funding_interval_h": None,
        "calendar": None,
        "source": "given",
    }
    assert list(plain) == [field.name for field in dataclasses.fields(Instrument)]


# Fees, funding and calendar of venues


def test_a_venues_fees_and_funding_are_those_of_all_its_symbols():
    spot, perpetual = (instrument_of(venue, "BTCUSDT") for venue in ("binance", "binance_um"))
    assert (spot.maker_fee_frac, spot.taker_fee_frac) == (0.001, 0.001)
    assert (perpetual.maker_fee_frac, perpetual.taker_fee_frac) == (0.0002, 0.0005)
    assert (spot.funding_interval_h, perpetual.funding_interval_h) == (None, 8.0)
    assert spot.calendar == perpetual.calendar == "24/7"
    inferred = instrument_of("bybit_linear", "UNKNOWN", flat(1.5, 1.6))
    assert (inferred.source, inferred.taker_fee_frac) == ("inferred from prices", 0.00055)
    assert inferred.funding_interval_h == 8.0


def test_nothing_is_known_of_the_fees_of_an_unknown_venue():
    instrument = instrument_of("drawn", "UNKNOWN", flat(1.5, 1.6))
    assert (instrument.maker_fee_frac, instrument.taker_fee_frac) == (None, None)
    assert (instrument.funding_interval_h, instrument.calendar) == (None, None)


@pytest.mark.parametrize(
    ("venue", "perpetual"),
    [
        ("binance_um", True),
        ("bybit_linear", True),
        ("okx_swap", True),
        ("dydx_perp", True),
        ("binance", False),
        ("okx", False),
        ("swap", False),
        ("um", False),
    ],
)
def test_the_ending_of_a_venue_tells_whether_it_trades_perpetuals(venue, perpetual):
    assert is_perpetual_venue(venue) == perpetual
    steps = {True: 0.001, False: 0.00001}
    assert instrument_of(venue, "BTCUSDT").lot_step == steps[perpetual]


# What a venue's folder keeps

AT = "2026-11-21T16:00:00+00:00"
BTC = Instrument("BTCUSDT", 0.1, 0.001, 100.0, 1.0, 0.0002, 0.0004, 8.0, "24/7")
ODD = Instrument("ODDUSDT", 1e-7, 1.0, 5.0)


def test_a_folders_instruments_are_read_as_they_were_written(tmp_path):
    assert read_instruments(tmp_path) == {}
    write_instruments(tmp_path, {"BTCUSDT": BTC, "ODDUSDT": ODD}, source="ccxt", fetched_at=AT)
    told = f"ccxt, {AT}"
    assert read_instruments(tmp_path) == {
        "BTCUSDT": dataclasses.replace(BTC, source=told),
        "ODDUSDT": dataclasses.replace(ODD, source=told),
    }


def test_a_second_writing_changes_what_it_names_and_keeps_the_rest(tmp_path):
    write_instruments(tmp_path, {"BTCUSDT": BTC, "ODDUSDT": ODD}, source="ccxt", fetched_at=AT)
    finer = dataclasses.replace(BTC, tick_size=0.01)
    write_instruments(tmp_path, {"BTCUSDT": finer}, source="archive", fetched_at="2027-01-01")
    found = read_instruments(tmp_path)
    assert (found["BTCUSDT"].tick_size, found["BTCUSDT"].source) == (0.01, "archive, 2027-01-01")
    # It was delisted, and its past is still traded.
    assert found["ODDUSDT"] == dataclasses.replace(ODD, source=f"ccxt, {AT}")


def test_the_folder_goes_before_stored_defaults_and_these_before_prices(tmp_path):
    write_instruments(tmp_path, {"BTCUSDT": BTC}, source="ccxt", fetched_at=AT)
    of = [instrument_of("binance_um", "BTCUSDT", folder=folder) for folder in (tmp_path, None)]
    assert [(one.min_notional, one.source) for one in of] == [
        (100.0, f"ccxt, {AT}"),
        (5.0, "stored defaults"),
    ]
    assert instrument_of("binance_um", "ETHUSDT", folder=tmp_path).source == "stored defaults"
    inferred = instrument_of("binance_um", "ODDUSDT", flat(1.5, 1.6), folder=tmp_path)
    assert inferred.source == "inferred from prices"


def test_what_a_venue_did_not_tell_is_stored_and_the_source_says_both(tmp_path):
    silent = dataclasses.replace(BTC, taker_fee_frac=None, funding_interval_h=None, calendar=None)
    write_instruments(tmp_path, {"BTCUSDT": silent}, source="ccxt", fetched_at=AT)
    found = instrument_of("binance_um", "BTCUSDT", folder=tmp_path)
    source = f"ccxt, {AT}; else stored defaults"
    assert found == dataclasses.replace(BTC, taker_fee_frac=0.0005, source=source)
    # Nothing is stored of an unknown venue, and what is told stays alone.
    assert instrument_of("drawn", "BTCUSDT", folder=tmp_path) == dataclasses.replace(
        silent, source=f"ccxt, {AT}"
    )


def test_writers_of_instruments_at_once_lose_nothing(tmp_path):
    names = [f"{letter}{number}" for letter in "ABCD" for number in range(10)]

    def write(name):
        one = dataclasses.replace(ODD, symbol=name)
        write_instruments(tmp_path, {name: one}, source="ccxt", fetched_at=AT)

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, names))
    assert sorted(read_instruments(tmp_path)) == names


GOOD = {"tick_size": 0.1, "lot_step": 0.001, "min_notional": 5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged, not valid JSON"),
        ("[1, 2]", "has no table 'instruments' of symbols"),
        ({"instruments": []}, "has no table 'instruments' of symbols"),
        ({"instruments": {"X": 3}}, "X is 3, expected keys such as tick_size"),
        ({"instruments": {"X": {"tick_size": 1}}}, "X has no lot_step, min_notional, expected a"),
        (
            {"instruments": {"X": {**GOOD, "tick_size": "0.1"}}},
            "X has tick_size '0.1', expected a n",
        ),
        ({"instruments": {"X": {**GOOD, "tick_size": None}}}, "X has tick_size None, expected a n"),
        ({"instruments": {"X": {**GOOD, "lot_step": True}}}, "X has lot_step True, expected a n"),
        ({"instruments": {"X": {**GOOD, "calendar": 7}}}, "X has calendar 7, expected text"),
        (
            {"instruments": {"X": {**GOOD, "taker_fee": 0.1}}},
            "unknown key 'taker_fee' .did you mean",
        ),
        ({"instruments": {"X": {**GOOD, "zzz": 0.1}}}, "unknown key 'zzz'; known are tick_size"),
        ({"instruments": {"X": {**GOOD, "tick_size": -1}}}, "X: tick_size -1, expected a positive"),
    ],
)
def test_odd_instruments_are_refused_in_a_line_that_names_file_and_symbol(
    tmp_path, content, message
):
    path = tmp_path / "instruments.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BarsError, match=rf"instruments\.json: .*{message}") as found:
        read_instruments(tmp_path)
    assert "\n" not in str(found.value)
    with pytest.raises(BarsError, match=message):
        write_instruments(tmp_path, {"BTCUSDT": BTC}, source="ccxt", fetched_at=AT)
    assert path.read_text() == (content if isinstance(content, str) else json.dumps(content))


def test_the_least_that_a_file_must_say_is_enough(tmp_path):
    (tmp_path / "instruments.json").write_text(json.dumps({"instruments": {"X": GOOD}}))
    assert read_instruments(tmp_path) == {
        "X": Instrument("X", 0.1, 0.001, 5, source="instruments.json")
    }
