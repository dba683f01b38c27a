"""Funding rates of perpetuals: what longs paid to shorts, and when.

They lie beside a symbol's bars, ROOT/VENUE/SYMBOL/funding.parquet, with the columns `timestamp`
(Datetime ms UTC) and `rate` (Float64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge.base import (
    BarsError,
    BoolArray,
    FloatArray,
    IntArray,
    atomic_path,
    digest_of_arrays,
    one_of,
    taking_turns,
    utc_text,
)

from ._bars import PROVENANCES
from ._frames import write_parquet
from ._metadata import read_metadata
from ._spans import Span, join_spans
from ._writing import common_provenance

FUNDING = "funding.parquet"

# A venue stamps a settlement some milliseconds late, and its archive and its API not always alike.
_SAME_MOMENT_MS = 1_000
# Rates are published with eight decimals; beyond that a difference is a conversion's.
_SAME_RATE = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """The funding rates of one symbol in time order; both arrays are (n,).

    Raises BarsError where stamps do not rise, lengths differ, or a rate is no fraction.
    """

    timestamp: IntArray
    """Moment of each settlement, ms UTC, rising."""
    rate: FloatArray
    """Fraction of the notional that longs pay to shorts; below 0 shorts pay."""
    provenance: str = "exchange"

    def __post_init__(self) -> None:
        one_of("provenance", self.provenance, PROVENANCES)
        if len(self.timestamp) != len(self.rate):
            raise BarsError(
                f"funding: {len(self.rate)} rates, expected {len(self.timestamp)}, one per stamp"
            )
        bad = ~(np.abs(self.rate) < 1.0)
        if bad.any():
            at = int(np.argmax(bad))
            raise BarsError(
                f"funding: the rate at {_moment(self.timestamp[at])} is {self.rate[at]}, expected "
                "a fraction of the notional such as 0.0001"
            )
        falling = np.diff(self.timestamp) <= 0
        if falling.any():
            at = int(np.argmax(falling)) + 1
            raise BarsError(
                f"funding: the rate at {_moment(self.timestamp[at])} does not come after the one "
                "before it"
            )

    def __len__(self) -> int:
        return len(self.timestamp)

    def between(self, from_ms: int | None, to_ms: int | None) -> Funding:
        """Return the rates settled in [from_ms, to_ms); None leaves a side open."""
        start = 0 if from_ms is None else int(np.searchsorted(self.timestamp, from_ms))
        stop = len(self) if to_ms is None else int(np.searchsorted(self.timestamp, to_ms))
        rows = slice(start, stop)
        return Funding(self.timestamp[rows], self.rate[rows], self.provenance)

    def digest(self) -> str:
        """Return the SHA-256 of stamps and rates."""
        return digest_of_arrays(self.timestamp, self.rate)


def funding_known_at(funding: Funding, moments_ms: IntArray) -> FloatArray:
    """Return for each moment (n,) in ms UTC the newest rate settled at or before it.

    NaN before the first. No later rate has a say.
    """
    at = np.searchsorted(funding.timestamp, moments_ms, side="right")
    return np.concatenate([[np.nan], funding.rate])[at]


def read_funding(symbol_folder: Path) -> Funding | None:
    """Return the rates that a symbol's folder keeps, None where it keeps none.

    Raises BarsError where the file is damaged or holds something else.
    """
    path = symbol_folder / FUNDING
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise BarsError(f"{path}: not a readable file of funding rates: {reason}") from None
    return _funding_of(frame, str(path), read_metadata(path).get("provenance", "file"))


def funding_asked(symbol_folder: Path, source: str) -> tuple[Span, ...]:
    """Return the spans that a source has answered for, whether anything was paid there or not."""
    return _asked(symbol_folder / FUNDING).get(source, ())


def _asked(path: Path) -> dict[str, tuple[Span, ...]]:
    told = read_metadata(path).get("asked", {}) if path.is_file() else {}
    return {name: join_spans(Span(*span) for span in spans) for name, spans in told.items()}


def write_funding(
    symbol_folder: Path,
    frame: pl.DataFrame,
    *,
    entry: dict[str, Any],
    asked: Sequence[Span] = (),
    provenance: str = "exchange",
    replaces: bool = False,
) -> int:
    """Add the rates of a frame (`timestamp`, `rate`) to a symbol's; return how many are new.

    A rate within a second of a stored one is that one, and keeps its stamp. Where the two differ,
    the new one is refused, or takes its place if `replaces`, and then counts as new. `entry` says
    where the rates came from; the file's metadata keeps it where there was anything new. `asked`
    is what that source has answered for; see `funding_asked`. The file is replaced at once. Raises
    BarsError, and changes nothing, for a contradiction, a frame that holds something else, a
    mixture of provenances, or a disk that refuses.
    """
    path = symbol_folder / FUNDING
    name = f"{symbol_folder.absolute().parent.name}/{symbol_folder.name}/funding"
    given = _funding_of(
        frame.sort("timestamp") if "timestamp" in frame else frame, name, provenance
    )
    try:
        with taking_turns(path, BarsError):
            stored = read_funding(symbol_folder)
            if stored is not None:
                provenance = common_provenance(name, stored.provenance, provenance)
            joined, n_new = _join(stored, given, provenance, replaces=replaces, name=name)
            source = entry.get("source", "")
            before = _asked(path)
            more = {source: join_spans([*before.get(source, ()), *asked])} if asked else {}
            answered = {**before, **more}
            if n_new or (stored is not None and answered != before):
                sources = [] if stored is None else read_metadata(path).get("sources", [])
                told = {
                    "provenance": provenance,
                    "sources": [*sources, *([entry] if n_new else [])],
                    "asked": answered,
                }
                with atomic_path(path) as temporary:
                    write_parquet(temporary, _frame_of(joined), told)
            return n_new
    except OSError as error:
        raise BarsError(f"{path}: cannot be written: {error.strerror or error}") from None


def _join(
    stored: Funding | None, given: Funding, provenance: str, *, replaces: bool, name: str
) -> tuple[Funding, int]:
    """Return all rates, and how many of them were not there, or not so."""
    old = given.between(None, 0) if stored is None else stored
    stamps = np.concatenate([old.timestamp, given.timestamp])
    rates = np.concatenate([old.rate, given.rate])
    is_new = np.arange(len(stamps)) >= len(old)
    # Settlements lie hours apart, so that whatever is closer together is one.
    in_time = np.argsort(stamps, kind="stable")
    moment = np.empty(len(stamps), dtype=np.int64)
    moment[in_time] = np.cumsum(np.diff(stamps[in_time], prepend=-(2**62)) > _SAME_MOMENT_MS) - 1
    order = np.lexsort((is_new, moment))  # what is stored stands first among its equals
    first = order[np.append(True, np.diff(moment[order]) > 0)] if len(order) else order
    last = order[np.append(np.diff(moment[order]) > 0, True)] if len(order) else order
    differs = np.abs(rates - rates[first][moment]) > _SAME_RATE
    if differs.any() and not replaces:
        raise _contradiction(name, stamps, rates, first[moment], differs)
    changed = np.zeros(len(first), dtype=np.bool_)
    changed[moment[differs]] = True
    kept = np.where(changed, rates[last], rates[first])
    return Funding(stamps[first], kept, provenance), int((is_new[first] | changed).sum())


def _contradiction(
    name: str, stamps: IntArray, rates: FloatArray, first: IntArray, differs: BoolArray
) -> BarsError:
    at = int(np.argmax(differs))
    before = first[at]
    return BarsError(
        f"{name}: the rate at {_moment(stamps[at])} is {rates[at]:g}, but there is "
        f"{rates[before]:g} already; {int(differs.sum())} rates differ. Take {FUNDING} away to "
        "fetch all of them again."
    )


def _funding_of(frame: pl.DataFrame, name: str, provenance: str) -> Funding:
    wanted = {"timestamp": pl.Datetime, "rate": pl.Float64}
    for column, kind in wanted.items():
        if column not in frame.columns or not isinstance(frame[column].dtype, kind):
            found = ", ".join(f"{key} {value}" for key, value in frame.schema.items())
            raise BarsError(
                f"{name}: columns {found or 'none'}; expected timestamp as times and rate as "
                "Float64"
            )
        if frame[column].null_count():
            raise BarsError(f"{name}: {frame[column].null_count()} cells of {column} are empty")
    try:
        stamps = frame["timestamp"].dt.epoch("ms").to_numpy()
        return Funding(stamps, frame["rate"].to_numpy(), provenance)
    except BarsError as error:
        raise BarsError(f"{name}: {str(error).removeprefix('funding: ')}") from None


def _frame_of(funding: Funding) -> pl.DataFrame:
    stamps = pl.Series(funding.timestamp).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame({"timestamp": stamps, "rate": funding.rate})


def _moment(stamp_ms: int) -> str:
    return utc_text(int(stamp_ms))
