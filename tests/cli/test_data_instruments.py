"""`data fetch ccxt` and `data instruments` against a local exchange that the real ccxt asks."""

import json

import numpy as np
import polars as pl
import pytest

from command import call
from drawn import random_bars
from servers.binance_rest import BinanceRestServer
from walkforge.market import BarStore, bars_to_frame, read_instruments


@pytest.fixture
def frame() -> pl.DataFrame:
    return bars_to_frame(random_bars(300, symbol="BTCUSDT"))


@pytest.fixture
def exchange(frame):
    after_ms = int(frame["timestamp"].dt.epoch("ms")[-1]) + 30_000  # the last bar is not over
    with BinanceRestServer(spot={"BTCUSDT": {"1m": frame}}, now_ms=after_ms) as server:
        yield server


def words(exchange, tmp_path):
    return ["--exchange", "binance", "--url", f"api={exchange.url}", "--store", str(tmp_path)]


def test_bars_and_instruments_of_an_exchange_come_together(exchange, frame, tmp_path):
    asked = ["ccxt", "BTC/USDT", "--timeframe", "1m", "--since", "2024-01-01"]
    status, out, err = call("data", "fetch", *asked, *words(exchange, tmp_path))
    assert status == 0, err
    assert "binance/BTCUSDT/1m: 299 new bars" in out
    back = BarStore(tmp_path).read("binance", "BTCUSDT", "1m")
    np.testing.assert_array_equal(back.close, frame["close"].to_numpy()[:-1])
    assert list(read_instruments(tmp_path / "binance")) == ["BTCUSDT"]


def test_a_refresh_tells_what_the_exchange_says(exchange, tmp_path):
    BarStore(tmp_path).write(random_bars(10, symbol="BTCUSDT"))
    fetched = ["ccxt", "BTCUSDT", "--timeframe", "1m", "--since", "2024-01-01"]
    call("data", "fetch", *fetched, *words(exchange, tmp_path))
    status, out, err = call("data", "instruments", "--refresh", *words(exchange, tmp_path))
    assert status == 0, err
    assert "binance/BTCUSDT" in out
    assert "drawn" not in out
    status, out, _ = call("data", "instruments", "--json", "--store", str(tmp_path))
    told = {one["venue"]: one for one in json.loads(out)}
    assert told["binance"]["source"].startswith("ccxt")
    assert told["drawn"]["source"] == "stored defaults"


def test_words_that_do_not_go_together_are_refused(tmp_path):
    status, _, err = call("data", "instruments", "--refresh", "--store", str(tmp_path))
    assert (status, "--refresh and --exchange" in err) == (2, True)
    BarStore(tmp_path).write(random_bars(10))
    status, _, err = call("data", "instruments", "drawm", "--store", str(tmp_path))
    assert (status, "did you mean 'drawn'?" in err) == (2, True)
