"""Which series and spans the words of `data fetch` mean."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from walkforge.base import UsageError, listed, parse_when_ms, timeframe_ms, utc_text
from walkforge.market import BarStore, Span, read_universe, timeframes_in

if TYPE_CHECKING:
    from walkforge.market import Asset
    from walkforge.sources import Source

_DEFAULT_SINCE = "1y"
_DEFAULT_TIMEFRAME = "1h"
# Sources that are small enough to be meant whole.
_SMALL = ("sample", "files")


class Wishes:
    """What a user asked for."""

    def __init__(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[str],
        since: str | None,
        until: str | None,
        universe: str | None,
        update: bool,
    ) -> None:
        now_ms = int(time.time() * 1000)
        self._symbols, self._universe, self._update = list(symbols), universe, update
        self._since_ms = None if since is None else parse_when_ms(since, now_ms)
        self._usual_since_ms = parse_when_ms(_DEFAULT_SINCE, now_ms)
        self._end_ms = min(now_ms, parse_when_ms(until, now_ms) if until else now_ms)
        self._begins: dict[tuple[str, str], int] = {}
        self._timeframes = list(dict.fromkeys(timeframes))
        for timeframe in self._timeframes:
            timeframe_ms(timeframe)
        self._refuse_nonsense()

    def series(self, source: "Source", store: BarStore, watcher: Any) -> list[tuple[str, str]]:
        """Return (symbol, timeframe) of everything that is wished, symbols as stores name them."""
        if self._update:
            return self._stored(source, store)
        if self._universe is not None:
            names = self._listed(source, watcher)
        else:
            symbols = self._symbols or self._all_of(source)
            names = list(dict.fromkeys(source.name_of(symbol) for symbol in symbols))
        usual = "1d" if source.name == "sample" else _DEFAULT_TIMEFRAME
        timeframes = self._timeframes or [usual]
        return [(symbol, timeframe) for symbol in names for timeframe in timeframes]

    def span_at(self, source: "Source") -> Callable[[str, str], Span]:
        """Return what gives the span of a (symbol, timeframe) at a source."""
        # Of a few files all of them are meant; of an exchange's past as much as is usual.
        small = source.name in _SMALL
        since_ms = 0 if small else self._usual_since_ms

        def span(symbol: str, timeframe: str) -> Span:
            start_ms = since_ms if self._since_ms is None else self._since_ms
            # Of files those that are new are new, wherever their bars begin.
            if self._update and self._since_ms is None and source.name != "files":
                # From its beginning on: what failed in the middle is missing as well.
                start_ms = self._begins.get((symbol, timeframe), start_ms)
            asset = self._life.get(symbol)
            listed_ms = None if asset is None else asset.listed_ms
            ends_ms = None if asset is None else asset.ends_ms
            start_ms = max(start_ms, listed_ms or start_ms)
            return Span(start_ms, max(start_ms, min(self._end_ms, ends_ms or self._end_ms)))

        return span

    def _refuse_nonsense(self) -> None:
        since_ms = self._usual_since_ms if self._since_ms is None else self._since_ms
        if since_ms >= self._end_ms and not (self._update and self._since_ms is None):
            usual = f", {_DEFAULT_SINCE} before now" if self._since_ms is None else ""
            raise UsageError(
                f"--since {utc_text(since_ms)}{usual}, does not lie before --until "
                f"{utc_text(self._end_ms)}"
            )
        if self._universe is not None and self._symbols:
            raise UsageError("name symbols or a --universe, not both")

    @cached_property
    def _life(self) -> dict[str, "Asset"]:
        if self._universe is None:
            return {}
        return {asset.symbol: asset for asset in read_universe(self._universe).assets}

    def _assets(self, source: "Source", watcher: Any) -> list["Asset"]:
        """Return the universe's assets at the source's venue, spot or not."""
        every = list(self._life.values())
        venue = source.venue.split("_")[0]
        here = [asset for asset in every if asset.venue.split("_")[0] == venue]
        if not here:
            venues = ", ".join(sorted({asset.venue for asset in every}))
            raise UsageError(
                f"{self._universe}: no asset at {source.venue}; its venues are {venues}"
            )
        if len(here) < len(every):
            watcher.note(f"assets of other venues, left out: {len(every) - len(here)}")
        return here

    def _listed(self, source: "Source", watcher: Any) -> list[str]:
        """Return the universe's symbols that the source lists; the others are told."""
        source.listings()  # all at once, where each would be a question of its own
        since_ms = self._usual_since_ms if self._since_ms is None else self._since_ms
        names, strange = [], []
        assets = self._assets(source, watcher)
        for asset in assets:
            if _is_before(asset.ends_ms, since_ms):
                continue
            try:
                names.append(source.name_of(asset.symbol))
            except UsageError:
                strange.append(asset.symbol)
        before = f"before --since {utc_text(since_ms)}, left out"
        if delisted := [a.symbol for a in assets if _is_before(a.delisted_ms, since_ms)]:
            watcher.note(f"delisted {before}: {listed(delisted)}; without them these are survivors")
        if renamed := [a.symbol for a in assets if _is_before(a.renamed_ms, since_ms)]:
            watcher.note(f"renamed {before}: {listed(renamed)}")
        if strange:
            watcher.note(f"{source.name} does not list {listed(strange)}: left out")
        if not names:
            raise UsageError(f"{self._universe}: {source.name} lists none of its symbols")
        return names

    def _stored(self, source: "Source", store: BarStore) -> list[tuple[str, str]]:
        """Return the stored series that are meant; of a damaged one the plan says what it is."""
        wanted = {source.name_of(symbol) for symbol in self._symbols} | set(self._life)
        stored = [
            (folder.name, timeframe)
            for folder in sorted(store.root.glob(f"{source.venue}/*"))
            for timeframe in timeframes_in(folder)
        ]
        here = [
            (symbol, timeframe)
            for symbol, timeframe in stored
            if (not wanted or symbol in wanted)
            and (not self._timeframes or timeframe in self._timeframes)
        ]
        if stored and not here:
            raise UsageError(
                f"{store.root}: none of the stored series of {source.venue} is meant; there are "
                f"{listed(['/'.join(names) for names in stored])}"
            )
        if not here:
            venues = sorted({one.venue for one in store.list(damaged=[])})
            raise UsageError(
                f"{store.root}: no stored series of {source.venue} to bring up to date; there are "
                f"{listed(venues) or 'none'} (perpetuals need --market perpetual)"
            )
        whole = store.list(source.venue, damaged=[])
        self._begins = {(one.symbol, one.timeframe): one.first_ms for one in whole}
        return here

    def _all_of(self, source: "Source") -> list[str]:
        """Return all symbols of a source that is small enough to be meant whole."""
        if source.name in _SMALL:
            return [listing.symbol for listing in source.listings()]
        raise UsageError("name the symbols, such as BTCUSDT, or a --universe, or say --update")


def _is_before(end_ms: int | None, moment_ms: int) -> bool:
    return end_ms is not None and end_ms <= moment_ms
