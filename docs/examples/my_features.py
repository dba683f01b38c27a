"""Five features of one's own. Row t may use bar t and the bars before it, nothing later."""

import numpy as np
import polars as pl


def make(bars):
    """Return a column per name, one value per bar, NaN where there are too few bars before."""
    table = pl.DataFrame({"high": bars.high, "low": bars.low, "close": bars.close})
    change = pl.col("close").log().diff()
    range_20 = pl.col("high").rolling_max(20) - pl.col("low").rolling_min(20)
    made = table.select(
        change_1=change,
        trend_50=pl.col("close") / pl.col("close").rolling_mean(50) - 1.0,
        place_20=(pl.col("close") - pl.col("low").rolling_min(20)) / range_20,
        unrest=change.pow(2).ewm_mean(half_life=10, ignore_nulls=True).sqrt(),
    )
    # A market that stood still for 20 bars has no range to have a place in.
    place = made["place_20"].fill_nan(0.5)
    hour = (bars.timestamp // 3_600_000) % 24
    return {
        "change_1": made["change_1"],
        "trend_50": made["trend_50"],
        "place_20": place,
        "unrest": made["unrest"],
        "hour_sin": np.sin(2.0 * np.pi * hour / 24.0),
    }
