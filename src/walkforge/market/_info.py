"""What a run tells about the bars it was given."""

from __future__ import annotations

from typing import Any

from walkforge.base import timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import holes_in

_SHOWN_HOLES = 20


def data_info(bars: Bars) -> dict[str, Any]:
    """Return the plain facts of a series: rows, span, holes, repairs, digest and provenance.

    `holes.missing_bars` is exact in a 24/7 market and an estimate in a session market (weekdays
    only, holidays not known). `holes.largest` names up to 20.
    """
    holes = holes_in(bars.timestamp, timeframe_ms(bars.timeframe), bars.calendar)
    largest = sorted(holes, key=lambda hole: -hole.missing_bars)[:_SHOWN_HOLES]
    return {
        "venue": bars.venue,
        "symbol": bars.symbol,
        "timeframe": bars.timeframe,
        "rows": len(bars),
        "first": utc_text(int(bars.timestamp[0])) if len(bars) else None,
        "last": utc_text(int(bars.timestamp[-1])) if len(bars) else None,
        "segments": len(bars.segments),
        "holes": {
            "count": len(holes),
            "missing_bars": sum(hole.missing_bars for hole in holes),
            "estimated": bars.calendar != "24/7",
            "largest": [hole.as_dict() for hole in largest],
        },
        "repairs": list(bars.history),
        "provenance": bars.provenance,
        "calendar": bars.calendar,
        "digest": bars.digest(),
    }
