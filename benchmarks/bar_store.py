"""One symbol's month out of a store of 100 million minute bars.

    python benchmarks/bar_store.py [--quick]

Beside the store stands what a user would otherwise keep: one Parquet file per symbol, filtered by
Polars. All sides run in this process in turns; medians. Four symbols are written, the others are
links to their parts: as many files, names and rows, on a disk that need not be large.
"""

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from _side_by_side import hardware, in_turns, in_words, table

from walkforge.base import parse_utc_ms, write_json
from walkforge.market import Addition, BarStore, Rows, bars_to_frame, read_folder

MINUTE_MS = 60_000
START_MS, END_MS = parse_utc_ms("2022-06-01"), parse_utc_ms("2022-07-01")
VENUE, SYMBOL = "bench", "S002"


def main() -> None:
    """Build, check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four symbols, three rounds")
    n_symbols, rounds = (4, 3) if parser.parse_args().quick else (40, 15)
    with tempfile.TemporaryDirectory() as folder:
        store = build(Path(folder) / "store", n_symbols)
        one_file = Path(folder) / "one.parquet"
        bars_to_frame(store.read(VENUE, SYMBOL, "1m")).write_parquet(one_file, compression="zstd")
        measure(store, one_file, rounds)


def measure(store: BarStore, one_file: Path, rounds: int) -> None:
    """Compare the rows of all sides, then their times."""
    span = {"start_ms": START_MS, "end_ms": END_MS}
    rivals = {
        "close alone, `BarStore.scan`": lambda: store.scan(
            VENUE, SYMBOL, "1m", columns=["close"], **span
        ).collect(),
        "all columns, `BarStore.read`": lambda: store.read(VENUE, SYMBOL, "1m", **span),
        "as a study reads them, `read_folder`": lambda: read_folder(
            store.root / VENUE, timeframe="1m", symbols=[SYMBOL], **span
        )[SYMBOL],
        "polars": lambda: pl.scan_parquet(one_file).filter(in_the_month()).collect(),
    }
    assert {len(run()) for run in rivals.values()} == {30 * 24 * 60}
    seconds = in_turns(rivals, rounds)
    alternative = f"one file per symbol, Polars {pl.__version__}: {in_words(seconds['polars'])}"
    rows = [
        (name, in_words(seconds[name]), alternative, f"{seconds['polars'] / seconds[name]:.1f}")
        for name in rivals
        if name != "polars"
    ]
    n_rows = sum(one.rows for one in store.list())
    print(f"{len(store.list())} series, {n_rows / 1e6:.0f} million bars; one month of one symbol")
    print(f"{hardware()}; median of {rounds} rounds in turns\n\n{table(rows)}")


def in_the_month() -> pl.Expr:
    """Return the filter that anybody would write."""
    start, end = (pl.lit(ms).cast(pl.Datetime("ms", "UTC")) for ms in (START_MS, END_MS))
    return pl.col("timestamp").is_between(start, end, closed="left")


def build(root: Path, n_symbols: int) -> BarStore:
    """Return a store of so many symbols with 2.5 million minutes each."""
    store = BarStore(root)
    for number in range(n_symbols):
        if number < 4:
            addition = Addition(rows=random_walk(number), provenance="simulated")
            store.add(VENUE, f"S{number:03}", "1m", addition)
        else:
            link(store, f"S{number % 4:03}", f"S{number:03}")
    return store


def random_walk(seed: int, n_bars: int = 2_500_000) -> Rows:
    """Return minute bars from 2020 on, on a grid of cents."""
    random = np.random.default_rng(seed)
    close = np.round(20_000 * np.exp(np.cumsum(random.normal(0, 5e-4, n_bars))), 2)
    opened = np.concatenate([close[:1], close[:-1]])
    up, down = np.round(np.abs(random.normal(0, 4, (2, n_bars))), 2)
    high = np.maximum(opened, close) + up
    low = np.maximum(np.minimum(opened, close) - down, 0.01)
    volume = np.round(random.lognormal(2, 1, n_bars), 3)
    stamps = parse_utc_ms("2020-01-01") + np.arange(n_bars) * MINUTE_MS
    return Rows(stamps, np.column_stack([opened, high, low, close, volume]))


def link(store: BarStore, old: str, new: str) -> None:
    """Make another symbol of the same parts."""
    manifest = store.manifest(VENUE, old, "1m")
    assert manifest is not None
    folder = store.path(VENUE, new, "1m")
    folder.mkdir(parents=True)
    for part in manifest.parts:
        os.link(store.path(VENUE, old, "1m") / part.file, folder / part.file)
    told = asdict(replace(manifest, symbol=new))
    write_json(folder / "manifest.json", {"format": 1, **told})


if __name__ == "__main__":
    main()
