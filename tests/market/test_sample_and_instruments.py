"""The sample's bars, the facts about bars, and what is known about symbols."""

import dataclasses
import json

import numpy as np
import pytest

from drawn import bars_from, random_bars
from walkforge.base import UsageError
from walkforge.market import (
    Instrument,
    check_bars,
    data_info,
    instrument_of,
    read_folder,
    sample_bars,
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


def test_nothing_is_known_of_lots_and_minimums_of_an_unknown_symbol_so_there_are_none():
    for price in (0.02, 1.5, 99.0, 60_000.0):
        instrument = instrument_of("venue", "UNKNOWN", flat(price, price))
        assert (instrument.lot_step, instrument.min_notional) == (1e-8, 0.0)


@pytest.mark.parametrize(
    ("place", "timeframe", "tick"),
    [
        ("sp500/ABBV", "1d", 0.01),
        ("sp500/AAL", "1d", 0.01),
        ("oanda/XAUUSD", "1h", 0.01),
        ("coinmarketcap/BTCUSD", "1d", 0.01),
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


def test_an_impossible_instrument_cannot_be_built():
    with pytest.raises(UsageError, match=r"tick_size 0.0, expected a positive number"):
        Instrument("X", 0.0, 1.0, 0.0)
    with pytest.raises(UsageError, match=r"min_notional -1.0"):
        Instrument("X", 0.1, 1.0, -1.0)
    assert Instrument("X", 0.1, 1.0, 5.0).as_dict()["contract_size"] == 1.0
