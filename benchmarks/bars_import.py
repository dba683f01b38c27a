"""Rows a second of `market.import_bars` on one core, against pandas.

    python benchmarks/bars_import.py [--quick]

A million minute bars lie in a CSV of the 12 columns of Binance klines. Ours reads it, checks every
cell and bar, notes the file's SHA-256 and writes the bars to a fresh store, a part a month, each
of them synced to the disk. The alternative reads the same six columns with `pandas.read_csv` and
writes them as one zstd Parquet file with `DataFrame.to_parquet`, and looks at nothing. Both run on
one core with one thread, in turns; what they wrote is compared first.

The bars are BTCUSDT's of the shared real data (`WALKFORGE_TEST_DATA`), one minute after the other
without their holes and over again until there are enough, or simulated where there is none.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Before anything that counts processors is loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import pandas as pd
import polars as pl
from _side_by_side import hardware, in_turns, in_words, table

from walkforge import market

_START_MS = 1_672_531_200_000  # 2023-01-01 00:00 UTC
_STEP_MS = 60_000
_VALUES = ["open", "high", "low", "close", "volume"]
_COLUMNS = [
    "open_time",
    *_VALUES,
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
]


def main() -> None:
    """Write the file, compare, measure and print."""
    n_rows, rounds = (50_000, 1) if _arguments().quick else (1_000_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "BTCUSDT-1m.csv"
        told = _write_klines(source, n_rows)
        size_mb = source.stat().st_size / 1e6
        _compare(source)
        seconds = in_turns(
            {"ours": lambda: _ours(source), "pandas": lambda: _pandas(source)}, rounds
        )
    ours, theirs = seconds["ours"], seconds["pandas"]
    print(f"{hardware()}; {told}, {size_mb:.0f} MB; medians of {rounds} rounds in turns\n")
    row = (
        f"import of {n_rows:,} rows of 12 columns",
        _in_rows(ours, n_rows),
        f"pandas.read_csv, to_parquet: {_in_rows(theirs, n_rows)}",
        f"{theirs / ours:.1f}",
    )
    print(table([row]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, one round")
    return parser.parse_args()


def _in_rows(seconds: float, n_rows: int) -> str:
    return f"{in_words(seconds)}, {n_rows / seconds / 1e6:.2f} million rows/s"


def _write_klines(path: Path, n_rows: int) -> str:
    """Write a headless CSV as Binance's archive has them; return in words what its bars are."""
    bars, told = _some_bars(n_rows)
    values = {name: np.resize(getattr(bars, name), n_rows) for name in _VALUES}
    stamps = _START_MS + _STEP_MS * np.arange(n_rows)
    quote = values["volume"] * values["close"]
    others = [stamps + _STEP_MS - 1, quote, (1 + values["volume"]).astype(np.int64)]
    columns = [stamps, *values.values(), *others, values["volume"] / 2, quote / 2]
    frame = pl.DataFrame(dict(zip(_COLUMNS, columns, strict=False))).with_columns(ignore=0)
    frame.write_csv(path, include_header=False, float_precision=8)
    return told


def _some_bars(n_rows: int) -> tuple[market.Bars, str]:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("WALKFORGE_TEST_DATA", beside))
    path = data / "bars" / "binance" / "BTCUSDT" / "1m.parquet"
    if path.is_file():
        return market.read_bars(path, symbol="BTCUSDT", timeframe="1m"), "real bars of BTCUSDT"
    bars = market.simulate("garch", n_bars=n_rows, seed=1, symbol="BTCUSDT", timeframe="1m")
    return bars, "simulated bars"


@contextmanager
def _fresh(source: Path) -> Iterator[Path]:
    """Yield an empty folder beside the source that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(dir=source.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _ours(source: Path) -> None:
    with _fresh(source) as folder:
        market.import_bars(source, market.BarStore(folder), venue="binance")


def _pandas(source: Path) -> None:
    with _fresh(source) as folder:
        _read_with_pandas(source).to_parquet(folder / "bars.parquet", compression="zstd")


def _read_with_pandas(source: Path) -> pd.DataFrame:
    frame = pd.read_csv(source, header=None, names=_COLUMNS, usecols=["open_time", *_VALUES])
    frame["open_time"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True)
    return frame


def _compare(source: Path) -> None:
    """Raise SystemExit where the store does not hold what pandas reads."""
    theirs = _read_with_pandas(source)
    with _fresh(source) as folder:
        store = market.BarStore(folder)
        market.import_bars(source, store, venue="binance")
        ours = store.read("binance", "BTCUSDT", "1m")
    stamps = theirs["open_time"].dt.tz_localize(None).to_numpy().astype("datetime64[ms]")
    same = np.array_equal(ours.timestamp, stamps.astype(np.int64))
    for name in _VALUES:
        # pandas reads numbers to within their last digit; ours are exact.
        same &= np.allclose(getattr(ours, name), theirs[name], rtol=1e-15, atol=0)
    if not same:
        raise SystemExit("the store does not hold what pandas reads")


if __name__ == "__main__":
    main()
