"""Columns of volume and of the clock. Notation as in `_price_columns`."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from walkforge.base import FloatArray, IntArray

from ._column import column
from ._rolling import balance, ratio
from ._stretch import Stretch, with_sigma

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = 4 * _DAY_MS  # the first Monday after 1970-01-01, a Thursday

Circular = Callable[[NDArray[np.floating]], FloatArray]


@column("volume_{bars}", unit="−1 to 1", look_back=lambda bars: bars)
def volume_ratio(stretch: Stretch, bars: int) -> FloatArray:
    """m = mean_{bars}(volume): (volume − m) / (volume + m)"""
    return balance(stretch.volume, stretch.mean_volume(bars))


@column("volume_{fast}_{slow}", unit="−1 to 1", look_back=lambda fast, slow: max(fast, slow))
def volume_shift(stretch: Stretch, fast: int, slow: int) -> FloatArray:
    """v_n = mean_n(volume): (v_{fast} − v_{slow}) / (v_{fast} + v_{slow})"""
    return balance(stretch.mean_volume(fast), stretch.mean_volume(slow))


@column("flow_{bars}", unit="−1 to 1", look_back=lambda bars: bars + 1)
def flow(stretch: Stretch, bars: int) -> FloatArray:
    """sum_{bars}(sign(close − close[-1]) volume) / sum_{bars}(volume)"""
    return ratio(stretch.signed_volume_sums().over(bars), stretch.volume_sums().over(bars))


@column("vwap_{bars}", unit="σ √{bars}", look_back=with_sigma)
def close_to_vwap(stretch: Stretch, bars: int) -> FloatArray:
    """p = (high + low + close) / 3: close sum_{bars}(volume) / sum_{bars}(p volume) − 1; without
    volume close / mean_{bars}(p) − 1
    """
    return stretch.in_sigmas(stretch.close / stretch.vwap(bars) - 1.0, bars)


@column("day_sin", unit="−1 to 1", look_back=lambda: 1)
def day_sin(stretch: Stretch) -> FloatArray:
    """sin(2π x share of the UTC day that has passed when the bar opens)"""
    return _of_phase(np.sin, stretch.past_ms(_DAY_MS), _DAY_MS)


@column("day_cos", unit="−1 to 1", look_back=lambda: 1)
def day_cos(stretch: Stretch) -> FloatArray:
    """cos(2π x share of the UTC day that has passed when the bar opens)"""
    return _of_phase(np.cos, stretch.past_ms(_DAY_MS), _DAY_MS)


@column("week_sin", unit="−1 to 1", look_back=lambda: 1)
def week_sin(stretch: Stretch) -> FloatArray:
    """sin(2π x share of the week since Monday 00:00 UTC that has passed when the bar opens)"""
    return _of_phase(np.sin, stretch.past_ms(_WEEK_MS, _MONDAY_MS), _WEEK_MS)


@column("week_cos", unit="−1 to 1", look_back=lambda: 1)
def week_cos(stretch: Stretch) -> FloatArray:
    """cos(2π x share of the week since Monday 00:00 UTC that has passed when the bar opens)"""
    return _of_phase(np.cos, stretch.past_ms(_WEEK_MS, _MONDAY_MS), _WEEK_MS)


def _of_phase(function: Circular, past_ms: IntArray, cycle_ms: int) -> FloatArray:
    """Return sine or cosine of the share of a cycle that has passed."""
    minute = past_ms // _MINUTE_MS
    if np.array_equal(minute * _MINUTE_MS, past_ms):
        return _of_every_minute(function, cycle_ms)[minute]
    return function(past_ms * (2.0 * np.pi / cycle_ms))


@cache
def _of_every_minute(function: Circular, cycle_ms: int) -> FloatArray:
    """Return the same for every minute of a cycle: looking up is ten times faster."""
    return function(np.arange(0, cycle_ms, _MINUTE_MS) * (2.0 * np.pi / cycle_ms))
