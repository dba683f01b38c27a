"""The bar store: VENUE/SYMBOL/TIMEFRAME in parts, old or new and never half."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from walkforge.base import (
    TIMEFRAMES_MS,
    BarsError,
    listed,
    nearest,
    one_of,
    timeframe_ms,
)

from ._bars import Bars
from ._calendar import holes_in
from ._columns import VALUES
from ._frames import bars_to_frame
from ._manifest import MANIFEST, Manifest
from ._metadata import read_metadata, sources_told
from ._names import safe_name
from ._parts import scan_parts
from ._raw_files import further_columns, read_raw_file
from ._rows import rows_of_frame
from ._series import covered, holds_series, manifest_of, read_series, timeframes_in, with_manifest
from ._spans import Span
from ._store_reports import StoredBars, WriteReport
from ._writing import Addition, Staged, commit, stage, writing


@dataclass(frozen=True, slots=True)
class BarStore:
    """A folder of bars, VENUE/SYMBOL/TIMEFRAME below `root`, in parts of a month or a year.

    A write adds all of its bars or none: readers, and whoever comes after a kill, see the old
    bars or the new ones. Writers take turns. Bars are only added: one that contradicts a stored
    one is refused, kept or put in its place, as the writer says. A series that lies there as one
    file, VENUE/SYMBOL/TIMEFRAME.parquet, is read as it is, and goes into parts when it is added to.
    """

    root: Path

    def path(self, venue: str, symbol: str, timeframe: str) -> Path:
        """Return the folder of a series; raise UsageError for a name that cannot be a folder."""
        timeframe_ms(timeframe)
        return self.root / safe_name("venue", venue) / safe_name("symbol", symbol) / timeframe

    def holds(self, venue: str, symbol: str, timeframe: str) -> bool:
        """Return whether the series is there."""
        return holds_series(self.path(venue, symbol, timeframe).parent, timeframe)

    def read(
        self,
        venue: str,
        symbol: str,
        timeframe: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> Bars:
        """Return the bars of a series that open in [start_ms, end_ms).

        Only the parts that the range touches are read. Raises BarsError where the series is not
        there or damaged.
        """
        folder = self._folder_of(venue, symbol, timeframe)
        return read_series(folder, timeframe, venue=venue, start_ms=start_ms, end_ms=end_ms)

    def scan(
        self,
        venue: str,
        symbol: str,
        timeframe: str,
        *,
        columns: Sequence[str] = VALUES,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> pl.LazyFrame:
        """Return `timestamp` and the columns of the bars that open in [start_ms, end_ms), lazily.

        Of a series in parts, parts outside the range and other columns are never read, and no
        digest is compared. A column that a part does not have is null there. Collect the frame
        before somebody writes to the series. Raises as `read` does, and UsageError for columns
        that the series does not have.
        """
        folder = self._folder_of(venue, symbol, timeframe)
        place = folder / timeframe
        if not (place / MANIFEST).is_file():
            bars = self.read(venue, symbol, timeframe, start_ms=start_ms, end_ms=end_ms)
            there = (*VALUES, *bars.more)
            for column in columns:
                one_of(f"column of {venue}/{symbol}/{timeframe}, one file,", column, there)
            return bars_to_frame(bars).lazy().select("timestamp", *columns)

        def scan(manifest: Manifest) -> pl.LazyFrame:
            for column in columns:
                one_of(f"column of {venue}/{symbol}/{timeframe}", column, manifest.columns)
            parts = manifest.parts_in(start_ms, end_ms)
            return scan_parts(place, parts, columns, start_ms, end_ms)

        return with_manifest(place, scan)

    def manifest(self, venue: str, symbol: str, timeframe: str) -> Manifest | None:
        """Return what is known of a series in parts; None for a single file or nothing."""
        return manifest_of(self.path(venue, symbol, timeframe).parent, timeframe)

    def covered(
        self, venue: str, symbol: str, timeframe: str, within: Span, source: str
    ) -> tuple[Span, ...]:
        """Return where a source needs no asking: what it answered for, and bars without a hole."""
        return covered(self.path(venue, symbol, timeframe).parent, timeframe, within, source)

    def holes(self, venue: str, symbol: str, timeframe: str) -> tuple[Span, ...]:
        """Return the spans in a series where bars are missing, by its calendar."""
        bars = self.read(venue, symbol, timeframe)
        step_ms = timeframe_ms(timeframe)
        holes = holes_in(bars.timestamp, step_ms, bars.calendar)
        return tuple(Span(hole.after_ms + step_ms, hole.before_ms) for hole in holes)

    def write(self, bars: Bars, *, on_conflict: str = "refuse") -> WriteReport:
        """Add bars to their series, keeping provenance and history.

        Bars that are there already are left as they are; one that contradicts a stored one is
        refused, or passed over (`keep`), or takes its place (`replace`). Raises BarsError, and
        changes nothing, where it is refused or the two do not share a provenance.
        """
        addition = Addition(
            rows=rows_of_frame(bars_to_frame(bars)),
            provenance=bars.provenance,
            calendar=bars.calendar,
            history=bars.history,
            on_conflict=on_conflict,
        )
        return self.add(bars.venue, bars.symbol, bars.timeframe, addition)

    def add(self, venue: str, symbol: str, timeframe: str, addition: Addition) -> WriteReport:
        """Add rows to a series at once; see `adding`."""
        with self.adding(venue, symbol, timeframe, addition) as report:
            return report

    @contextmanager
    def adding(
        self, venue: str, symbol: str, timeframe: str, addition: Addition
    ) -> Iterator[WriteReport]:
        """Yield what an addition will do; do it when the block ends without an error.

        Holds the series for writing meanwhile. There must be a row to add, or a series that is
        there. Raises BarsError, and changes nothing, where the addition contradicts what is
        stored or the disk refuses.
        """
        place = self.path(venue, symbol, timeframe)
        folder = place.parent
        try:
            with writing(folder, timeframe):
                staged = _staged(folder, (venue, symbol, timeframe), addition)
                yield _report(staged, len(addition.rows), place)
                if staged.changed:
                    commit(folder, timeframe, staged.manifest)
        except OSError as error:
            raise BarsError(f"{place}: cannot be written: {error.strerror or error}") from error

    def list(
        self, venue: str | None = None, *, damaged: list[BarsError] | None = None
    ) -> list[StoredBars]:
        """Return every stored series, or those of a venue, by name; only manifests are read.

        What is wrong with a series that cannot be described goes into `damaged` where such a list
        is given; otherwise it is raised.
        """
        found = []
        for folder in sorted(self.root.glob(f"{venue or '*'}/*")):
            for timeframe in timeframes_in(folder):
                try:
                    found.append(_describe(folder, timeframe))
                except BarsError as error:
                    if damaged is None:
                        raise
                    damaged.append(error)
        return found

    def describe(self, venue: str, symbol: str, timeframe: str) -> StoredBars:
        """Return one stored series; only its manifest is read.

        Raises BarsError where it is not there or cannot be described.
        """
        return _describe(self._folder_of(venue, symbol, timeframe), timeframe)

    def _folder_of(self, venue: str, symbol: str, timeframe: str) -> Path:
        folder = self.path(venue, symbol, timeframe).parent
        if not holds_series(folder, timeframe):
            name = f"{venue}/{symbol}/{timeframe}"
            there = [f"{s.venue}/{s.symbol}/{s.timeframe}" for s in self.list(damaged=[])]
            raise BarsError(
                f"{self.root}: no bars of {name}{nearest(name, there)}; there are "
                f"{listed(there) or 'none'}. Bring them in with `walkforge data fetch` or "
                "`walkforge data import`."
            )
        return folder


def stored_below(path: Path) -> tuple[BarStore, list[tuple[str, str, str]]]:
    """Return the store that a path belongs to, and venue, symbol and timeframe of each series at
    or below it, of damaged ones as well.

    The path is a store's folder, or a venue's, a symbol's or a series' in it. Raises BarsError
    where no series is there.
    """
    path = path.absolute()
    place = path.parent if path.name in TIMEFRAMES_MS else path
    is_symbol = bool(timeframes_in(place))
    is_venue = not is_symbol and place.is_dir() and any(map(timeframes_in, place.iterdir()))
    root = place.parents[1] if is_symbol else place.parent if is_venue else place
    venue = "*" if place == root else place.relative_to(root).parts[0]
    found = [
        (folder.parent.name, folder.name, timeframe)
        for folder in sorted(root.glob(f"{venue}/*"))
        for timeframe in timeframes_in(folder)
        if path in (folder / timeframe, *(folder / timeframe).parents)
    ]
    if not found:
        raise BarsError(
            f"{path}: no series of bars there; expected a store, or a VENUE, SYMBOL or TIMEFRAME "
            "folder in one"
        )
    return BarStore(root), found


def _staged(folder: Path, names: tuple[str, str, str], addition: Addition) -> Staged:
    timeframe = names[2]
    old = manifest_of(folder, timeframe)
    if old is None and holds_series(folder, timeframe):
        # The single file goes into parts first, so that both are joined by one rule.
        old = stage(folder, names, None, _whole_file(folder, timeframe)).manifest
    return stage(folder, names, old, addition)


def _whole_file(folder: Path, timeframe: str) -> Addition:
    """Return a series that lies there as one file, with all that it holds and tells."""
    path = folder / f"{timeframe}.parquet"
    bars = read_series(folder, timeframe, venue=folder.parent.name)
    raw = read_raw_file(path, every_column=True)
    part, told = raw.parts[0], raw.metadata
    further = further_columns(part.frame.columns, part.columns)
    numbers = [name for name in further if part.frame[name].dtype.is_numeric()]
    more = part.frame.select(pl.col(numbers).cast(pl.Float64))
    taken = {*part.columns.values(), *numbers}
    return Addition(
        rows=rows_of_frame(bars_to_frame(replace(bars, more={})).hstack(more)),
        provenance=bars.provenance,
        calendar=bars.calendar,
        calendar_named=told.get("calendar_named"),
        history=bars.history,
        sources=sources_told(path, told),
        # A file with more than numbers is not all taken, and stays where it is.
        took_sha256=raw.sha256 if taken == set(part.frame.columns) else None,
    )


def _report(staged: Staged, rows_given: int, path: Path) -> WriteReport:
    manifest, stamps = staged.manifest, staged.timestamp
    holes = holes_in(stamps, timeframe_ms(manifest.timeframe), manifest.calendar)
    return WriteReport(
        venue=manifest.venue,
        symbol=manifest.symbol,
        timeframe=manifest.timeframe,
        provenance=manifest.provenance,
        rows_given=rows_given,
        rows_new=staged.rows_new,
        rows_differing=staged.differing,
        rows_taken_away=staged.taken_away,
        rows_total=len(stamps),
        first_ms=int(stamps[0]),
        last_ms=int(stamps[-1]),
        holes=len(holes),
        missing_bars=sum(hole.missing_bars for hole in holes),
        path=path,
    )


def _describe(folder: Path, timeframe: str) -> StoredBars:
    manifest = manifest_of(folder, timeframe)
    names = {"venue": folder.parent.name, "symbol": folder.name, "timeframe": timeframe}
    if manifest is None:
        try:
            return _describe_file(folder / f"{timeframe}.parquet", names)
        except (BarsError, OSError):
            # A writer may just have put the file into parts.
            if not holds_series(folder, timeframe) or manifest_of(folder, timeframe) is None:
                raise
            return _describe(folder, timeframe)
    return StoredBars(
        **names,
        rows=manifest.rows,
        first_ms=manifest.parts[0].first_ms,
        last_ms=manifest.parts[-1].last_ms,
        provenance=manifest.provenance,
        size_bytes=sum(part.size_bytes for part in manifest.parts),
        brought_by=tuple(dict.fromkeys(entry["source"] for entry in manifest.sources)),
        fetched_at=max(part.written_at for part in manifest.parts),
        path=folder / timeframe,
    )


def _describe_file(path: Path, names: dict[str, str]) -> StoredBars:
    metadata = read_metadata(path)
    rows, first_ms, last_ms = _span_of_file(path, names)
    return StoredBars(
        **names,
        rows=rows,
        first_ms=first_ms,
        last_ms=last_ms,
        provenance=metadata.get("provenance", "file"),
        size_bytes=path.stat().st_size,
        brought_by=(),
        fetched_at=None,
        path=path,
    )


def _span_of_file(path: Path, names: dict[str, str]) -> tuple[int, int, int]:
    """Return rows, first and last stamp; without reading prices where the stamps are ours."""
    if pl.scan_parquet(path, glob=False).collect_schema().get("timestamp") is None:
        bars = read_series(path.parent, names["timeframe"], venue=names["venue"])
        return len(bars), int(bars.timestamp[0]), int(bars.timestamp[-1])
    span = pl.scan_parquet(path, glob=False).select(
        rows=pl.len(),
        first=pl.col("timestamp").min().dt.epoch("ms"),
        last=pl.col("timestamp").max().dt.epoch("ms"),
    )
    try:
        return span.collect().row(0)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).split("\n")[0]
        raise BarsError(f"{path}: not a readable file of bars: {reason}") from None
