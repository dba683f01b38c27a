"""Whether features look ahead, and how far they look back: by cutting bars off and asking again.

A value that is known at the close of its bar is the same whatever comes after: with all bars, with
none after a cut, and with noise after it. And it is settled when bars that lie further back no
longer change it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from walkforge.base import BoolArray, FeatureError, FloatArray, derive_seed, utc_text
from walkforge.market import Bars, noise_after

from ._own import Make, OwnColumns, longest_segment, own_columns, title_of

MOST_BARS_CHECKED = 50_000
"""Of longer stretches the newest so many bars are looked at."""

LEAST_BARS = 8
"""Fewer bars without a hole show nothing."""

# Shares of a column's range. A Fourier transform or a running sum rounds otherwise where more bars
# follow, at 1e-13 of the range and below; the first is far above that, and far below what a float32
# table could still tell a model.
_ROUNDING = 1e-9
# The exactness that the look-back of built-in columns is held to.
_SETTLED = 1e-6


@dataclass(frozen=True, slots=True)
class LookAhead:
    """A value that changed when the bars after it did."""

    column: str
    series: str
    """Of the bars: venue, symbol and timeframe."""
    bar_ms: int
    """Opening time of the bar whose value changed, ms UTC."""
    cut_ms: int
    """Opening time of the last bar that stayed as it was."""
    future: str
    """What became of the bars after it: `cut off`, or `noise`."""
    with_future: float
    without_future: float

    @property
    def words(self) -> str:
        """Return the finding as one line, without the way out."""
        how = "cut off" if self.future == "cut off" else "replaced by noise"
        return (
            f"{self.column} looks ahead: for the bar of {utc_text(self.bar_ms)} of {self.series} "
            f"it is {self.with_future:.9g}, and {self.without_future:.9g} when the bars after "
            f"{utc_text(self.cut_ms)} are {how}"
        )


def check_causal(make: Make, bars: Bars, *, n_cuts: int = 5, seed: int = 0) -> dict[str, LookAhead]:
    """Return a finding for every column of `make` that changes when its future does.

    The longest stretch without a hole is cut at `n_cuts` random bars; the rows up to each are
    compared with and without what follows, and with noise in its place. Differences up to 1e-9 of
    a column's range count as rounding. Raises FeatureError where `make` fails, gives other values
    for the same bars, or where there are too few bars.
    """
    bars = _stretch(bars)
    whole = own_columns(make, bars)
    _refuse_unsteady(make, bars, whole.names, whole.values)
    random = np.random.default_rng(derive_seed(seed, "cuts"))
    found: dict[str, LookAhead] = {}
    for cut in np.sort(random.integers(len(bars) // 4, len(bars) - 1, n_cuts)).tolist():
        left = bars.take(slice(0, cut + 1))
        for future, changed in (("cut off", left), ("noise", noise_after(bars, cut + 1, seed=cut))):
            other = own_columns(make, changed)
            _refuse_names(make, other.names, whole.names)
            for one in _changed(bars, whole, other, cut, future):
                found.setdefault(one.column, one)
    return {name: found[name] for name in whole.names if name in found}


def _changed(
    bars: Bars, whole: OwnColumns, other: OwnColumns, cut: int, future: str
) -> Iterator[LookAhead]:
    """Yield every column that differs up to the cut, at the last bar where it does."""
    before, after = whole.values[: cut + 1], other.values[: cut + 1]
    differ = _differ(before, after, _ROUNDING)
    for place in np.flatnonzero(differ.any(axis=0)).tolist():
        row = int(np.flatnonzero(differ[:, place])[-1])
        yield LookAhead(
            column=whole.names[place],
            series=bars.name,
            bar_ms=int(bars.timestamp[row]),
            cut_ms=int(bars.timestamp[cut]),
            future=future,
            with_future=float(before[row, place]),
            without_future=float(after[row, place]),
        )


def settle_bars(
    make: Make, series: Sequence[Bars], *, n_cuts: int = 5, seed: int = 0
) -> dict[str, int | None]:
    """Return for every column of `make` how many bars its values need to settle, in all series.

    The longest stretch without a hole of each series begins at `n_cuts` random bars instead: from
    so many bars on, its own included, every value agrees with that of all bars before within 1e-6
    of the column's range. None where the last of them disagrees after more than half of the bars
    that were left; series that are too short to tell say nothing beside a longer one. A column that
    looks back to an event (the last new high) may need more elsewhere.
    """
    stretches = sorted(map(_stretch, series), key=len, reverse=True)
    found: dict[str, int | None] = {}
    for bars in stretches:
        for name, needed in _settle_bars(make, bars, n_cuts, seed).items():
            known = found.get(name, 0)
            if needed is None:
                # At least a quarter of the bars is what its settling had room in.
                found[name] = None if known is None or len(bars) // 4 >= known else known
            else:
                found[name] = None if known is None else max(known, needed)
    return found


def _settle_bars(make: Make, bars: Bars, n_cuts: int, seed: int) -> dict[str, int | None]:
    whole = own_columns(make, bars)
    random = np.random.default_rng(derive_seed(seed, "starts"))
    needed = np.ones(len(whole.names), dtype=np.int64)
    settled = np.ones(len(whole.names), dtype=np.bool_)
    for start in random.integers(len(bars) // 10, len(bars) // 2, n_cuts).tolist():
        later = own_columns(make, bars.take(slice(start, len(bars))))
        _refuse_names(make, later.names, whole.names)
        differ = _differ(whole.values[start:], later.values, _SETTLED)
        n_bars = len(differ)
        # Row i of those left has i + 1 bars; where it is the last to differ, one more is needed.
        last = np.where(differ.any(axis=0), n_bars - 1 - differ[::-1].argmax(axis=0), -1)
        needed = np.maximum(needed, last + 2)
        settled &= last + 2 <= n_bars // 2
    worst = needed.tolist()
    return {n: worst[i] if settled[i] else None for i, n in enumerate(whole.names)}


def _stretch(bars: Bars) -> Bars:
    rows = longest_segment(bars)
    n_bars = rows.stop - rows.start
    if n_bars < LEAST_BARS:
        raise FeatureError(
            f"{bars.name}: {n_bars} bars without a hole, expected at least {LEAST_BARS} to look "
            "for what features see"
        )
    return bars.take(slice(max(rows.start, rows.stop - MOST_BARS_CHECKED), rows.stop))


def _refuse_unsteady(make: Make, bars: Bars, names: tuple[str, ...], values: FloatArray) -> None:
    again = own_columns(make, bars)
    _refuse_names(make, again.names, names)
    differ = _differ(values, again.values, _ROUNDING)
    if differ.any():
        row, place = (int(found[-1]) for found in np.nonzero(differ))
        raise FeatureError(
            f"{title_of(make)}: {names[place]} for the bar of {utc_text(int(bars.timestamp[row]))} "
            f"of {bars.name} is {values[row, place]:.9g}, and {again.values[row, place]:.9g} when "
            "asked again; features must not draw random numbers or remember earlier calls"
        )


def _refuse_names(make: Make, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    if found != expected:
        raise FeatureError(
            f"{title_of(make)}: returned {len(found)} columns ({', '.join(found)}) for fewer bars, "
            f"expected {', '.join(expected)}, the same for all bars"
        )


def _range(values: FloatArray) -> FloatArray:
    """Return the largest known value less the smallest (F,); 0 where none is known."""
    known = ~np.isnan(values)
    high = np.where(known, values, -np.inf).max(axis=0)
    low = np.where(known, values, np.inf).min(axis=0)
    return np.where(known.any(axis=0), high - low, 0.0)


def _differ(one: FloatArray, other: FloatArray, share: float) -> BoolArray:
    """Tell where two (n, F) differ by more than a share of the first's ranges; NaN equals NaN."""
    room = share * _range(one)
    both = np.isnan(one) & np.isnan(other)
    return ~(both | (np.abs(one - other) <= room))
