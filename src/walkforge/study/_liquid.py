"""Which symbols of a study take part when: those that were traded most by what was known then."""

from collections.abc import Mapping
from typing import Any

from walkforge import market
from walkforge.base import IntArray, StudyError, utc_text
from walkforge.market import Bars, Membership

from ._study import DataSection


def members_of(data: DataSection, bars: Mapping[str, Bars]) -> Membership | None:
    """Return who takes part when, by the volume of the first timeframe's bars; None where all do.

    Raises StudyError where nobody ever does.
    """
    if data.most_liquid is None:
        return None
    first = {one.symbol: one for one in bars.values() if one.timeframe == data.timeframe}
    members = market.membership(first, most=data.most_liquid, lookback_days=data.liquid_days)
    if not any(members.members):
        raise StudyError(
            f"data.most_liquid: no symbol has volume on half of the {data.liquid_days} days before "
            "the first of any month; bring more bars, with volume, or lower data.liquid_days"
        )
    return members


def decisions_told(decided_at: IntArray) -> dict[str, Any]:
    """Return how many moments of decision (n,), ms UTC, there are, and the first and last."""
    first, last = (utc_text(int(decided_at[k])) if len(decided_at) else None for k in (0, -1))
    return {"decisions": len(decided_at), "first": first, "last": last}
