"""The compiled kernel is kept between processes, and nobody depends on the place being there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from drawn import random_bars
from walkforge.execution import Bracket, Decisions, fill, make_tape

TESTS = Path(__file__).parents[1]
BARS = random_bars(300, seed=3)

FILL = """
from drawn import random_bars
from backtest.test_kernel_cache import first_exits
print(first_exits(random_bars(300, seed=3)))
"""


def first_exits(bars):
    rows = np.arange(20, 200, 7)
    unset = np.full(len(rows), np.nan)
    wishes = Decisions(
        row=rows, side=np.ones(len(rows)), size=np.ones(len(rows)), stop=unset, target=unset
    )
    fills, _ = fill(make_tape(bars, 14), wishes, Bracket(), slippage_price=0.01)
    return fills.exit_row.tolist()


def exits_in_a_new_process(**variables):
    done = subprocess.run(
        [sys.executable, "-c", FILL],
        env={**os.environ, **variables, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_any_folder_to_write_to_the_kernel_is_compiled_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    found = exits_in_a_new_process(
        NUMBA_CACHE_DIR=str(tmp_path / "file"),
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
    )
    assert found == str(first_exits(BARS))


def test_a_damaged_cache_is_compiled_around(tmp_path):
    exits_in_a_new_process(NUMBA_CACHE_DIR=str(tmp_path))
    indexes, kernels = (sorted(tmp_path.rglob(f"*.{ending}")) for ending in ("nbi", "nbc"))
    assert len(indexes) == len(kernels) == 3
    for path in (indexes[0], *kernels[1:]):
        path.write_bytes(path.read_bytes()[:100])
    assert exits_in_a_new_process(NUMBA_CACHE_DIR=str(tmp_path)) == str(first_exits(BARS))
