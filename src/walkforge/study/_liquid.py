"""Which symbols of a study take part when: those that were traded most by what was known then."""

from collections.abc import Mapping
from typing import Any

from walkforge import market
from walkforge.base import IntArray, StudyError, listed, utc_text
from walkforge.market import Bars, Membership

from ._bars import universe_of
from ._study import DataSection


def members_of(data: DataSection, bars: Mapping[str, Bars]) -> Membership | None:
    """Return who takes part when, by the volume of the first timeframe's bars; None where all do.

    Raises StudyError where nobody ever does, or where each series has newest bars of its own.
    """
    if data.most_liquid is None:
        return None
    if data.newest_bars is not None:
        raise StudyError(
            f"data.newest_bars is {data.newest_bars} beside data.most_liquid: the newest bars of a "
            "symbol that died lie where the others have none, so volumes would not compare; use "
            "data.start"
        )
    first = {one.symbol: one for one in bars.values() if one.timeframe == data.timeframe}
    members = market.membership(first, most=data.most_liquid, lookback_days=data.liquid_days)
    if not any(members.members):
        raise StudyError(
            f"data.most_liquid: no symbol has volume on half of the {data.liquid_days} days before "
            "the first of any month; bring more bars, with volume, or lower data.liquid_days"
        )
    return members


def currencies_told(data: DataSection, bars: Mapping[str, Bars]) -> str:
    """Return in a line that volumes of several currencies are compared; empty where they are not.

    Currencies are those that the study's universe tells.
    """
    universe = universe_of(data)
    if data.most_liquid is None or universe is None:
        return ""
    there = {one.symbol for one in bars.values()}
    found = sorted({asset.currency for asset in universe.assets if asset.symbol in there})
    if len(found) < 2:
        return ""
    return (
        f"data.most_liquid compares volumes in {listed(found)} as if they were one currency; a "
        "universe of one compares what is alike"
    )


def decisions_told(decided_at: IntArray) -> dict[str, Any]:
    """Return how many moments of decision (n,), ms UTC, there are, and the first and last."""
    first, last = (utc_text(int(decided_at[k])) if len(decided_at) else None for k in (0, -1))
    return {"decisions": len(decided_at), "first": first, "last": last}
