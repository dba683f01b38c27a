"""One series of bars on disk: a folder of parts under a manifest, or a single Parquet file.

Readers go by the manifest alone, so that they see all of the old bars or all of the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from walkforge.base import TIMEFRAMES_MS, BarsError, timeframe_ms

from ._bars import Bars
from ._calendar import hole_before
from ._columns import VALUES
from ._frames import read_bars_file
from ._manifest import MANIFEST, Manifest, read_manifest
from ._parts import refuse_damage, scan_parts
from ._spans import Span, join_spans, spans_left, spans_of_bars

T = TypeVar("T")

# Between reading a manifest and opening its parts a writer may have replaced them.
_TRIES = 20
# Longer than any holidays of an exchange.
_LONGEST_PAUSE_MS = 31 * 86_400_000


def timeframes_in(folder: Path) -> list[str]:
    """Return the timeframes that a symbol's folder holds, the shortest first."""
    return [name for name in TIMEFRAMES_MS if holds_series(folder, name)]


def holds_series(folder: Path, timeframe: str) -> bool:
    """Return whether a symbol's folder holds a timeframe, in parts or as one file."""
    return (folder / timeframe / MANIFEST).is_file() or (folder / f"{timeframe}.parquet").is_file()


def manifest_of(folder: Path, timeframe: str) -> Manifest | None:
    """Return the manifest of a series in parts, None for a single file or nothing."""
    place = folder / timeframe
    return read_manifest(place) if (place / MANIFEST).is_file() else None


def read_series(
    folder: Path,
    timeframe: str,
    *,
    venue: str,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Bars:
    """Return the bars of a symbol's folder that open in [start_ms, end_ms).

    Of a series in parts only what the range touches is read. Raises BarsError where the series
    is not there or damaged.
    """
    place = folder / timeframe
    if not (place / MANIFEST).is_file():
        path = folder / f"{timeframe}.parquet"
        try:
            bars = read_bars_file(path, venue=venue, symbol=folder.name, timeframe=timeframe)
            return bars.between(start_ms, end_ms)
        except BarsError:
            # A writer may just have put the file into parts.
            if path.is_file() or not (place / MANIFEST).is_file():
                raise

    def read(manifest: Manifest) -> Bars:
        parts = manifest.parts_in(start_ms, end_ms)
        # A price that a disk changed looks like any other; the digest costs a tenth of the read.
        refuse_damage(place, parts)
        frame = collect(scan_parts(place, parts, manifest.columns, start_ms, end_ms), place)
        more = [name for name in manifest.columns if name not in VALUES]
        return Bars(
            venue=venue,
            symbol=folder.name,
            timeframe=timeframe,
            timestamp=frame["timestamp"].dt.epoch("ms").to_numpy(),
            **{name: frame[name].to_numpy() for name in VALUES},
            provenance=manifest.provenance,
            calendar=manifest.calendar,
            history=manifest.history,
            more={name: frame[name].fill_null(np.nan).to_numpy() for name in more},
        )

    return with_manifest(place, read)


def with_manifest(place: Path, read: Callable[[Manifest], T]) -> T:
    """Return what `read` makes of a series, once more where a writer came between."""
    for _ in range(_TRIES):
        manifest = read_manifest(place)
        try:
            return read(manifest)
        except FileNotFoundError as error:
            if read_manifest(place) == manifest:
                raise part_is_gone(place, Path(error.filename).name) from None
    raise BarsError(f"{place}: is written again and again while it is read; try later")


def part_is_gone(place: Path, file: str) -> BarsError:
    """Return the error for a part that its manifest names and nobody finds."""
    return BarsError(
        f"{place / file}: missing, although the manifest names it. Take the folder {place} away "
        "and bring its bars in again."
    )


def collect(frame: pl.LazyFrame, place: Path) -> pl.DataFrame:
    """Return the rows of a lazy frame; damaged files are BarsError."""
    try:
        return frame.collect()
    except FileNotFoundError:
        raise
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise BarsError(f"{place}: damaged: {reason}") from None


def covered(folder: Path, timeframe: str, within: Span, source: str) -> tuple[Span, ...]:
    """Return where a source needs no asking: what it has answered for, and bars without a hole.

    Looks no further than `within`, and at no bars but those of what was not answered for.
    """
    if not holds_series(folder, timeframe):
        return ()
    manifest = manifest_of(folder, timeframe)
    asked = {} if manifest is None else manifest.asked
    mine = tuple(asked.get(source, ()))
    left = spans_left([within], mine)
    if not left:
        return mine
    # With bars before it: a night or holidays at its beginning are no hole.
    start_ms, end_ms = max(within.start_ms, left[0].start_ms - _LONGEST_PAUSE_MS), left[-1].end_ms
    step_ms = timeframe_ms(timeframe)
    bars = read_series(
        folder, timeframe, venue=folder.parent.name, start_ms=start_ms, end_ms=end_ms
    )
    breaks = hole_before(bars.timestamp, step_ms, bars.calendar)
    # A night is no hole, but where somebody stopped asking in the middle of a pause, nobody
    # knows whether bars belong there.
    edges = np.array(sorted({edge for spans in asked.values() for span in spans for edge in span}))
    if len(edges) and len(bars):
        begins = np.searchsorted(edges, bars.closes_at[:-1], side="left")
        ends = np.searchsorted(edges, bars.timestamp[1:], side="right")
        breaks[1:] |= (ends > begins) & (np.diff(bars.timestamp) > step_ms)
    return join_spans([*mine, *spans_of_bars(bars.timestamp, breaks, step_ms)])
