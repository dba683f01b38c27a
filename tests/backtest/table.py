"""Tables of intentions and instruments for tests."""

import polars as pl

from walkforge.market import Bars, Instrument


def venue(symbol: str = "TEST", **changes: float) -> Instrument:
    """Return an instrument that takes every order, unless told otherwise."""
    easy = {"tick_size": 0.01, "lot_step": 1e-6, "min_notional": 0.0}
    return Instrument(symbol, **{**easy, **changes})


def intentions(
    bars: Bars, sides: dict[int, int | str], **columns: list[float | None]
) -> pl.DataFrame:
    """Return one intention per row of `sides`; optional columns stand in the same order."""
    rows = list(sides)
    return pl.DataFrame(
        {
            "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
            "symbol": [bars.symbol] * len(rows),
            "side": list(sides.values()),
            **columns,
        },
        schema_overrides=dict.fromkeys(columns, pl.Float64),
    )
