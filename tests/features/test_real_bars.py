"""The same promises on real bars: ticks, outages, thin trading, a coin that fell to nothing."""

import numpy as np
import polars as pl
import pytest

from features.markets import scaled
from walkforge.features import build, feature_set
from walkforge.market import Bars

SERIES = {
    "bitcoin by the minute": ("binance", "BTCUSDT", "1m", slice(-6000, None)),
    "a thin market": ("binanceus", "BTCUSDT", "1m", slice(0, 6000)),
    "a coin that fell to nothing": ("binance", "LUNAUSDT", "1h", slice(0, 14_000)),
    "currencies, without volume": ("oanda", "NZDUSD", "1h", slice(0, 6000)),
    "an index by the day": ("index", "SP500", "1d", slice(None)),
}


@pytest.fixture(params=SERIES)
def bars(request, shared_data):
    venue, symbol, timeframe, rows = SERIES[request.param]
    table = pl.read_parquet(shared_data / "bars" / venue / symbol / f"{timeframe}.parquet")[rows]
    return Bars(
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        timestamp=table["timestamp"].dt.epoch("ms").to_numpy(),
        provenance="exchange",
        **{
            name: table[name].to_numpy().copy()
            for name in ("open", "high", "low", "close", "volume")
        },
    )


def test_real_rows_are_defined_and_scale_free(bars):
    table = build(bars, "v8")
    assert table.valid.any()
    assert np.isfinite(table.values).all()
    assert table.valid.sum() == len(bars) - sum(table.dropped.values())
    found = build(scaled(bars, prices=1000.0, volumes=7.0), "v8")
    np.testing.assert_allclose(found.values, table.values, rtol=0, atol=1e-6)


def test_real_rows_equal_those_of_their_look_back(bars):
    whole, look_back = build(bars, "v8"), feature_set("v8").look_back_bars
    rows = np.flatnonzero(whole.valid)
    for row in rows[:: max(1, len(rows) // 15)]:
        window = build(bars.take(slice(row - look_back + 1, row + 1)), "v8")
        np.testing.assert_allclose(window.values[-1], whole.values[row], rtol=0, atol=1e-6)
