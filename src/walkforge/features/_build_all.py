"""Bars of many symbols to one table of features: from the cache, or computed side by side."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from walkforge.base import FeatureError
from walkforge.market import Bars

from ._build import FeatureTable, compute, table_of
from ._cache import cache_folder, entry_name, limit_bytes, make_room, read_entry, write_entry
from ._helpers import Helpers, n_helpers
from ._sets import FeatureSet, feature_set

# Fewer rows are computed in less than 30 ms; storing and finding them again would take as long.
LEAST_CACHED_ROWS = 50_000

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTables:
    """Features of several symbols, one after the other: `values` (N, F) float32."""

    columns: tuple[str, ...]
    values: NDArray[np.float32]
    first_row: dict[str, int]
    """Where each symbol begins in `values`."""
    by_symbol: dict[str, FeatureTable]
    """What `build` gives for each symbol; its values are a view into `values`."""


def build_all(
    bars: Mapping[str, Bars],
    set_name: str,
    *,
    cached: bool = True,
    note: Note | None = None,
) -> FeatureTables:
    """Return the features of every symbol's bars, bit for bit what `build` gives for each.

    Tables that were computed before are read from the cache (`cache_state` says where), others
    are computed, on several cores where that pays, and stored. Trouble with the cache costs
    time, never the result; `note` is told in a line, as it is told what came from where.
    Raises UsageError for an unknown set and FeatureError for a value that is not finite.
    """
    wanted = feature_set(set_name)
    lengths = [len(one) for one in bars.values()]
    starts = np.cumsum([0, *lengths])
    values = np.zeros((int(starts[-1]), len(wanted.columns)), dtype=np.float32)
    first_row = {symbol: int(start) for symbol, start in zip(bars, starts, strict=False)}
    jobs = [
        _Job(one, wanted, values[start : start + len(one)])
        for one, start in zip(bars.values(), first_row.values(), strict=True)
    ]
    _fill_all(jobs, cached=cached, note=note or (lambda text: None))
    tables = {s: table_of(job.values, job.bars, wanted) for s, job in zip(bars, jobs, strict=True)}
    return FeatureTables(wanted.names, values, first_row, tables)


@dataclass(slots=True, eq=False)
class _Job:
    """One symbol's bars, and the place (n, F) in the table that its features belong into."""

    bars: Bars
    wanted: FeatureSet
    values: NDArray[np.float32]
    entry: Path | None = None
    """Where the cache has it, or will have it."""


def _fill_all(jobs: list[_Job], *, cached: bool, note: Note) -> None:
    started = time.perf_counter()
    if cached:
        _assign_entries(jobs, note)
    missing = [job for job in jobs if not _read(job, note)]
    if n_read := len(jobs) - len(missing):
        note(f"features: {n_read} of {len(jobs)} tables from the cache in {cache_folder()}")
    if missing:
        n_processes = _compute_all(missing, note)
        seconds, cores = time.perf_counter() - started, "core" if n_processes == 1 else "cores"
        note(f"features: {len(missing)} computed in {seconds:.1f} s on {n_processes} {cores}")


def _compute_all(missing: list[_Job], note: Note) -> int:
    """Compute and store what is missing, and return by how many processes."""
    keeps = _make_room(missing, note)
    n_processes = n_helpers([len(job.bars) for job in missing])
    # The longest first, so that no helper is left alone with a long one at the end.
    missing = sorted(missing, key=lambda job: len(job.bars), reverse=True)
    computed = (
        _computed(missing) if n_processes == 1 else _computed_by_helpers(missing, n_processes)
    )
    for job in computed:
        keeps = keeps and _store(job, note)
    return n_processes


def _computed(jobs: list[_Job]) -> Iterator[_Job]:
    """Yield the jobs as they are done."""
    for job in jobs:
        compute(job.values, job.bars, job.wanted)
        yield job


def _computed_by_helpers(jobs: list[_Job], n_processes: int) -> Iterator[_Job]:
    """Yield the jobs as they are done, those that a helper fails at by this process."""
    most_bars = max(len(job.bars) for job in jobs)
    with Helpers(n_processes, jobs[0].wanted.name, most_bars) as helpers:
        pool = ThreadPoolExecutor(n_processes)
        try:
            done = [pool.submit(helpers.compute, job.values, job.bars) for job in jobs]
            for job, result in zip(jobs, done, strict=True):
                yield from [job] if result.result() else _computed([job])
        finally:
            pool.shutdown(cancel_futures=True)


def _assign_entries(jobs: list[_Job], note: Note) -> None:
    """Give every table that is worth it a place in the cache, if all of them fit into it."""
    limit = limit_bytes()
    worth = [job for job in jobs if len(job.bars) >= LEAST_CACHED_ROWS]
    n_bytes = sum(job.values.nbytes for job in worth)
    if n_bytes > limit:
        # The last would push out the first, and the next run would find none of them.
        if limit:
            note(
                f"features: {n_bytes / 2**30:.1f} GiB do not fit the cache of "
                f"{limit / 2**30:.1f} GiB and are not kept; set WALKFORGE_CACHE_GIB to keep them"
            )
        return
    folder = cache_folder()
    for job in worth:
        job.entry = folder / entry_name(job.bars, job.wanted.name)


def _read(job: _Job, note: Note) -> bool:
    """Read a table from the cache; False where there is none, or where it is not whole."""
    if job.entry is None:
        return False
    try:
        read_entry(job.entry, job.values)
    except FileNotFoundError:
        return False
    except (FeatureError, OSError) as error:
        note(f"features: computed again, because the cache cannot be used ({error})")
        job.values[:] = 0.0
        return False
    return True


def _make_room(jobs: list[_Job], note: Note) -> bool:
    """Make room for the tables that will be stored; False where nothing can be."""
    n_bytes = sum(job.values.nbytes for job in jobs if job.entry is not None)
    try:
        if n_bytes:
            make_room(cache_folder(), n_bytes)
    except OSError as error:
        return _not_kept(error, note)
    return True


def _store(job: _Job, note: Note) -> bool:
    try:
        if job.entry is not None:
            write_entry(job.entry, job.values)
    except OSError as error:
        return _not_kept(error, note)
    return True


def _not_kept(error: OSError, note: Note) -> bool:
    note(f"features: not kept for the next run, because the cache cannot be written ({error})")
    return False
