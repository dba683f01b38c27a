"""Yahoo's charts as bars: complete ones only, adjusted, with what was paid on the day beside.

Yahoo's prices are those of today's shares: earlier ones are divided by every split since. Its
"adjusted close" is divided by the dividends since as well. Bars hold all four prices times
adjusted close / close, and `raw_close`, the close times all splits after the bar: what was paid.

All are rounded to 10 digits: the numbers went through float32 and a division, and what lies
beyond is noise that differs from one answer to the next. Rounding moves a price by less than
1e-9 of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from walkforge.base import BarsError, FloatArray, IntArray

from ._yahoo_answers import Chart
from ._yahoo_charts import Frame

Splits = tuple[IntArray, FloatArray]
"""Days of splits (k,), in ms UTC, and how many shares (k,) one became then."""

_NO_STAMPS = np.empty(0, np.int64)
_DIGITS = 10
_DAY_MS = 86_400_000
_PRICES = ("open", "high", "low", "close")
# Prices went through float32: of two equal ones one may come out larger by this much.
_NOISE_FRAC = 1e-6


def daily_bars(frame: Frame) -> pl.DataFrame:
    """Return adjusted days in time order, stamped 00:00 UTC of their trading day."""
    stamps = _days_of(frame)
    return _bars(frame, stamps, _splits_after(stamps, *splits_of(frame)))


def intraday_bars(frame: Frame, splits: Splits) -> pl.DataFrame:
    """Return bars in time order, by their opening time; `splits` are all those up to today."""
    stamps = _ms(frame.index.tz_convert("UTC")) if len(frame) else _NO_STAMPS
    return _bars(frame, stamps, _splits_after(stamps, *splits))


def opening_in(bars: pl.DataFrame, start_ms: int, end_ms: int) -> pl.DataFrame:
    """Return the bars that open in [start_ms, end_ms)."""
    opens_ms = pl.col("timestamp").dt.epoch("ms")
    return bars.filter((opens_ms >= start_ms) & (opens_ms < end_ms))


def tidy(bars: pl.DataFrame, symbol: str) -> pl.DataFrame:
    """Return bars with rounded prices, and high and low exactly around open and close.

    Raises BarsError for prices that are no bar by more than the noise of float32.
    """
    _refuse_nonsense(bars, symbol)
    rounded = bars.with_columns(pl.col(*_PRICES, "raw_close").round_sig_figs(_DIGITS))
    return rounded.with_columns(high=pl.max_horizontal(_PRICES), low=pl.min_horizontal(_PRICES))


def splits_of(frame: Frame) -> Splits:
    """Return the splits that a frame of days tells of."""
    if not len(frame):
        return _NO_STAMPS, np.empty(0)
    ratio = frame["Stock Splits"].to_numpy(np.float64)
    return _days_of(frame)[ratio > 0], ratio[ratio > 0]


def weeks_of(days: pl.DataFrame) -> pl.DataFrame:
    """Return weeks from Monday on out of adjusted days.

    Yahoo has weeks too, but with one factor for days before and after a dividend.
    """
    return days.group_by_dynamic("timestamp", every="1w", start_by="window").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
        pl.col("raw_close").last(),
    )


def _bars(frame: Frame, stamps: IntArray, splits_after: FloatArray) -> pl.DataFrame:
    raw = {name: frame[name.capitalize()].to_numpy(np.float64) for name in (*_PRICES, "volume")}
    close, adjusted = raw["close"], frame["Adj Close"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = adjusted / close
    bars = pl.DataFrame(
        {
            "timestamp": pl.Series(stamps).cast(pl.Datetime("ms", "UTC")),
            **{name: raw[name] * factor for name in _PRICES},
            "volume": raw["volume"],
            "raw_close": close * splits_after,
        }
    )
    # Yahoo leaves the cells empty where nothing was traded, and yfinance adds days of events.
    needed = [*(raw[name] for name in _PRICES), adjusted]
    return bars.filter(pl.Series(np.isfinite(np.stack(needed)).all(axis=0))).sort("timestamp")


def _days_of(frame: Frame) -> IntArray:
    """Return 00:00 UTC (n,) of the day that each row has in the exchange's zone."""
    return _ms(frame.index.normalize()) if len(frame) else _NO_STAMPS


def _ms(index: Any) -> IntArray:
    """Return the wall clock times (n,) of an index in any zone, in ms as if they were UTC."""
    return np.asarray(index.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64))


def _splits_after(stamps: IntArray, days: IntArray, ratio: FloatArray) -> FloatArray:
    """Return for each bar (n,) how many shares of today one of its shares became.

    On the day of a split the new shares are traded already.
    """
    day = stamps // _DAY_MS * _DAY_MS
    later = np.concatenate([np.cumprod(ratio[::-1])[::-1], [1.0]])
    return np.asarray(later[np.searchsorted(days, day, side="right")])


def _refuse_nonsense(bars: pl.DataFrame, symbol: str) -> None:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    good = (
        pl.all_horizontal(pl.col(*_PRICES).is_finite(), pl.col(*_PRICES) > 0)
        & (pl.col("high") >= top * (1 - _NOISE_FRAC))
        & (pl.col("low") <= bottom * (1 + _NOISE_FRAC))
        & (pl.col("volume") >= 0)
    )
    bad = bars.filter(~good)
    if not len(bad):
        return
    days = bad["timestamp"].dt.strftime("%Y-%m-%d %H:%M")
    prices = ", ".join(f"{name} {bad[name][0]:g}" for name in (*_PRICES, "volume"))
    raise BarsError(
        f"yahoo/{symbol}: the bar of {days[0]} has {prices}, expected positive prices with high "
        f"and low around open and close ({len(bad)} such bars, the last of {days[-1]}); fetch "
        "from a day after that on, with --since"
    )


def days_over_ms(chart: Chart) -> int:
    """Return the moment (00:00 UTC) before which all trading days are over.

    The exchange's period names the day under way, or the last or next one. Its last trade tells
    that it is over, or the server's clock an hour after its end, where trades are few.
    """
    today_ms = chart.now_ms // _DAY_MS * _DAY_MS
    regular = (chart.meta.get("currentTradingPeriod") or {}).get("regular") or {}
    if "start" not in regular or "end" not in regular:
        return today_ms
    first_ms, end_ms = day_ms(int(regular["start"]), chart.zone), 1000 * int(regular["end"])
    return max(first_ms + _DAY_MS, today_ms) if chart.known_ms >= end_ms else first_ms


def day_ms(at_s: int, zone: str) -> int:
    """Return 00:00 UTC of the day that a moment belongs to in a zone."""
    day = datetime.fromtimestamp(at_s, ZoneInfo(zone)).date()
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
