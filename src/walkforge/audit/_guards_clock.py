"""Are stamps in UTC? Grids, weekends, the day's rhythm, and series beside each other tell."""

from collections.abc import Iterator

import numpy as np

from walkforge.base import FloatArray, timeframe_ms, utc_text
from walkforge.market import Bars

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

# Share of a day's volume, relative to the mean hour, that each hour UTC of perpetuals of BTC, ETH
# and SOL in US dollars has: medians of April to July 2025. Trading follows the American day.
_DOLLAR_HOURS = np.array(
    [0.99, 0.91, 0.81, 0.67, 0.64, 0.66, 0.71, 0.79, 0.87, 0.82, 0.82, 0.86,
     1.02, 1.63, 2.13, 1.62, 1.42, 1.26, 1.07, 1.03, 0.90, 0.77, 0.80, 0.70]
)  # fmt: skip
_DOLLARS = ("USD", "USDT", "USDC")
_LEAST_DAYS = 14
_SAME_RHYTHM = 0.8
# The American clock is an hour earlier in summer than in winter.
_CLOCK_CHANGE_H = 2
_RHYTHM_LEAD = 0.15

_LAG_BARS = 48
_LEAST_SHARED = 1_000
_LAG_CORRELATION = 0.3


def wrong_clock(bars: Bars) -> Iterator[str]:
    """Stamps off the timeframe's grid, sessions on weekends, and days that begin elsewhere."""
    step_ms = min(timeframe_ms(bars.timeframe), _DAY_MS)
    off = bars.timestamp % step_ms != 0
    # Sessions may open at half past, but a day's bar is stamped with its day.
    is_whole = bars.calendar == "24/7" or timeframe_ms(bars.timeframe) == _DAY_MS
    if is_whole and off.any():
        row = int(np.argmax(off))
        yield (
            f"{int(off.sum())} of {len(bars)} bars of {bars.timeframe} open at odd times, such as "
            f"{utc_text(int(bars.timestamp[row]))}; expected whole multiples, UTC"
        )
    weekday = (bars.timestamp // _DAY_MS + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    weekends = float((weekday >= 5).mean()) if len(bars) else 0.0
    if bars.calendar == "session" and timeframe_ms(bars.timeframe) <= _DAY_MS and weekends > 0.02:
        yield (
            f"{weekends:.0%} of bars of a market with sessions open on Saturdays or Sundays; "
            "expected none, so the time zone is not UTC"
        )
    yield from _rhythm(bars)


def _rhythm(bars: Bars) -> Iterator[str]:
    """The day's rhythm of volume, shifted: only of markets whose rhythm is that of the dollar's."""
    is_short = timeframe_ms(bars.timeframe) <= _HOUR_MS
    is_long = bool(bars.closes_at[-1] - bars.timestamp[0] >= _LEAST_DAYS * _DAY_MS)
    in_dollars = bars.calendar == "24/7" and bars.symbol.upper().endswith(_DOLLARS)
    if not (is_short and is_long and in_dollars):
        return
    hours = (bars.timestamp // _HOUR_MS) % 24
    volume = np.array([np.median(bars.volume[hours == hour]) for hour in range(24)])
    if not (volume > 0).all():
        return
    fits = [
        float(np.corrcoef(np.log(np.roll(volume, -late)), np.log(_DOLLAR_HOURS))[0, 1])
        for late in range(24)
    ]
    late = int(np.argmax(fits))
    off = min(late, 24 - late)
    if fits[late] > _SAME_RHYTHM and off >= _CLOCK_CHANGE_H and fits[late] > fits[0] + _RHYTHM_LEAD:
        hours_off = late if late <= 12 else late - 24
        yield (
            f"the day's volume fits that of coins in dollars with {fits[late]:.2f} when moved by "
            f"{-hours_off:+d} h, and with {fits[0]:.2f} as stamped; expected the stamps to be UTC"
        )


def two_clocks(one: Bars, other: Bars) -> Iterator[str]:
    """Two series that move together, one of them some bars later."""
    if one.timeframe != other.timeframe:
        return
    _, rows, other_rows = np.intersect1d(one.timestamp, other.timestamp, return_indices=True)
    if len(rows) < _LEAST_SHARED:
        return
    a, b = _held(one.close[rows]), _held(other.close[other_rows])
    fits = {lag: _crossed(a, b, lag) for lag in range(-_LAG_BARS, _LAG_BARS + 1)}
    best = max(fits, key=lambda lag: fits[lag])
    if best != 0 and fits[best] > _LAG_CORRELATION and fits[best] > 2 * max(fits[0], 0.0):
        yield (
            f"returns go together {abs(best)} bars apart ({fits[best]:.2f}) and not at the same "
            f"time ({fits[0]:.2f}); expected the same clock"
        )


def _crossed(a: FloatArray, b: FloatArray, lag: int) -> float:
    if lag < 0:
        a, b, lag = b, a, -lag
    return float(np.corrcoef(a[: len(a) - lag], b[lag:])[0, 1])


def _held(close: FloatArray) -> FloatArray:
    """Return log returns, held at five standard deviations."""
    returns = np.diff(np.log(close))
    return np.clip(returns, -5 * returns.std(), 5 * returns.std())
