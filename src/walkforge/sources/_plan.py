"""What a fetch would bring: of every series the spans that are missing, and the pieces for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from walkforge.base import (
    SourceUnreachableError,
    UsageError,
    WalkforgeError,
    timeframe_ms,
    utc_text,
)
from walkforge.market import BarStore, Span, spans_left, timeframes_in

from ._grid import open_ms
from ._source import OneTimeframeSource, Piece, Source
from ._waits import result_of


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesPlan:
    """What is to be fetched of one series."""

    symbol: str
    timeframe: str
    wanted: Span
    missing: tuple[Span, ...] = ()
    pieces: tuple[Piece, ...] = ()
    first_ms: int | None = None
    """Opening time of the source's first bar, where it had to be asked for."""
    problem: str = ""
    """Why nothing can be fetched of it; the other series do not mind."""

    @property
    def name(self) -> str:
        """Return `SYMBOL/timeframe`."""
        return f"{self.symbol}/{self.timeframe}"

    @property
    def size_bytes(self) -> int | None:
        """Return what comes over the wire; None where the source does not tell before."""
        sizes = [piece.size_bytes for piece in self.pieces]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def summary(self) -> str:
        """Return one line for a terminal."""
        if self.problem:
            return f"{self.name}: {self.problem}"
        if not self.pieces:
            return f"{self.name}: nothing to fetch up to {utc_text(self.wanted.end_ms)}"
        start_ms = min(piece.span.start_ms for piece in self.pieces)
        end_ms = max(piece.span.end_ms for piece in self.pieces)
        anew = sum(piece.replaces for piece in self.pieces)
        words = [f"{len(self.pieces)} {'piece' if len(self.pieces) == 1 else 'pieces'}"]
        words += [f"{self.size_bytes / 1e6:.1f} MB"] if self.size_bytes else []
        words += [f"{anew} issued anew"] if anew else []
        span = f"{utc_text(start_ms)} to {utc_text(end_ms)}"
        return f"{self.name}: {span}, {', '.join(words)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return {
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "from": utc_text(self.wanted.start_ms),
            "to": utc_text(self.wanted.end_ms),
            "missing": [[utc_text(start), utc_text(end)] for start, end in self.missing],
            "pieces": [piece.name for piece in self.pieces],
            "problem": self.problem,
            "size_bytes": self.size_bytes,
        }


def make_plan(
    source: Source,
    store: BarStore,
    series: Sequence[tuple[str, str]],
    wanted: Callable[[str, str], Span],
    *,
    told: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[SeriesPlan]:
    """Return what is missing of each (symbol, timeframe), in their order.

    `wanted` gives the span of a series; `told` hears of progress. A series that the source does
    not have, or that cannot be read, has a `problem`. Raises SourceUnreachableError where the
    source cannot be asked at all.
    """

    def plan_one(symbol: str, timeframe: str) -> SeriesPlan:
        _refuse_second_timeframe(source, store, series, symbol, timeframe)
        return _plan_one(source, store, symbol, timeframe, wanted(symbol, timeframe))

    return _each(source, series, plan_one, told)


def plan_repairs(
    source: Source,
    store: BarStore,
    series: Sequence[tuple[str, str]],
    *,
    told: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[SeriesPlan]:
    """Return what to fetch so that the holes of stored (symbol, timeframe) close.

    What was answered for before is asked for again, but no file in the version that is stored: a
    source may know now what it did not know then. Raises as `make_plan`.
    """

    def plan_one(symbol: str, timeframe: str) -> SeriesPlan:
        holes = store.holes(source.venue, symbol, timeframe)
        wanted = Span(holes[0].start_ms, holes[-1].end_ms) if holes else Span(0, 0)
        return _with_pieces(source, store, SeriesPlan(
            symbol=symbol, timeframe=timeframe, wanted=wanted, missing=holes))  # fmt: skip

    return _each(source, series, plan_one, told)


def _each(
    source: Source,
    series: Sequence[tuple[str, str]],
    plan_one: Callable[[str, str], SeriesPlan],
    told: Callable[[int, int, str], None],
) -> list[SeriesPlan]:
    """Return a plan of every series in order; several are asked for at a time."""

    def plan(names: tuple[str, str]) -> SeriesPlan:
        try:
            return plan_one(*names)
        except SourceUnreachableError:
            raise
        except WalkforgeError as error:
            symbol, timeframe = names
            nothing = Span(0, 0)
            return SeriesPlan(
                symbol=symbol, timeframe=timeframe, wanted=nothing, problem=str(error)
            )

    pool = ThreadPoolExecutor(source.connections, thread_name_prefix="plan")
    try:
        plans = []
        for number, asked in enumerate([pool.submit(plan, names) for names in series]):
            plans.append(result_of(asked))
            told(number, len(series), plans[-1].name)
        return plans
    except BaseException:
        source.close()  # ends the questions under way, which nobody waits for any more
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_second_timeframe(
    source: Source,
    store: BarStore,
    series: Sequence[tuple[str, str]],
    symbol: str,
    timeframe: str,
) -> None:
    """Raise UsageError for a new series where the source has a symbol at one timeframe only."""
    names = (source.venue, symbol, timeframe)
    if not isinstance(source, OneTimeframeSource) or store.holds(*names):
        return
    asked = {other for name, other in series if name == symbol and other != timeframe}
    others = asked | set(timeframes_in(store.path(*names).parent))
    source.refuse_beside(symbol, timeframe, sorted(others, key=timeframe_ms))


def _plan_one(
    source: Source, store: BarStore, symbol: str, timeframe: str, wanted: Span
) -> SeriesPlan:
    wanted = _whole_bars(wanted, timeframe)
    had = store.covered(source.venue, symbol, timeframe, wanted, source.name)
    missing = spans_left([wanted], had)
    first_ms = None
    if missing and (not had or missing[0].start_ms < had[0].start_ms):
        first_ms = source.first_ms(symbol, timeframe)
    plan = SeriesPlan(
        symbol=symbol, timeframe=timeframe, wanted=wanted, missing=missing, first_ms=first_ms
    )
    return _with_pieces(source, store, plan)


def _with_pieces(source: Source, store: BarStore, plan: SeriesPlan) -> SeriesPlan:
    """Return the plan with what would fill what is missing, and what was issued anew."""
    names = (source.venue, plan.symbol, plan.timeframe)
    manifest = store.manifest(*names)
    files = {} if manifest is None else manifest.files_of(source.name)
    if isinstance(source, OneTimeframeSource) and not files and store.holds(*names):
        raise UsageError(
            f"{'/'.join(names)}: bars that no fetch made, so nobody knows by which law they go on; "
            "fetch another symbol"
        )
    pieces = source.pieces(
        plan.symbol, plan.timeframe, wanted=plan.wanted, missing=plan.missing, files=files
    )
    return replace(plan, pieces=tuple(pieces))


def _whole_bars(span: Span, timeframe: str) -> Span:
    """Return the span without a last bar that cannot be over yet."""
    return Span(span.start_ms, max(span.start_ms, open_ms(span.end_ms, timeframe)))
