"""A user's own labels: a function of bars to scores and the moments at which they are known.

That a score is resolved when it says so is what every purge relies on; `check_resolved` asks it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray, LabelError, derive_seed, utc_text
from walkforge.market import Bars, noise_after

from ._outcomes import NEVER, Outcomes

Make = Callable[[Bars], Any]
"""Takes bars without a hole; returns `score` (n,), NaN where not known, and `resolved_at` (n,), ms
UTC: a pair, or an object with these two attributes."""

_LEAST_BARS = 8
_MOST_BARS_CHECKED = 20_000
_LAST_MOMENT = 2.0**53  # beyond it a float64 no longer tells one millisecond from the next
# Share of the scores' range below which a difference is rounding; see features.check_causal.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class EarlyClaim:
    """A label that was not yet what it says it was when it said that it was known."""

    series: str
    """Of the bars: venue, symbol and timeframe."""
    bar_ms: int
    """Opening time of the bar that was decided on, ms UTC."""
    resolved_ms: int
    """When the label says that it was known."""
    future: str
    """What became of the bars that close after some later moment: `cut off`, or `noise`."""
    what: str
    """`score`, or `resolved_at`."""
    with_future: float
    without_future: float

    @property
    def words(self) -> str:
        """Return the finding as one line, without the way out."""
        how = "cut off" if self.future == "cut off" else "replaced by noise"
        one, other = (_value(self.what, v) for v in (self.with_future, self.without_future))
        return (
            f"a label claims to be known too early: for the bar of {utc_text(self.bar_ms)} of "
            f"{self.series} it is resolved at {utc_text(self.resolved_ms)}, but its {self.what} "
            f"is {one}, and {other} when the bars that close later are {how}"
        )


def own_outcomes(bars: Bars, make: Make) -> Outcomes:
    """Return the outcomes that `make` computes of every bar, segment by segment.

    Raises LabelError where it fails, returns something else than scores and moments, an infinite
    score, or a score that is resolved before its decision or never.
    """
    score = np.full(len(bars), np.nan)
    resolved_at = np.full(len(bars), NEVER)
    for rows in bars.segments:
        score[rows], resolved_at[rows] = _made(make, bars.take(rows))
    return Outcomes(score, bars.closes_at, resolved_at, ~np.isnan(score))


def check_resolved(make: Make, bars: Bars, *, n_cuts: int = 5, seed: int = 0) -> EarlyClaim | None:
    """Return a label of `make` that is not known when it says so; None where all seem to be.

    The longest stretch without a hole is cut where `n_cuts` random labels say that they are
    resolved. With noise after the cut every label that is resolved by then must be the same,
    score and moment, and no other may become known. With nothing after it a label may be unknown,
    as one that wants room for its horizon is, but not another one.
    Raises LabelError where `make` fails or gives other values for the same bars.
    """
    bars = _stretch(bars)
    score, resolved_at = _made(make, bars)
    known = np.flatnonzero(~np.isnan(score) & (resolved_at < bars.closes_at[-1]))
    again = _made(make, bars)
    if found := _first_claim(bars, (score, resolved_at), again, NEVER, "noise"):
        raise LabelError(
            f"{_title(make)}: the {found.what} for the bar of {utc_text(found.bar_ms)} of "
            f"{bars.name} is {_value(found.what, found.with_future)}, and "
            f"{_value(found.what, found.without_future)} when asked again; labels must not draw "
            "random numbers or remember earlier calls"
        )
    random = np.random.default_rng(derive_seed(seed, "cuts"))
    for row in random.choice(known, min(n_cuts, len(known)), replace=False).tolist():
        moment = int(resolved_at[row])
        n_kept = int(np.searchsorted(bars.closes_at, moment, side="right"))
        noisy = _made(make, noise_after(bars, n_kept, seed=row))
        if found := _first_claim(bars, (score, resolved_at), noisy, moment, "noise"):
            return found
        kept = (score[:n_kept], resolved_at[:n_kept])
        cut = _made(make, bars.take(slice(0, n_kept)))
        unknown = np.isnan(cut[0])
        for before, after in zip(kept, cut, strict=True):
            after[unknown] = before[unknown]
        if found := _first_claim(bars, kept, cut, moment, "cut off"):
            return found
    return None


def _first_claim(
    bars: Bars,
    one: tuple[FloatArray, IntArray],
    other: tuple[FloatArray, IntArray],
    moment: int,
    future: str,
) -> EarlyClaim | None:
    """Return a label that is resolved by a moment in one of two worlds and not the same in both."""
    asked = (one[1] <= moment) | (other[1] <= moment)
    known = one[0][~np.isnan(one[0])]
    room = _ROUNDING * (known.max() - known.min() if len(known) else 0.0)
    same = (np.isnan(one[0]) & np.isnan(other[0])) | (np.abs(one[0] - other[0]) <= room)
    for what, place, wrong in (("score", 0, ~same), ("resolved_at", 1, one[1] != other[1])):
        rows = np.flatnonzero(asked & wrong)
        if len(rows):
            row = int(rows[-1])
            return EarlyClaim(
                series=bars.name,
                bar_ms=int(bars.timestamp[row]),
                resolved_ms=int(min(one[1][row], other[1][row])),
                future=future,
                what=what,
                with_future=float(one[place][row]),
                without_future=float(other[place][row]),
            )
    return None


def _stretch(bars: Bars) -> Bars:
    lengths = [rows.stop - rows.start for rows in bars.segments]
    if max(lengths, default=0) < _LEAST_BARS:
        raise LabelError(
            f"{bars.name}: {max(lengths, default=0)} bars without a hole, expected at least "
            f"{_LEAST_BARS} to look when labels are known"
        )
    rows = bars.segments[int(np.argmax(lengths))]
    return bars.take(slice(max(rows.start, rows.stop - _MOST_BARS_CHECKED), rows.stop))


def _made(make: Make, bars: Bars) -> tuple[FloatArray, IntArray]:
    """Return scores and moments of bars without a hole, both one's own; NEVER where unknown."""
    for name in ("timestamp", "open", "high", "low", "close", "volume", "segment"):
        getattr(bars, name).setflags(write=False)
    try:
        made = make(bars)
    except LabelError as error:
        raise LabelError(f"{error} (asked for {len(bars)} bars of {bars.name})") from error
    pair = (
        tuple(made)
        if isinstance(made, tuple | list)
        else (getattr(made, "score", None), getattr(made, "resolved_at", None))
    )
    if len(pair) != 2 or any(part is None for part in pair):
        raise LabelError(
            f"{_title(make)}: returned {type(made).__name__}, expected scores and the moments at "
            "which they are known, two arrays with one value per bar"
        )
    score = _numbers(make, "score", pair[0], bars)
    moments = _numbers(make, "resolved_at", pair[1], bars)
    known = ~np.isnan(score)
    _refuse(make, bars, "score", score, np.isinf(score), "expected a number, or NaN")
    beyond = ~(np.abs(moments) < _LAST_MOMENT)
    _refuse(make, bars, "resolved_at", moments, known & beyond, "expected ms UTC")
    early = known & (moments <= bars.closes_at)
    _refuse(make, bars, "resolved_at", moments, early, "expected ms UTC after the close of the bar")
    resolved_at = np.full(len(bars), NEVER)
    resolved_at[known] = moments[known].astype(np.int64)
    return score, resolved_at


def _numbers(make: Make, name: str, values: Any, bars: Bars) -> FloatArray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise LabelError(
            f"{_title(make)}: {name} holds {type(values).__name__}, expected numbers"
        ) from None
    if numbers.shape != (len(bars),):
        raise LabelError(
            f"{_title(make)}: {name} has shape {numbers.shape} for {len(bars)} bars; expected one "
            "value per bar"
        )
    return numbers


def _refuse(
    make: Make, bars: Bars, what: str, values: FloatArray, bad: np.ndarray, expected: str
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise LabelError(
            f"{_title(make)}: {what} of the bar of {utc_text(int(bars.timestamp[row]))} of "
            f"{bars.name} is {_value(what, values[row])}; {expected}"
        )


def _value(what: str, value: float) -> str:
    if what == "resolved_at":
        return utc_text(int(value)) if abs(value) < 4e12 else "never" if value > 0 else str(value)
    return f"{value:.9g}"


def _title(make: Make) -> str:
    return str(getattr(make, "title", getattr(make, "__name__", "the function")))
