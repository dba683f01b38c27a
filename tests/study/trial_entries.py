"""Lines of a trial ledger, drawn by hand; as a program, a process that adds lines.

python trial_entries.py NAME N    adds N lines, one at a time
"""

from walkforge.study._trial_entries import Entry, TriedSeries

BITCOIN = {
    "venue": "binance",
    "symbol": "BTCUSDT",
    "timeframe": "1h",
    "digest": "d1",
    "provenance": "exchange",
    "first": "2023-01-01 00:00",
    "last": "2024-06-30 23:00",
    "tested": ("2024-01-01 00:00", "2024-07-01 00:00"),
}


def series(**changes):
    return TriedSeries(**BITCOIN | changes)


def entry(
    settings: str = "s1", *more: TriedSeries, seeds=(0,), folder="runs/a", **changes
) -> Entry:
    return Entry(
        when="2026-01-01 12:00:00",
        kind="run",
        folder=folder,
        name="drawn",
        settings=settings,
        seeds=seeds,
        series=more or (series(**changes),),
    )
