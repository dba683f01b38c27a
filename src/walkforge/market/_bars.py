"""Bars of one symbol, cut into segments wherever one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from walkforge.base import (
    BarsError,
    FloatArray,
    IntArray,
    digest_of_arrays,
    one_of,
    timeframe_ms,
    utc_text,
)

from ._calendar import CALENDARS, hole_before, infer_calendar
from ._columns import PRICES, VALUES, refuse_odd_names

PROVENANCES = ("exchange", "sample", "simulated", "file")


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars of one symbol in time order: stamps (n,) in ms UTC, prices and volume (n,) float64.

    `timestamp` is a bar's opening time; it is complete one timeframe later, at `closes_at`.
    Raises BarsError where stamps do not rise, lengths differ, a value is not finite, or a
    further column's name is not a plain one.
    """

    venue: str
    symbol: str
    timeframe: str
    timestamp: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    provenance: str = "file"
    calendar: str = "auto"
    """`24/7`, where every missing bar is a hole, or `session`, where weekends are none.

    `auto` asks the stamps: two weeks or more without a Saturday make a `session`."""
    history: tuple[str, ...] = ()
    """What was done to the bars before they came here (repairs, resampling), one line each."""
    more: Mapping[str, FloatArray] = field(default_factory=dict)
    """Further columns (n,) that a store keeps, NaN where unknown; nothing is computed with them."""
    segment: IntArray = field(init=False)
    """Number of the segment that each bar belongs to (n,), rising from 0 at every hole."""

    def __post_init__(self) -> None:
        step_ms = timeframe_ms(self.timeframe)
        one_of("provenance", self.provenance, PROVENANCES)
        self._refuse_nonsense()
        one_of("calendar", self.calendar, ("auto", *CALENDARS))
        calendar = self.calendar if self.calendar != "auto" else infer_calendar(self.timestamp)
        segment = np.cumsum(hole_before(self.timestamp, step_ms, calendar), dtype=np.int64)
        object.__setattr__(self, "calendar", calendar)
        object.__setattr__(self, "segment", segment)

    def __len__(self) -> int:
        return len(self.timestamp)

    @property
    def name(self) -> str:
        """Return `venue/SYMBOL/timeframe`, the place that messages name."""
        return f"{self.venue}/{self.symbol}/{self.timeframe}"

    @property
    def closes_at(self) -> IntArray:
        """Return the moment (n,) in ms UTC at which each bar is complete: its decision time."""
        return self.timestamp + timeframe_ms(self.timeframe)

    @property
    def segments(self) -> list[slice]:
        """Return one slice of rows per segment; nothing may look or run across their edges."""
        edges = np.flatnonzero(np.diff(self.segment)) + 1
        return [
            slice(int(start), int(stop))
            for start, stop in zip([0, *edges], [*edges, len(self)], strict=True)
            if stop > start
        ]

    def take(self, rows: slice) -> Bars:
        """Return the bars of a slice of rows."""
        return Bars(
            venue=self.venue,
            symbol=self.symbol,
            timeframe=self.timeframe,
            timestamp=self.timestamp[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
            provenance=self.provenance,
            calendar=self.calendar,
            history=self.history,
            more={name: values[rows] for name, values in self.more.items()},
        )

    def between(self, from_ms: int | None, to_ms: int | None) -> Bars:
        """Return the bars that open in [from_ms, to_ms); None leaves a side open."""
        start = 0 if from_ms is None else int(np.searchsorted(self.timestamp, from_ms))
        stop = len(self) if to_ms is None else int(np.searchsorted(self.timestamp, to_ms))
        return self.take(slice(start, stop))

    def digest(self) -> str:
        """Return the SHA-256 of stamps, prices and volume."""
        return digest_of_arrays(
            self.timestamp, self.open, self.high, self.low, self.close, self.volume
        )

    def _refuse_nonsense(self) -> None:
        refuse_odd_names(self.name, self.more)
        columns = {name: getattr(self, name) for name in VALUES}
        for name, values in {**columns, **self.more}.items():
            if len(values) != len(self.timestamp):
                raise BarsError(
                    f"{self.name}: {len(values)} values in {name!r}, expected "
                    f"{len(self.timestamp)}, one per timestamp"
                )
        for name, values in columns.items():
            bad = ~np.isfinite(values) | (values <= 0 if name in PRICES else values < 0)
            if bad.any():
                row = int(np.argmax(bad))
                kind = "positive number" if name in PRICES else "number of at least 0"
                raise BarsError(
                    f"{self.name}: bar {row} ({utc_text(int(self.timestamp[row]))}) has {name} "
                    f"{values[row]}, expected a {kind}. See `walkforge data check`."
                )
        falling = np.diff(self.timestamp) <= 0
        if falling.any():
            row = int(np.argmax(falling)) + 1
            raise BarsError(
                f"{self.name}: bar {row} ({utc_text(int(self.timestamp[row]))}) does not come "
                f"after the bar before it. Mend the file with `walkforge data repair`."
            )
