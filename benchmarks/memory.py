"""Peak memory of a whole study, against the raw size of its feature table.

    python benchmarks/memory.py [--rows 250000 --symbols 3] [--stages] [--set seeds=[0,1]]

Each study runs in a process of its own: the `v8` preset on simulated 1-minute bars, read from a
folder, with one epoch, all baselines, measures, backtest and report. "Libraries" is what that
process holds once all packages are imported that a study imports, before it has seen a bar. The
first row of the table shows what a study takes beyond that whatever its size.
Peaks per stage are the kernel's own (VmHWM), so this runs on Linux only.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["WALKFORGE_CACHE_GIB"] = "0"  # features are computed, not found

from _side_by_side import hardware

from walkforge import market, study
from walkforge.base import Silent, peak_resident_bytes, resident_bytes

_MIB = 2**20
_N_COLUMNS = 72
_SIZES = ((7_500, 3), (250_000, 3), (750_000, 3), (1_500_000, 3), (1_500_000, 1))
_HEAD = ("rows", "symbols", "table", "models", "libraries", "peak", "above libraries / table")
# What a study imports on its way, whatever its data.
_LIBRARIES = (
    "arch.bootstrap",
    "lightgbm",
    "numba",
    "plotly.graph_objects",
    "polars",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.isotonic",
    "sklearn.linear_model",
    "talib",
    "torch",
    "walkforge.study",
)
# Weights, best weights and two moments of AdamW.
_COPIES_OF_WEIGHTS = 4


def main() -> None:
    """Measure every size, or the one asked for, and print a table."""
    asked = _arguments()
    if asked.run_in:
        print(json.dumps(_measured(Path(asked.run_in), asked.set)))
        return
    sizes = [(asked.rows, asked.symbols)] if asked.rows else _SIZES
    print(f"{hardware()}\n\n{_line(_HEAD)}\n{_line(['---'] * len(_HEAD))}")
    for n_rows, n_symbols in sizes:
        found = _in_own_process(n_rows, n_symbols, asked.set)
        print(_line(_row(n_rows, n_symbols, found)), flush=True)
        if asked.stages:
            print(_stages(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0, help="one size only, of all symbols")
    parser.add_argument("--symbols", type=int, default=3)
    parser.add_argument("--stages", action="store_true", help="print the peak of each stage too")
    parser.add_argument("--set", action="append", default=[], help="a setting of the study")
    parser.add_argument("--run-in", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(n_rows: int, n_symbols: int, settings: list[str]) -> dict[str, Any]:
    """Write simulated bars to a folder, run a study on them in a new process; what it says."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_symbols):
            bars = market.simulate(
                "garch",
                n_bars=n_rows // n_symbols,
                seed=number,
                symbol=f"SIM{number}USDT",
                timeframe="1m",
                price=1e6,
            )
            market.BarStore(Path(folder)).write(bars)
        command = [sys.executable, __file__, "--run-in", folder]
        command += [f"--set={setting}" for setting in settings]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class _Peaks(Silent):
    """Notes the highest resident size of each stage, and of each piece of a stage."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []
        self._stage = ""
        self._begin("reading the bars")

    def stage(self, name: str) -> None:
        """End the stage before, and begin this one."""
        self._stage = name
        self._begin(name)

    def doing(self, what: str) -> None:
        """A phase of the stage begins."""
        self._begin(f"{self._stage}: {what}")

    def item(self, done: int, total: int, what: str) -> None:
        """A piece of the stage's work begins."""
        self._begin(f"{self._stage}: {what}")

    def end(self) -> None:
        """End the stage that runs."""
        if self.stages:
            last = self.stages[-1]
            last["peak"] = peak_resident_bytes()
            last["seconds"] = time.perf_counter() - last["seconds"]

    def _begin(self, name: str) -> None:
        self.end()
        # 5 sets the kernel's highest mark back to what the process holds now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        begun = {"name": name, "before": resident_bytes(), "seconds": time.perf_counter()}
        self.stages.append(begun)


def _measured(folder: Path, settings: list[str]) -> dict[str, Any]:
    """Run the study on the bars in `folder`; return what it took."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    libraries = resident_bytes()
    overrides = ["data.symbols=[]", "training.epochs=1", "judge.n_resamples=100"]
    overrides += ["device.device=cpu", *settings]
    wanted = study.load("v8", overrides, bars=folder / "simulated")
    peaks = _Peaks()
    run = study.run(wanted, folder / "run", watcher=peaks)
    peaks.end()
    facts = json.loads((run / "run.json").read_text())
    return {
        "libraries": libraries,
        "models": 4 * facts["n_members"] * facts["n_parameters"] * _COPIES_OF_WEIGHTS,
        "peak": max(stage["peak"] for stage in peaks.stages),
        "stages": peaks.stages,
    }


def _row(n_rows: int, n_symbols: int, found: dict[str, Any]) -> list[str]:
    table = n_rows * _N_COLUMNS * 4
    names = ("models", "libraries", "peak")
    sizes = [f"{size / _MIB:.0f} MiB" for size in (table, *(found[name] for name in names))]
    ratio = (found["peak"] - found["libraries"] - found["models"]) / table
    return [f"{n_rows:,}", str(n_symbols), *sizes, f"{ratio:.2f}"]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _stages(found: dict[str, Any]) -> str:
    """Return one line per stage: what was held before, the peak, the time."""
    return "\n".join(
        f"    {stage['before'] / _MIB:7.0f} {stage['peak'] / _MIB:7.0f} MiB "
        f"{stage['seconds']:6.1f} s  {stage['name']}"
        for stage in found["stages"]
    )


if __name__ == "__main__":
    main()
