"""Bringing files of bars into a store: all of them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from walkforge.base import BarsError, IntArray, UsageError, counted, listed, timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import CALENDAR_SHOWS_MS, infer_calendar
from ._frames import bars_from_table
from ._merge import unite
from ._names import guess_names, safe_name
from ._raw_files import RawFile, data_files, read_raw_file
from ._store import BarStore
from ._store_reports import WriteReport
from ._tables import Table, read_table
from ._writing import Addition


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import brought to one series."""

    written: WriteReport
    files: int
    files_with_checksum: int
    stamp_forms: tuple[str, ...]
    """How the files hold their stamps: `text`, `time`, or numbers in `s`, `ms`, `us`, `ns`."""
    columns_left_out: tuple[str, ...] = ()
    """Further columns that stayed behind, as their names are no plain ones."""

    def summary(self) -> str:
        """Return one line for a terminal."""
        odd = listed([repr(name[:40]) for name in self.columns_left_out])
        left_out = f"; columns of odd names left out: {odd}" if odd else ""
        return (
            f"{self.written.summary()} ({counted(self.files, 'file')}, stamps: "
            f"{', '.join(self.stamp_forms)}, checksum agreed for {self.files_with_checksum})"
            f"{left_out}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            **self.written.as_dict(),
            "files": self.files,
            "files_with_checksum": self.files_with_checksum,
            "stamp_forms": list(self.stamp_forms),
            "columns_left_out": list(self.columns_left_out),
        }


def import_bars(
    source: Path,
    store: BarStore,
    *,
    venue: str,
    symbol: str | None = None,
    timeframe: str | None = None,
    calendar: str = "auto",
) -> list[ImportReport]:
    """Bring a CSV, zip or Parquet file, or a folder of them, into a store; one report a series.

    Takes `timestamp,open,high,low,close,volume` and Binance's 12-column klines. Symbol and
    timeframe come from the files' names unless given; a `calendar` other than `auto` is kept, now
    and in later imports. Files of one series may overlap where they agree, with each other and
    with what is stored.

    Raises BarsError or UsageError for the first trouble in any file; the store then is as it was.
    """
    safe_name("venue", venue)
    groups = _group(data_files(source), source, symbol, timeframe)
    with ExitStack() as stack:
        return [
            _import_series(stack, store, files, (venue, *names), calendar)
            # Whoever imports several series takes their locks in the same order.
            for names, files in sorted(groups.items())
        ]


def _group(
    files: Sequence[Path], source: Path, symbol: str | None, timeframe: str | None
) -> dict[tuple[str, str], list[Path]]:
    """Return the files of each (symbol, timeframe)."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        names = _names_of(file, symbol, timeframe, alone=file == source)
        groups.setdefault(names, []).append(file)
    return groups


def _names_of(
    file: Path, symbol: str | None, timeframe: str | None, *, alone: bool
) -> tuple[str, str]:
    """Return a file's symbol and timeframe; given names win over the name of a single file."""
    if symbol is not None and timeframe is not None and alone:
        return safe_name("symbol", symbol), _known(timeframe)
    guessed = guess_names(file)
    for what, given, told in zip(
        ("symbol", "timeframe"), (symbol, timeframe), guessed, strict=True
    ):
        if given is None and told is None:
            raise UsageError(
                f"{file}: the name does not tell the {what}; name it with --{what}, or name the "
                "file like BTCUSDT-1h-2023-01.csv or BTCUSDT/1h.parquet"
            )
        if not alone and None not in (given, told) and given != told:
            raise UsageError(
                f"{file}: its name says {what} {told!r}, asked for was {given!r}; "
                "import it alone, or leave the name out"
            )
    return (
        safe_name("symbol", symbol or guessed[0] or ""),
        _known(timeframe or guessed[1] or ""),
    )


def _known(timeframe: str) -> str:
    timeframe_ms(timeframe)
    return timeframe


def _import_series(
    stack: ExitStack,
    store: BarStore,
    files: Sequence[Path],
    names: tuple[str, str, str],
    calendar: str,
) -> ImportReport:
    venue, symbol, timeframe = names
    tables: list[Table] = []
    sources: list[RawFile] = []
    pieces: list[Bars] = []
    for file in files:
        source = read_raw_file(file)
        told = source.metadata.get("calendar", "auto")
        for part in source.parts:
            table = read_table(part)
            pieces.append(
                bars_from_table(
                    table,
                    venue=venue,
                    symbol=symbol,
                    timeframe=timeframe,
                    provenance=source.metadata.get("provenance", "file"),
                    calendar=told if calendar == "auto" else calendar,
                    history=tuple(source.metadata.get("history", ())),
                )
            )
            tables.append(table)
        sources.append(source)
    _refuse_mixture(pieces, files)
    rows = unite(tables)
    addition = Addition(
        rows=rows,
        provenance=pieces[0].provenance,
        calendar=_common_calendar(sources, pieces, rows.timestamp),
        calendar_named=None if calendar == "auto" else calendar,
        history=tuple(dict.fromkeys(line for bars in pieces for line in bars.history)),
        sources=tuple(map(_entry, sources)),
        place=partial(_place, tables),
    )
    written = stack.enter_context(store.adding(*names, addition))
    return ImportReport(
        written=written,
        files=len(files),
        files_with_checksum=sum(source.checked for source in sources),
        stamp_forms=tuple(sorted({table.stamp_form for table in tables})),
        columns_left_out=tuple(
            dict.fromkeys(name for table in tables for name in table.part.left_out)
        ),
    )


def _common_calendar(
    sources: Sequence[RawFile], pieces: Sequence[Bars], timestamp: IntArray
) -> str:
    """Return what all files tell, else what one piece says, or two weeks of several, which a few
    days each left open.
    """
    told = {source.metadata.get("calendar", "auto") for source in sources}
    if len(told) == 1 and "auto" not in told:
        return str(told.pop())
    if len(pieces) == 1 or timestamp[-1] - timestamp[0] < CALENDAR_SHOWS_MS:
        return pieces[0].calendar
    return infer_calendar(timestamp)


def _entry(source: RawFile) -> dict[str, Any]:
    return {
        "source": "file",
        "file": source.path.name,
        "sha256": source.sha256,
        "checksum_agreed": source.checked,
        "fetched_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _place(tables: Sequence[Table], at_ms: int) -> str:
    """Return where the bar of a moment stands in the files."""
    for table in tables:
        rows = np.flatnonzero(table.timestamp == at_ms)
        if len(rows):
            return f"{table.name}: {table.part.place(int(rows[0]))}"
    return utc_text(at_ms)


def _refuse_mixture(pieces: Sequence[Bars], files: Sequence[Path]) -> None:
    kinds = sorted({bars.provenance for bars in pieces})
    if len(kinds) > 1:
        raise BarsError(
            f"{files[0].parent}: files of {pieces[0].name} are {' and '.join(kinds)}; "
            "these are never mixed. Import them one by one, under different venues."
        )
