"""Fetching what a plan names, several pieces at once, into the store.

Whatever came is stored every few seconds, so that a fetch that is interrupted, killed or left by
its source loses little, and the next one goes on where it stopped.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from walkforge.base import (
    BarsError,
    FetchError,
    SourceUnreachableError,
    WalkforgeError,
    utc_text,
)
from walkforge.market import BarStore, WriteReport

from ._arrivals import Arrivals, refuse_odd_bars
from ._plan import SeriesPlan
from ._report import FailedPiece, FetchedSeries, FetchReport
from ._source import Delivery, Piece, Source

# Often enough that a kill loses little, seldom enough that a month is not written thirty times.
_STORE_EVERY_S = 5.0
# Pieces that wait for each connection, so that none is idle while others are stored; more would
# only take memory.
_WAITING_PIECES = 3
# What a disk says to one series it says to all.
_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class FetchWatcher(Protocol):
    """Hears how a fetch goes on, in the thread that called `fetch`."""

    def planned(self, plans: Sequence[SeriesPlan]) -> None:
        """Hear what will be fetched."""

    def fetched(self, plan: SeriesPlan, piece: Piece, received_bytes: int) -> None:
        """Hear that a piece has come."""

    def failed(self, plan: SeriesPlan, piece: Piece, error: Exception) -> None:
        """Hear that a piece has not come, whatever was tried."""

    def stored(self, plan: SeriesPlan, report: WriteReport) -> None:
        """Hear that bars are part of the store."""


class _Silent:
    """Hears everything and says nothing."""

    def planned(self, plans: Sequence[SeriesPlan]) -> None:
        """Say nothing."""

    def fetched(self, plan: SeriesPlan, piece: Piece, received_bytes: int) -> None:
        """Say nothing."""

    def failed(self, plan: SeriesPlan, piece: Piece, error: Exception) -> None:
        """Say nothing."""

    def stored(self, plan: SeriesPlan, report: WriteReport) -> None:
        """Say nothing."""


def fetch(
    source: Source,
    store: BarStore,
    plans: Sequence[SeriesPlan],
    *,
    watcher: FetchWatcher | None = None,
) -> FetchReport:
    """Fetch the pieces of all plans and add them to the store; return what came and what did not.

    A piece that fails is told and left out; the others go on, unless the source cannot be
    reached at all. Bars that differ from stored ones are passed over and counted, unless their
    file was issued anew. Ctrl-C stores what has come, and then ends.

    A series of which the store holds nothing afterwards is told as one that failed.

    Raises BarsError where the store cannot be written.
    """
    return _Fetch(source, store, plans, watcher or _Silent()).run()


def _none_there(plan: SeriesPlan) -> str:
    (start_ms, end_ms), first_ms = plan.wanted, plan.first_ms
    begins = ""
    if first_ms is not None and not start_ms <= first_ms < end_ms:
        begins = f"; its bars begin {utc_text(first_ms)}"
    return f"no bars from {utc_text(start_ms)} to {utc_text(end_ms)}{begins}. Ask for another span."


@dataclass(frozen=True, slots=True)
class _Job:
    arrivals: Arrivals
    piece: Piece


class _Fetch:
    def __init__(
        self, source: Source, store: BarStore, plans: Sequence[SeriesPlan], watcher: FetchWatcher
    ) -> None:
        self._source, self._watcher, self._plans = source, watcher, plans
        self._held = store
        self._arrivals = [Arrivals(source, store, plan) for plan in plans]
        self._report = FetchReport({plan.name: FetchedSeries(plan.name) for plan in plans})
        self._halt = Event()

    def run(self) -> FetchReport:
        self._watcher.planned(self._plans)
        for plan in self._plans:
            self._look_at(plan)
        pool = ThreadPoolExecutor(self._source.connections, thread_name_prefix="fetch")
        try:
            self._fetch_all(pool)
        except BaseException:
            self._halt.set()
            # Ends the downloads under way, which nobody waits for any more.
            self._source.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            self._store(self._arrivals)
        for one in self._arrivals:
            self._tell_held_back(one)
            self._look_back_at(one.plan)
        return self._report

    def _look_at(self, plan: SeriesPlan) -> None:
        """Say of a series that brings nothing why it does."""
        if plan.problem:
            self._report.series[plan.name].nothing = "nothing asked for"
            self._report.failed.append(FailedPiece(plan.name, "", plan.problem))
        elif plan.missing and not plan.pieces:
            lacks = f"{self._source.name} has none of the bars that are missing"
            self._report.series[plan.name].nothing = lacks

    def _look_back_at(self, plan: SeriesPlan) -> None:
        """Say of a series of which nothing is stored that there is nothing, if that is why."""
        stopped = self._report.stopped is not None and plan.pieces
        told = stopped or plan.name in {one.series for one in self._report.failed}
        stored = self._held.holds(self._source.venue, plan.symbol, plan.timeframe)
        if plan.missing and not stored and not told:
            self._report.failed.append(FailedPiece(plan.name, "", _none_there(plan)))

    def _tell_held_back(self, arrivals: Arrivals) -> None:
        """Name what came and waits for what did not; where the fetch stopped, that says it."""
        if self._report.stopped is not None:
            return
        for piece, before in arrivals.held_back():
            reason = (
                f"{piece.name}: came, but it goes over {before.name}, which is not stored; it "
                "comes again with that one, or once that one is gone"
            )
            self._report.failed.append(FailedPiece(arrivals.plan.name, piece.name, reason))

    def _fetch_all(self, pool: ThreadPoolExecutor) -> None:
        """Keep all connections busy, and store what has come every few seconds."""
        waiting = iter([_Job(a, piece) for a in self._arrivals for piece in a.plan.pieces])
        running: dict[Future[Delivery], _Job] = {}
        stored_at = time.monotonic()
        while True:
            self._start(pool, waiting, running)
            if not running:
                return
            done, _ = wait(running, timeout=_STORE_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                self._take(job, future)
                if job.arrivals.complete:
                    self._store([job.arrivals])
            if time.monotonic() - stored_at > _STORE_EVERY_S:
                self._store(self._arrivals)
                stored_at = time.monotonic()

    def _start(
        self,
        pool: ThreadPoolExecutor,
        waiting: Iterator[_Job],
        running: dict[Future[Delivery], _Job],
    ) -> None:
        """Submit a few pieces more than there are connections, as long as nothing halts."""
        most = self._source.connections * (1 + _WAITING_PIECES)
        while len(running) < most and not self._halt.is_set():
            job = next(waiting, None)
            if job is None:
                return
            running[pool.submit(self._deliver, job.piece)] = job

    def _deliver(self, piece: Piece) -> Delivery:
        """Fetch one piece and look at its bars; runs in a thread of its own."""
        if self._halt.is_set():
            raise FetchError(f"{self._source.name}: {piece.name}: not fetched any more")
        delivery = self._source.fetch(piece, self._halt)
        refuse_odd_bars(self._source, delivery)
        return delivery

    def _take(self, job: _Job, future: Future[Delivery]) -> None:
        plan = job.arrivals.plan
        try:
            delivery = future.result()
        except WalkforgeError as error:
            job.arrivals.take(job.piece, None)
            self._fail(plan, job.piece, error)
            return
        job.arrivals.take(job.piece, delivery)
        by_itself = {piece.name for piece in plan.pieces}
        for part, reason in delivery.failed.items():
            if part not in by_itself:  # else it says itself whether it came
                self._report.failed.append(FailedPiece(plan.name, part, reason))
        series = self._report.series[plan.name]
        series.pieces += 1
        series.received_bytes += delivery.received_bytes
        self._watcher.fetched(plan, job.piece, delivery.received_bytes)

    def _fail(self, plan: SeriesPlan, piece: Piece, error: Exception) -> None:
        if self._report.stopped is not None:
            return  # one line says why nothing more comes; the pieces are not at fault
        if isinstance(error, SourceUnreachableError):
            self._report.stopped = str(error)
            self._halt.set()
            return
        self._report.failed.append(FailedPiece(plan.name, piece.name, str(error)))
        self._watcher.failed(plan, piece, error)

    def _store(self, arrivals: Sequence[Arrivals]) -> None:
        for one in arrivals:
            series = self._report.series[one.plan.name]
            for report in one.store():
                if isinstance(report, BarsError):
                    self._refused(one.plan, report)
                    continue
                series.rows_new += report.rows_new
                series.rows_differing += report.rows_differing
                series.rows_taken_away += report.rows_taken_away
                series.rows_differing += one.differing
                one.differing = 0
                series.written = report
                self._watcher.stored(one.plan, report)

    def _refused(self, plan: SeriesPlan, error: BarsError) -> None:
        if getattr(error.__cause__, "errno", None) in _DISK_REFUSES:
            raise error
        failed = FailedPiece(plan.name, "", str(error))
        if failed not in self._report.failed:  # as it would be of every few pieces
            self._report.failed.append(failed)
