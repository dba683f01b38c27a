"""The benchmark of MarketGPT runs, where nothing but torch and numpy is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HEAVY = {"polars", "pyarrow", "scipy", "sklearn", "pydantic", "safetensors", "lightning_fabric"}


@pytest.mark.slow
def test_the_smallest_form_of_the_benchmark_measures_both(tmp_path):
    script, found = BENCHMARKS / "market_gpt.py", tmp_path / "found.json"
    lines = [
        "import runpy, sys",
        f"sys.path.insert(0, {str(BENCHMARKS)!r})",
        f"sys.argv = ['market_gpt.py', '--quick', '--cases', 'c', '--device', 'cpu',"
        f" '--json', {str(found)!r}]",
        f"runpy.run_path({str(script)!r}, run_name='__main__')",
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "| C: 20 assets, 256 wide, 6 layers, context 128 | 1 x 1 |" in done.stdout
    assert done.stdout.rstrip().endswith("HEAVY []")
    [case] = json.loads(found.read_text())["cases"]
    assert case["tokens_per_s"] > 0
    assert case["plain_tokens_per_s"] > 0
    assert case["ratio"] == pytest.approx(case["tokens_per_s"] / case["plain_tokens_per_s"])
    assert case["roof_frac"] > 0
    assert case["warnings"] == []
