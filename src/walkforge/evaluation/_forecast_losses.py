"""What every row of a table of price forecasts loses, formula by formula.

All errors are differences of logs, in basis points: 100 bps of the close are about 1 % of it.
Shapes: n rows
"""

from collections.abc import Iterator

import numpy as np

from walkforge.base import FloatArray

from ._forecast_quantiles import quantile_losses
from ._forecast_rows import BPS, ROUNDING, Forecasts

_BAND = ("low", "mid", "high")


def losses(rows: Forecasts) -> Iterator[tuple[str, FloatArray]]:
    """Yield the name of each measure that the table can give, and its losses (n,).

    NaN marks a row without it. `rmse_bps` are squares; hits, coverages and `below_*` are 0 to 1.
    Raises PredictionsError for numbers that are no forecast: a high that is not the highest, a
    low that is not the lowest, quantiles that fall, numbers not above 0.
    """
    close, f_close = rows.needed_log_price("close"), rows.needed_log_price("f_close")
    error = BPS * np.abs(f_close - close)
    yield "mae_bps", error
    yield "rmse_bps", error**2
    last = rows.needed_log_price("last_close")
    yield "direction_accuracy", _hits(close - last, f_close - last)
    yield from _bar_losses(rows, f_close, error)
    yield from quantile_losses(rows, close, error)
    yield from _band_losses(rows)
    yield from _volatility_losses(rows)


def _hits(moved: FloatArray, said: FloatArray) -> FloatArray:
    """Return 1 for the right side, 0.5 where no move was said, NaN where none came."""
    right = (np.sign(moved) * np.sign(said) + 1.0) / 2.0
    right[np.abs(said) <= ROUNDING] = 0.5
    right[np.abs(moved) <= ROUNDING] = np.nan
    return right


def _bar_losses(
    rows: Forecasts, f_close: FloatArray, error: FloatArray
) -> Iterator[tuple[str, FloatArray]]:
    """Yield the error of the range, log(high / low), and the mean error of the four prices."""
    f_open, f_high, f_low = (rows.log_price(f"f_{name}") for name in ("open", "high", "low"))
    # fmax and fmin pass over the NaN of a row without an open.
    body = f_close if f_open is None else f_open
    if f_high is not None:
        bad = f_high < np.fmax(body, f_close) - ROUNDING
        rows.refuse_price(bad, "f_high", f_high, "at least its open and close")
    if f_low is not None:
        bad = f_low > np.fmin(body, f_close) + ROUNDING
        rows.refuse_price(bad, "f_low", f_low, "at most its open and close")
    if f_high is None or f_low is None:
        return
    high, low = rows.needed_log_price("high"), rows.needed_log_price("low")
    yield "range_mae_bps", BPS * np.abs((f_high - f_low) - (high - low))
    if f_open is not None:
        others = np.abs(f_high - high) + np.abs(f_low - low)
        others += np.abs(f_open - rows.needed_log_price("open"))
        yield "ohlc_mae_bps", (error + BPS * others) / 4.0


def _band_losses(rows: Forecasts) -> Iterator[tuple[str, FloatArray]]:
    """Yield the mean error of the three lines of the band."""
    total = np.zeros(len(rows))
    for line in _BAND:
        came, said = rows.log_price(f"band_{line}"), rows.log_price(f"f_band_{line}")
        if came is None or said is None:
            return
        total += np.abs(said - came)
    yield "band_mae_bps", BPS * total / len(_BAND)


def _volatility_losses(rows: Forecasts) -> Iterator[tuple[str, FloatArray]]:
    """Yield |log(forecast / realised)|, and the QLIKE loss of the variance (Patton 2011).

    QLIKE is r - log r - 1 for r = realised / forecast variance: 0 where they agree, and dearer
    for too little than for too much. Rows in which nothing moved have neither.
    """
    came, said = rows.column("volatility"), rows.log_price("f_volatility")
    if came is None or said is None:
        return
    rows.refuse(came < 0, lambda row: f"volatility is {came[row]:g}", "a number not below 0")
    ratio = np.log(came, out=np.full(len(came), np.nan), where=came > 0) - said
    yield "volatility_mae_log", np.abs(ratio)
    yield "qlike", np.expm1(2.0 * ratio) - 2.0 * ratio
