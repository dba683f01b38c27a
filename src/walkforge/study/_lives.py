"""Assets that come and go: who takes part for a time, whose end is final, and who is missed."""

from collections.abc import Collection, Mapping

from walkforge.base import parse_utc_ms, timeframe_ms
from walkforge.market import Asset, Bars, Universe

from ._bars import life_of, universe_of
from ._study import DataSection

# So long before the moment of its delisting may the last bar of a dead asset close: that moment is
# a day where nobody knows the hour, and a session market may have been closed.
_LAST_BAR_MS = {"24/7": 86_400_000, "session": 5 * 86_400_000}


def come_and_go(data: DataSection) -> bool:
    """Return whether assets take part for a time: while liquid, or until their bars end."""
    universe = universe_of(data)
    ends = universe is not None and any(asset.ends_ms is not None for asset in universe.assets)
    return data.most_liquid is not None or ends


def ended_for_good(data: DataSection, bars: Mapping[str, Bars]) -> set[str]:
    """Return the series whose asset was delisted where its bars end, so that none is to come.

    Bars that end earlier, or because the study does, end like all others.
    """
    universe = universe_of(data)
    if universe is None:
        return set()
    end_of = {asset.symbol: asset.delisted_ms for asset in universe.assets}
    cut_ms = None if data.end is None else parse_utc_ms(data.end)
    return {
        name
        for name, one in bars.items()
        if (end_ms := end_of.get(one.symbol)) is not None
        and (cut_ms is None or cut_ms >= end_ms)
        and _ends_at(one, end_ms)
    }


def _ends_at(bars: Bars, moment_ms: int) -> bool:
    """Return whether the last bar may well be the last one before a moment, ms UTC."""
    if len(bars) == 0:
        return False
    late_ms = max(timeframe_ms(bars.timeframe), _LAST_BAR_MS[bars.calendar])
    return bool(bars.timestamp[-1] < moment_ms <= bars.closes_at[-1] + late_ms)


def survivorship_told(data: DataSection, bars: Mapping[str, Bars], judged: Collection[str]) -> str:
    """Return in a line by what the choice of symbols knew the future; empty where it did not.

    `bars` were read, and of these the symbols `judged` have rows to be judged by.
    """
    universe = universe_of(data)
    there = {one.symbol for one in bars.values()}
    told = "" if universe is None else _missed(data, universe, there, judged)
    chosen = data.source == "folder" and data.most_symbols is not None and not data.symbols
    by_length = "data.most_symbols keeps what turned out to have the most bars" if chosen else ""
    words = " and ".join(part for part in (told, by_length) if part)
    return f"survivorship: {words}" if words else ""


def _missed(
    data: DataSection, universe: Universe, there: Collection[str], judged: Collection[str]
) -> str:
    """Return what is missed of the assets that died; empty where all are there, some judged."""
    dead = [asset for asset in universe.assets if asset.delisted_ms is not None]
    taken = [asset for asset in dead if asset.symbol in (data.symbols or (asset.symbol,))]
    lived = [asset for asset in taken if _lives_in(asset, data)]
    n_there, n_judged = (sum(one.symbol in some for one in lived) for some in (there, judged))
    if n_judged and n_there == len(lived):
        return ""
    if not dead:
        words = f"{universe.name} names nothing that was delisted"
    elif not taken:
        words = f"data.symbols takes none of the {len(dead)} delisted assets of {universe.name}"
    elif not lived:
        words = f"no delisted asset of {universe.name} was listed in the study's time"
    else:
        words = f"of {len(lived)} delisted assets {n_there} have bars"
        words += f" and {n_judged} are judged" if n_there else ""
    return f"{words}, so {'part of ' if n_judged else ''}its past is survivors'"


def _lives_in(asset: Asset, data: DataSection) -> bool:
    """Return whether an asset traded at any time of the study's range."""
    begin_ms, end_ms = life_of(asset, data)
    return begin_ms is None or end_ms is None or begin_ms < end_ms
