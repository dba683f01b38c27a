"""Bars a second of the backtest, against the same rules as a plain Python loop.

    python benchmarks/backtest.py [--quick]

Three questions: how fast the kernel of fills is once it is loaded (one core, a wish at every
bar, random sides, so about one trade in eight bars); how long a new process waits for its first
fill, with the compiled kernel in Numba's cache and without; and how long a whole `backtest.run`
takes: the trades, 200 random-entry draws, sizes, cost stress, intervals and equity.
The loop fills fewer bars; its trades are compared with the kernel's first.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded

import numpy as np
import polars as pl
from _side_by_side import hardware, in_turns, in_words, table

from walkforge import backtest, market
from walkforge.execution import Bracket, Decisions, Tape, fill, make_tape

_BRACKET = Bracket()
_SLIPPAGE_PRICE = 0.1

# What a new process does; it prints the seconds until the imports are done, and those of the
# first fill, with the average true range (TA-Lib) that its levels need.
_FIRST_CALL = """
import time
started = time.perf_counter()
import numpy as np
from walkforge.execution import Bracket, Decisions, fill, make_tape
from walkforge.market import Bars
n = 1000
close = 100.0 + np.sin(np.arange(n))
bars = Bars(venue="x", symbol="X", timeframe="1m", timestamp=np.arange(n) * 60_000,
            open=close, high=close + 1, low=close - 1, close=close, volume=close)
rows, unset = np.arange(n), np.full(n, np.nan)
wishes = Decisions(row=rows, side=np.ones(n), size=np.ones(n), stop=unset, target=unset)
imported = time.perf_counter()
fill(make_tape(bars, 14), wishes, Bracket(), slippage_price=0.1)
print(imported - started, time.perf_counter() - imported)
"""


def main() -> None:
    """Check, measure and print."""
    quick = _arguments().quick
    n_bars, n_loop, rounds = (100_000, 5_000, 1) if quick else (1_000_000, 50_000, 5)
    bars = market.simulate("garch", n_bars=n_bars, seed=1, symbol="BTCUSDT", timeframe="1m")
    kernel_row = _kernel_row(bars, n_loop, rounds)
    rows = [kernel_row, *_first_call_rows(1 if quick else 5), _whole_row(bars, 1 if quick else 3)]
    print(f"{hardware()}; one core, medians of rounds in turns\n\n{table(rows)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer bars, one round")
    return parser.parse_args()


def _kernel_row(bars: market.Bars, n_loop: int, rounds: int) -> tuple[str, str, str, str]:
    tape = make_tape(bars, _BRACKET.atr_bars)
    few = make_tape(bars.take(slice(0, n_loop)), _BRACKET.atr_bars)
    many_wishes, few_wishes = _wishes(tape), _wishes(few)
    _compare(few, few_wishes)
    seconds = in_turns(
        {
            "kernel": lambda: fill(tape, many_wishes, _BRACKET, slippage_price=_SLIPPAGE_PRICE),
            "loop": lambda: _filled_by_a_loop(few, few_wishes),
        },
        rounds,
    )
    ours, loop = len(tape) / seconds["kernel"], len(few) / seconds["loop"]
    return (
        f"fills, {len(tape):,} bars (loop: {n_loop:,})",
        f"{ours / 1e6:.0f} million bars/s",
        f"plain Python loop: {loop / 1e6:.2g} million bars/s",
        f"{ours / loop:.0f}",
    )


def _first_call_rows(rounds: int) -> list[tuple[str, str, str, str]]:
    """Return first calls of new processes: from Numba's cache, beside compiling."""
    with tempfile.TemporaryDirectory() as folder:
        _first_call(folder)
        cached = _medians([_first_call(folder) for _ in range(rounds)])
    cold = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_first_call(folder))
    compiled = _medians(cold)
    return [
        (what, in_words(ours), f"without the cache: {in_words(other)}", f"{other / ours:.1f}")
        for what, ours, other in (
            ("first fill of a new process", cached[1], compiled[1]),
            ("the same with all imports", sum(cached), sum(compiled)),
        )
    ]


def _first_call(cache: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    imports, first = done.stdout.split()
    return float(imports), float(first)


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    imports, firsts = zip(*times, strict=True)
    return statistics.median(imports), statistics.median(firsts)


def _whole_row(bars: market.Bars, rounds: int) -> tuple[str, str, str, str]:
    """Return the time of a whole run, with a wish at about every third bar."""
    random = np.random.default_rng(0)
    stamps = bars.timestamp[1000:-100]
    intentions = pl.DataFrame(
        {
            "timestamp": stamps,
            "symbol": [bars.symbol] * len(stamps),
            "side": random.choice([-1, 0, 0, 0, 0, 1], len(stamps)),
        }
    )
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = backtest.run({bars.symbol: bars}, intentions)
        times.append(time.perf_counter() - started)
    passes = 1 + result.summary["random_entries"]["n_draws"]
    seconds, n_trades = statistics.median(times), result.summary["pooled"]["n_trades"]
    return (
        f"whole `backtest.run`, {len(bars):,} bars, {n_trades:,} trades, {passes - 1} random draws",
        in_words(seconds),
        f"{passes * len(bars) / seconds / 1e6:.0f} million bars/s over all passes",
        "",
    )


def _wishes(tape: Tape) -> Decisions:
    """Return a wish at every bar that a position can be decided at."""
    rows = tape.enterable()
    unset = np.full(len(rows), np.nan)
    side = np.random.default_rng(0).choice([-1, 1], len(rows))
    return Decisions(row=rows, side=side, size=np.ones(len(rows)), stop=unset, target=unset)


def _compare(tape: Tape, wishes: Decisions) -> None:
    """Raise SystemExit where the loop trades otherwise than the kernel."""
    fills, _ = fill(tape, wishes, _BRACKET, slippage_price=_SLIPPAGE_PRICE)
    ours = [fills.entry_row, fills.exit_row, fills.entry_price, fills.exit_price]
    theirs = np.array(_filled_by_a_loop(tape, wishes)).T
    if not np.array_equal(np.array(ours), theirs):
        raise SystemExit("the loop and the kernel do not make the same trades")
    print(f"trades compared: {len(fills):,}, all the same\n")


def _filled_by_a_loop(tape: Tape, wishes: Decisions) -> list[tuple[int, int, float, float]]:
    """Return rows and prices of entry and exit, one bar after the other, in plain Python."""
    open_, high, low, close = (one.tolist() for one in (tape.open, tape.high, tape.low, tape.close))
    atr = tape.atr.tolist()
    wanted = dict(zip(wishes.row.tolist(), wishes.side.tolist(), strict=True))
    trades: list[tuple[int, int, float, float]] = []
    side = entered = 0
    entry = stop = target = math.nan
    for bar in range(len(open_)):
        if side and bar > 0 and entered < 0:  # decided at the close before
            entered = bar
            entry = _market(open_[bar], side)
            stop = entry - side * _BRACKET.stop_atr * atr[bar - 1]
            target = entry + side * _BRACKET.target_atr * atr[bar - 1]
        if side:
            left = math.nan
            worst, best = (low[bar], high[bar]) if side > 0 else (high[bar], low[bar])
            if bar == entered + _BRACKET.max_hold_bars or side * (open_[bar] - stop) <= 0:
                left = _market(open_[bar], -side)
            elif side * (open_[bar] - target) >= 0:
                left = open_[bar]
            elif side * (worst - stop) <= 0:
                left = _market(stop, -side)
            elif side * (best - target) >= 0:
                left = target
            elif bar == len(open_) - 1:
                left = _market(close[bar], -side)
            if left == left:  # it is not NaN: the position is closed
                trades.append((entered, bar, entry, left))
                side = 0
        if not side and (wish := wanted.get(bar)):
            side, entered = wish, -1
    return trades


def _market(price: float, side: int) -> float:
    return price + side * min(_SLIPPAGE_PRICE, 0.01 * price)


if __name__ == "__main__":
    main()
