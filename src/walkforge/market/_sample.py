"""Real daily bars that come with a package this one needs anyway."""

from __future__ import annotations

import importlib

import numpy as np

from ._bars import Bars
from ._columns import VALUES
from ._look import broken_ohlc

_DATA_SETS = {"SP500": "arch.data.sp500", "NASDAQ": "arch.data.nasdaq"}


def sample_bars() -> dict[str, Bars]:
    """Return daily bars of the S&P 500 and NASDAQ Composite from 1999 to 2018, by symbol.

    They are the data sets of the `arch` package, from Yahoo Finance: prices in index points, not
    adjusted, and volume in shares. Days that break OHLC or hold no number are left out, and
    `history` says how many. Venue `index`, timeframe 1d, provenance `sample`.
    """
    return {symbol: _read(symbol, module) for symbol, module in _DATA_SETS.items()}


def _read(symbol: str, module: str) -> Bars:
    frame = importlib.import_module(module).load()
    timestamp = frame.index.to_numpy().astype("datetime64[ms]").astype(np.int64)
    values = np.column_stack([frame[name.capitalize()].to_numpy(np.float64) for name in VALUES])
    good = np.isfinite(values).all(axis=1) & (values[:, :4] > 0).all(axis=1)
    good &= ~broken_ohlc(values)
    return Bars(
        venue="index",
        symbol=symbol,
        timeframe="1d",
        timestamp=timestamp[good],
        **{name: values[good, index] for index, name in enumerate(VALUES)},
        provenance="sample",
        calendar="session",
        history=(f"{int((~good).sum())} of {len(good)} days left out for broken prices",),
    )
