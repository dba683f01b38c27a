"""A folder of files, such as somebody's downloads, as a source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Event

from walkforge.base import (
    BarsError,
    FetchError,
    UsageError,
    listed,
    nearest,
    timeframe_ms,
)
from walkforge.market import (
    Span,
    data_files,
    guess_names,
    provenance_of_file,
    read_bars_file_frame,
    touches,
)

from ._grid import refuse_strangers
from ._source import Delivery, Listing, Piece

# BTCUSDT-1h-2024-02.zip holds a month, BTCUSDT-1h-2024-02-29.zip a day.
_SPAN_IN_A_NAME = re.compile(r"[-_](?P<year>\d{4})-(?P<month>\d\d)(?:-(?P<day>\d\d))?$")
_DAY_MS = 86_400_000


def files(folder: Path, *, venue: str) -> Files:
    """Return the CSV, zip and Parquet files below a folder as a source of a venue's bars.

    Symbols and timeframes come from the files' names, as for `market.import_bars`.
    """
    return Files(folder, venue=venue)


class Files:
    """A folder of files as a source of bars; a file that changed where it lies comes again."""

    name = "files"
    calendar = "auto"
    connections = 1
    limits = "none, the files lie on this machine"

    def __init__(self, folder: Path, *, venue: str) -> None:
        self.venue = venue
        self._folder = folder
        self._spans: dict[str, Span] = {}

    @cached_property
    def provenance(self) -> str:
        """Return `file`, or what the metadata of all Parquet files says.

        Raises BarsError where files say different things, unless these are `exchange` and `file`.
        """
        told = {provenance_of_file(file) for group in self._series.values() for file in group}
        if told == {"exchange", "file"}:
            return "file"
        if len(told) > 1:
            raise BarsError(
                f"{self._folder}: its files are {' and '.join(sorted(told))}; these are never "
                "mixed. Fetch them from folders of their own, under different venues."
            )
        return told.pop()

    def name_of(self, symbol: str) -> str:
        """Return the symbol as the files' names have it: BTC/USDT may be BTC_USDT or BTCUSDT.

        Raises UsageError where no file has it.
        """
        symbols = sorted({one for one, _ in self._series})
        name = next((one for one in symbols if _bare(one) == _bare(symbol)), None)
        if name is None:
            raise UsageError(
                f"{self._folder}: no file of {symbol!r}{nearest(symbol, symbols)}; "
                f"there are {listed(symbols)}"
            )
        return name

    def listings(self) -> list[Listing]:
        """Return the symbols that the files' names tell."""
        return [Listing(symbol) for symbol in sorted({symbol for symbol, _ in self._series})]

    def first_ms(self, symbol: str, timeframe: str) -> int:
        """Return where the first file begins: the first bar opens then, or within that file."""
        return min(self._span(file, timeframe).start_ms for file in self._of(symbol, timeframe))

    def pieces(
        self,
        symbol: str,
        timeframe: str,
        *,
        wanted: Span,
        missing: Sequence[Span],
        files: Mapping[str, str],
    ) -> list[Piece]:
        """Return the files of the wanted span that are new or other than they were.

        A file is known by where it lies: one that was moved or copied is new, and its bars are
        compared with those that are stored. What no file is about stays missing: nobody says that
        it has no bars.
        """
        found = []
        for file in self._of(symbol, timeframe):
            name, version = _place(file), _version(file)
            span = self._span(file, timeframe)
            if touches(span, [wanted]) and files.get(name) != version:
                piece = Piece(
                    symbol=self.name_of(symbol),
                    timeframe=timeframe,
                    span=span,
                    name=name,
                    size_bytes=file.stat().st_size,
                    version=version,
                    replaces=name in files,
                    place=str(file),
                )
                found.append(piece)
        return sorted(found, key=lambda piece: (piece.span, piece.name))

    def fetch(self, piece: Piece, halt: Event) -> Delivery:
        """Read a file; raise FetchError where it cannot be read, or holds other bars than said."""
        path = Path(piece.place)
        try:
            found = read_bars_file_frame(path, timeframe=piece.timeframe)
        except BarsError as error:
            raise FetchError(str(error)) from None
        agreeing = {self.provenance} | ({"exchange"} if self.provenance == "file" else set())
        if found.provenance not in agreeing:
            raise FetchError(
                f"{path}: is {found.provenance} by now, expected {self.provenance}; "
                "these are never mixed"
            )
        refuse_strangers(
            found.frame, piece.span, piece.place, way_out="name the file after what it holds"
        )
        return Delivery(
            piece=piece,
            frame=found.frame,
            answered_to_ms=piece.span.end_ms,
            received_bytes=path.stat().st_size,
            calendar=found.calendar,
            history=found.history,
            entry={"sha256": found.sha256, "checksum_agreed": found.checksum_agreed},
        )

    def close(self) -> None:
        """Nothing is open."""

    @cached_property
    def _series(self) -> dict[tuple[str, str], list[Path]]:
        """Return the files of each (symbol, timeframe)."""
        series: dict[tuple[str, str], list[Path]] = {}
        for file in data_files(self._folder):
            symbol, timeframe = guess_names(file)
            if symbol is None or timeframe is None:
                raise UsageError(
                    f"{file}: the name does not tell symbol and timeframe; name the file like "
                    "BTCUSDT-1h-2023-01.csv or BTCUSDT/1h.parquet"
                )
            series.setdefault((symbol, timeframe), []).append(file)
        return series

    def _of(self, symbol: str, timeframe: str) -> list[Path]:
        timeframe_ms(timeframe)
        name = self.name_of(symbol)
        if (name, timeframe) not in self._series:
            there = [one for other, one in self._series if other == name]
            raise UsageError(
                f"{self._folder}: no {timeframe} bars of {name}; there are {listed(there)}"
            )
        return self._series[name, timeframe]

    def _span(self, file: Path, timeframe: str) -> Span:
        """Return the month or day that a name tells, else from the first bar to the last one."""
        told = _told_span(file)
        if told is not None:
            return told
        key = f"{file} {_version(file)}"
        if key not in self._spans:
            stamps = read_bars_file_frame(file, timeframe=timeframe).frame["timestamp"]
            epoch = stamps.dt.epoch("ms")
            self._spans[key] = Span(int(epoch[0]), int(epoch[-1]) + timeframe_ms(timeframe))
        return self._spans[key]


def _bare(symbol: str) -> str:
    return re.sub(r"[/_-]", "", symbol).upper()


def _told_span(file: Path) -> Span | None:
    match = _SPAN_IN_A_NAME.search(file.name.split(".")[0])
    if match is None:
        return None
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"] or 1)
    try:
        start = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    start_ms = int(start.timestamp() * 1000)
    if match["day"]:
        return Span(start_ms, start_ms + _DAY_MS)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return Span(start_ms, int(end.timestamp() * 1000))


def _place(file: Path) -> str:
    """Return where a file lies: of the same name in another folder it is another file."""
    return (file.parent.resolve() / file.name).as_posix()


def _version(file: Path) -> str:
    """Return what changes when a file does; a digest would read every file on every look."""
    state = file.stat()
    return f"{state.st_size}-{state.st_mtime_ns}"
