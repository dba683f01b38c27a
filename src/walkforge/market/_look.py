"""Looking at raw bars: each function finds one kind of trouble and says where it is first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from walkforge.base import (
    TIMEFRAMES_MS,
    BoolArray,
    FloatArray,
    IntArray,
    counted,
    timeframe_ms,
    utc_text,
)

from ._calendar import DAY_MS, Hole, bin_starts, distinct, hole_before, rises
from ._columns import VALUES, contradict
from ._findings import Finding
from ._tables import Table

# Prices that were adjusted by a factor break the order of high, low, open and close in their
# last digits; 1e-9 of the price is far below any tick.
_ROUNDING_FRAC = 1e-9
# The day on which clocks go forward has 23 hours; bars closer than this overlap.
_CLOSEST_STEPS = 0.9


@dataclass(frozen=True, slots=True)
class Look:
    """The usable rows of a table, what their timeframe is meant to be, and where they stand."""

    table: Table
    timestamp: IntArray
    values: FloatArray
    rows: IntArray
    timeframe: str
    calendar: str

    @property
    def step_ms(self) -> int:
        """Return the timeframe in milliseconds."""
        return timeframe_ms(self.timeframe)

    def place(self, index: int) -> str:
        """Return where a usable row stands in the file."""
        return self.table.part.place(int(self.rows[index]))

    def finding(
        self, kind: str, index: int, words: str, *, count: int, say_count: bool = True
    ) -> Finding:
        """Return a finding whose first case is the usable row `index`."""
        stamp = int(self.timestamp[index])
        where = f"{self.place(index)} ({utc_text(stamp)})"
        more = f" ({count} such bars)" if say_count and count > 1 else ""
        return Finding(kind, count, self.place(index), f"{where} {words}{more}", stamp)

    def cell(self, index: int, name: str) -> float:
        """Return one value."""
        return float(self.values[index, VALUES.index(name)])


def unsorted(look: Look) -> Finding | None:
    """Find rows that open before the row above them."""
    falling = np.diff(look.timestamp) < 0
    if not falling.any():
        return None
    index = int(np.argmax(falling)) + 1
    before = utc_text(int(look.timestamp[index - 1]))
    words = f"opens before {look.place(index - 1)} ({before}), expected bars in time order"
    return look.finding("unsorted", index, words, count=int(falling.sum()))


def repeated(look: Look) -> tuple[IntArray, IntArray, BoolArray]:
    """Return pairs of rows with one stamp (the earlier row, the later) and whether they differ.

    Rows are compared with the first of their stamp in the file.
    """
    order = np.argsort(look.timestamp, kind="stable")
    stamps = look.timestamp[order]
    again = np.flatnonzero(np.diff(stamps) == 0) + 1
    first = order[np.searchsorted(stamps, stamps[again])]
    later = order[again]
    differ = contradict(look.values[first], look.values[later])
    return first, later, differ


def duplicates(look: Look) -> list[Finding]:
    """Find stamps that occur more than once: exact duplicates, and bars that contradict."""
    if rises(look.timestamp):
        return []
    first, later, differ = repeated(look)
    found = []
    if differ.any():
        pair = int(np.argmax(differ))
        one, other = int(first[pair]), int(later[pair])
        name = VALUES[int(np.argmax(np.abs(look.values[one] - look.values[other])))]
        words = (
            f"has {name} {look.cell(other, name):g}, but {look.place(one)} has "
            f"{look.cell(one, name):g} for the same time"
        )
        found.append(look.finding("conflicts", other, words, count=int(differ.sum())))
    if not differ.all():
        pair = int(np.argmin(differ))
        words = f"repeats {look.place(int(first[pair]))}"
        found.append(
            look.finding("duplicates", int(later[pair]), words, count=int((~differ).sum()))
        )
    return found


def wrong_timeframe(look: Look) -> Finding | None:
    """Find out whether most bars lie another known span apart than the timeframe says."""
    steps = np.diff(look.timestamp)
    if len(steps) < 3 or np.any(steps == look.step_ms):
        return None
    steps = np.diff(distinct(look.timestamp))
    spans, counts = np.unique(steps, return_counts=True)
    usual = int(spans[np.argmax(counts)])
    name = next((name for name, ms in TIMEFRAMES_MS.items() if ms == usual), None)
    if name is None or 2 * counts.max() < len(steps):
        return None
    words = f"and the bars after it lie {name} apart, expected {look.timeframe}"
    return look.finding("timeframe", 0, words, count=len(look.timestamp))


def off_grid(look: Look) -> Finding | None:
    """Find bars that do not open on the UTC grid, or that overlap.

    In a `session` bars may open anywhere (an exchange opens at its own hour), but not overlap.
    """
    if look.calendar == "24/7":
        off = look.timestamp != bin_starts(look.timestamp, look.timeframe)
        if not off.any():
            return None
        index = int(np.argmax(off))
        words = f"does not open on the {look.timeframe} grid of UTC"
        return look.finding("off_grid", index, words, count=int(off.sum()))
    steps = np.diff(look.timestamp)
    close = (steps > 0) & (steps < _CLOSEST_STEPS * look.step_ms)
    if not close.any():
        return None
    index = int(np.argmax(close)) + 1
    words = f"opens before the {look.timeframe} bar above it is complete"
    return look.finding("off_grid", index, words, count=int(close.sum()))


def bad_prices(look: Look) -> list[Finding]:
    """Find prices that are not positive, negative volume, and high or low inside the body."""
    found = []
    bad = look.values <= 0
    bad[:, 4] = look.values[:, 4] < 0
    if bad.any():
        rows = bad.any(axis=1)
        index = int(np.argmax(rows))
        name = VALUES[int(np.argmax(bad[index]))]
        kind = "a number of at least 0" if name == "volume" else "a positive number"
        words = f"has {name} {look.cell(index, name):g}, expected {kind}"
        found.append(look.finding("non_positive", index, words, count=int(rows.sum())))
    broken = broken_ohlc(look.values)
    if broken.any():
        index = int(np.argmax(broken))
        cells = ", ".join(f"{name} {look.cell(index, name):.12g}" for name in VALUES[:4])
        words = f"has {cells}; expected high at the top and low at the bottom"
        found.append(look.finding("broken_ohlc", index, words, count=int(broken.sum())))
    return found


def broken_ohlc(values: FloatArray) -> BoolArray:
    """Return which bars (n,) have a high below, or a low above, another of their prices."""
    open_, high, low, close = values[:, :4].T
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    slack = _ROUNDING_FRAC * np.abs(top)
    return (high < np.maximum(top, low) - slack) | (low > bottom + slack)


def gaps(look: Look, holes: tuple[Hole, ...]) -> Finding | None:
    """Put the holes between the rows of the table into words."""
    if not holes:
        return None
    missing = sum(hole.missing_bars for hole in holes)
    largest = max(holes, key=lambda hole: hole.missing_bars)
    about = "about " if look.calendar == "session" else ""
    words = (
        f"{counted(len(holes), 'hole')} with {about}{counted(missing, 'missing bar')}; the largest "
        f"is {about}{counted(largest.missing_bars, 'bar')} between {utc_text(largest.after_ms)} "
        f"and {utc_text(largest.before_ms)}"
    )
    row = int(np.argmax(look.table.timestamp == holes[0].before_ms))
    return Finding("gaps", len(holes), look.table.part.place(row), words, holes[0].before_ms)


def zero_volume(look: Look, most_frac: float) -> Finding | None:
    """Find out whether more than `most_frac` of the bars have no volume."""
    none = look.values[:, 4] == 0
    if not none.any() or none.mean() <= most_frac:
        return None
    index, count = int(np.argmax(none)), int(none.sum())
    if none.all():
        words = "and all other bars have zero volume; features of volume will be empty"
    else:
        share = f"{100 * none.mean():.1f} % of all"
        words = f"is the first of {counted(count, 'bar')} with zero volume, {share}"
    return look.finding("zero_volume", index, words, count=count, say_count=False)


def frozen(look: Look, longest_bars: int) -> Finding | None:
    """Find runs of at least `longest_bars` bars over which no price changed at all."""
    close = look.values[:, 3]
    still = (look.values[:, 1] == look.values[:, 2]) & (look.values[:, 0] == close)
    still[1:] &= close[1:] == close[:-1]
    still &= ~hole_before(look.timestamp, look.step_ms, look.calendar)
    still[:1] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    long = lengths >= longest_bars
    if not long.any():
        return None
    index, most = int(starts[np.argmax(long)]), int(lengths.max())
    count = int(long.sum())
    words = f"starts the first of {counted(count, 'run')} of frozen prices, the longest {most} bars"
    return look.finding("frozen", index, words, count=count, say_count=False)


def jumps(look: Look, *, move_frac: float, robust_z: float) -> Finding | None:
    """Find closes that lie `move_frac` or `robust_z` usual moves from the close before.

    The usual move is the median absolute deviation of the log returns that are not zero, times
    1.4826, which is their standard deviation if they are normal. Holes are stepped over, and so
    are the pauses of a session longer than a day.
    """
    steps = np.diff(look.timestamp)
    beside = steps <= (look.step_ms if look.calendar == "24/7" else max(look.step_ms, DAY_MS))
    moves = np.where(beside, np.diff(np.log(look.values[:, 3])), 0.0)
    real = moves[moves != 0]
    if not len(real):
        return None
    usual = 1.4826 * float(np.median(np.abs(real - np.median(real))))
    far = np.abs(moves) >= min(np.log1p(move_frac), robust_z * usual or np.inf)
    if not far.any():
        return None
    index = int(np.argmax(far)) + 1
    move = np.expm1(moves[index - 1])
    most = np.expm1(moves[np.argmax(np.abs(moves))])
    words = (
        f"closes {100 * move:+.1f} % from the bar before; the largest jump is {100 * most:+.1f} %"
    )
    return look.finding("jumps", index, words, count=int(far.sum()))


def spikes(look: Look, *, move_frac: float) -> Finding | None:
    """Find wicks that reach `move_frac` beyond the bar's own open and close."""
    open_, high, low, close = look.values[:, :4].T
    reach = np.maximum(high / np.maximum(open_, close), np.minimum(open_, close) / low) - 1
    far = reach >= move_frac
    if not far.any():
        return None
    index = int(np.argmax(far))
    words = f"has a wick that reaches {100 * reach[index]:.0f} % beyond its open and close"
    return look.finding("spikes", index, words, count=int(far.sum()))
