"""The guard of the bars: do those that are called real look like a market?

Each test is of something that every liquid market shows and that makers of bars forget. None can
prove that bars are real: a GARCH market with ticks, holes and a daily rhythm passes.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from walkforge.base import BoolArray, FloatArray, timeframe_ms, utc_text
from walkforge.market import Bars, check_bars

from ._guards_clock import two_clocks, wrong_clock
from ._specimen import Specimen

# So many of the newest are looked at: more than half a year of minutes.
_MOST_BARS = 300_000
_DAY_MS = 86_400_000

# Heavy tails and clusters of volatility are facts 2 and 6 of Cont 2001, "Empirical properties of
# asset returns". A walk has an excess kurtosis of 0 +- sqrt(24 / n); of 402 stocks' days the least
# is 1.1, of coins' minutes 8.
_LEAST_KURTOSIS = 0.75
# Mean autocorrelation of absolute returns at lags 1 to 20: 0.15 to 0.25 of coins' minutes, 0 of a
# walk; a single crash takes it away from days of stocks, and never both.
_LEAST_CLUSTERING = 0.03
_CLUSTER_LAGS = 20
_LEAST_RETURNS = 1_000

# Windows of so many ups and downs have 2**48 forms: none comes twice by chance.
_SIGN_BARS = 48
_MOST_REPEATED = 0.01

_ON_GRID, _NEWEST_ON_GRID, _NEWEST = 0.6, 0.9, 50
# Of a price; files that went through float32 hold it to 6e-8.
_ROUNDINGS = (1e-7, 1e-10)

# Who serves bars of half a year of minutes without one hole and one minute without a trade has
# filled them.
_LONG_MS = 180 * _DAY_MS
_MINUTE_MS = 60_000


def unnatural_bars(specimen: Specimen) -> Iterator[str]:
    """Yield what is strange about the bars; nothing of bars that say they are simulated."""
    real = {
        name: one.take(slice(-_MOST_BARS, None))
        for name, one in specimen.source.items()
        if one.provenance != "simulated"
    }
    for name, bars in real.items():
        for look in _LOOKS:
            yield from (f"{name}: {words}" for words in look(bars))
    for (name, one), (other_name, other) in combinations(real.items(), 2):
        yield from (f"{other_name} beside {name}: {words}" for words in two_clocks(one, other))


def _broken(bars: Bars) -> Iterator[str]:
    """Errors that `walkforge data check` finds."""
    for finding in check_bars(bars).findings:
        if finding.severity == "error":
            yield f"data check finds {finding.kind}: {finding.words}"


def _walk(bars: Bars) -> Iterator[str]:
    """Returns without fat tails and without clusters."""
    returns = _returns(bars)
    if len(returns) < _LEAST_RETURNS:
        return
    kurtosis = float(((returns - returns.mean()) ** 4).mean() / returns.var() ** 2 - 3.0)
    clustering = float(np.mean([_autocorrelation(np.abs(returns), k + 1)
                                for k in range(_CLUSTER_LAGS)]))  # fmt: skip
    if kurtosis < _LEAST_KURTOSIS and clustering < _LEAST_CLUSTERING:
        yield (
            f"returns of {len(bars)} bars have an excess kurtosis of {kurtosis:.2f} and absolute "
            f"returns an autocorrelation of {clustering:.3f}: a random walk, made and not traded; "
            f"markets have more than {_LEAST_KURTOSIS:g} or {_LEAST_CLUSTERING:g}"
        )


def _repeats(bars: Bars) -> Iterator[str]:
    """Stretches of ups and downs that come again."""
    signs = np.sign(np.diff(bars.close)).astype(np.int64)
    if len(signs) < 2 * _SIGN_BARS:
        return
    windows = np.lib.stride_tricks.sliding_window_view(signs, _SIGN_BARS)
    moves = (windows != 0).sum(axis=1) >= 0.75 * _SIGN_BARS
    random = np.random.default_rng(0)
    # Sums of random numbers that wrap around: equal windows have equal ones.
    keys = random.integers(-(2**62), 2**62, _SIGN_BARS)
    hashes = (windows[moves] * keys).sum(axis=1)
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    n_again = int(counts[counts > 1].sum())
    if n_again > _MOST_REPEATED * len(hashes):
        row = int(np.flatnonzero(moves)[first[counts > 1].min()])
        yield (
            f"{n_again} of {len(hashes)} stretches of {_SIGN_BARS} bars come more than once, such "
            f"as that from {utc_text(int(bars.timestamp[row]))} on; expected none"
        )


def tick_of(bars: Bars) -> float | None:
    """Return the coarsest power of ten of which closes are multiples; None without.

    Most of all closes, or nearly all of the newest: an older past may have been adjusted.
    """
    for step, on_grid in _grids(bars):
        if on_grid.mean() >= _ON_GRID or on_grid[-_NEWEST:].mean() >= _NEWEST_ON_GRID:
            return step
    return None


def _grids(bars: Bars) -> Iterator[tuple[float, BoolArray]]:
    """Yield powers of ten, and which closes (n,) are multiples of each.

    Only those that a price's rounding leaves room for: below, chance alone would hit many.
    """
    for decimals in range(-2, 9):
        step = 10.0**-decimals
        off = np.abs(bars.close - np.round(bars.close / step) * step)
        for rounding in _ROUNDINGS:
            if step >= 10 * rounding * float(np.median(bars.close)):
                yield step, off <= rounding * bars.close


def _grid(bars: Bars) -> Iterator[str]:
    """Prices on no grid of ticks."""
    if tick_of(bars) is None and (grids := list(_grids(bars))):
        step, on_grid = max(grids, key=lambda grid: float(grid[1].mean()))
        yield (
            f"{on_grid.mean():.1%} of closes are multiples of {step:g}, and fewer of any other "
            f"power of ten: they lie on no grid of ticks; expected {_ON_GRID:.0%} on some"
        )


def is_long_and_fine(bars: Bars) -> bool:
    """Return whether bars are of minutes around the clock and of so long that gaps are due."""
    is_fine = timeframe_ms(bars.timeframe) <= _MINUTE_MS and bars.calendar == "24/7"
    return is_fine and bool(bars.closes_at[-1] - bars.timestamp[0] >= _LONG_MS)


def _gaps(bars: Bars) -> Iterator[str]:
    """Half a year of minutes with neither a hole nor a bar without a trade."""
    if is_long_and_fine(bars) and len(bars.segments) == 1 and (bars.volume > 0).all():
        yield (
            f"{len(bars)} bars from {utc_text(int(bars.timestamp[0]))} on without one hole and "
            "without one bar of no volume; every venue stands still now and then"
        )


def _returns(bars: Bars) -> FloatArray:
    """Return log returns within segments."""
    together = np.diff(bars.segment) == 0
    return np.diff(np.log(bars.close))[together]


def _autocorrelation(values: FloatArray, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).sum() / (centred**2).sum())


_LOOKS: tuple[Callable[[Bars], Iterator[str]], ...] = (
    _broken,
    _walk,
    _repeats,
    _grid,
    _gaps,
    wrong_clock,
)
