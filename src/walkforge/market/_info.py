"""What a run tells about the bars it was given."""

from __future__ import annotations

from typing import Any

import numpy as np

from walkforge.base import timeframe_ms, utc_text

from ._bars import Bars
from ._calendar import holes_in
from ._coverage import close_shortest
from ._spans import spans_of_bars

_SHOWN_HOLES = 20
# A series of minutes may have thousands of holes; a picture shows no more than these.
_MOST_SPANS = 200


def data_info(bars: Bars) -> dict[str, Any]:
    """Return the plain facts of a series: rows, spans, holes, repairs, digest and provenance.

    `holes.missing_bars` is exact in a 24/7 market and an estimate in a session market (weekdays
    only, holidays not known). `holes.largest` names up to 20. `spans` tells the first and the
    last bar of every stretch without a hole, of 200 at most: `spans_joined` is the number of
    holes, the shortest, that it leaves out.
    """
    step_ms = timeframe_ms(bars.timeframe)
    holes = holes_in(bars.timestamp, step_ms, bars.calendar)
    largest = sorted(holes, key=lambda hole: -hole.missing_bars)[:_SHOWN_HOLES]
    segments = spans_of_bars(bars.timestamp, np.diff(bars.segment, prepend=0) > 0, step_ms)
    spans, n_joined = close_shortest(segments, _MOST_SPANS)
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
        "spans": [[utc_text(start), utc_text(end - step_ms)] for start, end in spans],
        "spans_joined": n_joined,
        "repairs": list(bars.history),
        "provenance": bars.provenance,
        "calendar": bars.calendar,
        "digest": bars.digest(),
    }
