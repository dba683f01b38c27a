"""Ticks, lots, minimums, fees and funding hours as exchanges tell them through ccxt."""

import ccxt
import pytest

from servers.binance_rest import BinanceRestServer
from servers.coinbase_rest import CoinbaseRestServer
from walkforge.market import Instrument
from walkforge.sources._ccxt import ccxt_source
from walkforge.sources._ccxt_instruments import funding_interval_h, instruments_of


def instruments(server, exchange: str, market: str = "spot") -> dict[str, Instrument]:
    source = ccxt_source(exchange, market=market, urls={"api": server.url})
    try:
        return source.instruments()
    finally:
        source.close()


def market_of(**more: object) -> dict[str, object]:
    market = {
        "symbol": "BTC/USD",
        "precision": {"price": 0.5, "amount": 0.001},
        "limits": {"amount": {"min": 0.002}, "cost": {"min": 10}},
        "contractSize": None,
        "maker": 0.001,
        "taker": 0.002,
        "percentage": True,
        "swap": False,
        "info": {},
    }
    return market | more


def one(mode: int = ccxt.TICK_SIZE, **more: object) -> Instrument:
    return instruments_of("kraken", {"BTC-USD": market_of(**more)}, mode, {})["BTC-USD"]


def test_spot_of_binance():
    with BinanceRestServer(spot={"BTCUSDT": {}}) as server:
        found = instruments(server, "binance")
    assert found == {
        "BTCUSDT": Instrument(
            "BTCUSDT",
            tick_size=0.01,
            lot_step=0.00001,
            min_notional=5.0,
            maker_fee_frac=0.001,
            taker_fee_frac=0.001,
            calendar="24/7",
            source="ccxt binance",
        )
    }


def test_perpetuals_of_binance_are_funded_every_eight_hours_unless_it_says_otherwise():
    futures = {"BTCUSDT": {}, "BLURUSDT": {}}
    with BinanceRestServer(futures=futures, funding_hours={"BLURUSDT": 4}) as server:
        found = instruments(server, "binance", "perpetual")
    assert found["BTCUSDT"] == Instrument(
        "BTCUSDT",
        tick_size=0.1,
        lot_step=0.001,
        min_notional=100.0,
        maker_fee_frac=0.0002,
        taker_fee_frac=0.0005,
        funding_interval_h=8.0,
        calendar="24/7",
        source="ccxt binanceusdm",
    )
    assert {name: each.funding_interval_h for name, each in found.items()} == {
        "BTCUSDT": 8.0,
        "BLURUSDT": 4.0,
    }


def test_products_of_coinbase():
    with CoinbaseRestServer({"BTC-USD": {}}, now_ms=1_700_000_000_000) as server:
        found = instruments(server, "coinbase")["BTC-USD"]
    assert (found.tick_size, found.lot_step, found.min_notional) == (0.01, 1e-8, 1.0)
    assert 0 < found.maker_fee_frac < found.taker_fee_frac < 0.02
    assert found.funding_interval_h is None


def test_decimals_are_exact_steps():
    found = one(ccxt.DECIMAL_PLACES, precision={"price": 5, "amount": 0})
    assert (found.tick_size, found.lot_step) == (0.00001, 1.0)


@pytest.mark.parametrize(
    ("mode", "price"), [(ccxt.SIGNIFICANT_DIGITS, 5), (ccxt.TICK_SIZE, None), (ccxt.TICK_SIZE, 0.0)]
)
def test_a_market_without_a_tick_is_left_out(mode, price):
    market = market_of(precision={"price": price, "amount": 8})
    assert instruments_of("bitfinex", {"BTC-USD": market}, mode, {}) == {}


def test_a_market_that_cannot_be_is_left_out_and_the_others_stay():
    broken = market_of(taker=25.0)
    found = instruments_of("kraken", {"A-B": broken, "BTC-USD": market_of()}, ccxt.TICK_SIZE, {})
    assert list(found) == ["BTC-USD"]


def test_without_a_lot_the_smallest_size_is_one_and_without_that_there_is_none():
    assert one(precision={"price": 0.5, "amount": None}).lot_step == 0.002
    assert one(precision={"price": 0.5}, limits={}).lot_step == 1e-8
    assert one(limits={}).min_notional == 0.0


def test_fees_that_are_no_fractions_are_not_known():
    found = one(percentage=False)
    assert (found.maker_fee_frac, found.taker_fee_frac) == (None, None)


def test_a_contract_has_its_size_and_the_hours_that_its_market_tells():
    told = market_of(swap=True, contractSize=0.01, info={"fundingInterval": "240"})
    found = instruments_of("bybit", {"BTCUSDT": told}, ccxt.TICK_SIZE, {})["BTCUSDT"]
    assert (found.contract_size, found.funding_interval_h) == (0.01, 4.0)
    assert funding_interval_h("okx", market_of(swap=True)) is None
