"""How often the gates let a model out: where there is nothing to know, and where there is.

The study's whole pipeline goes over many markets, the networks of all of them packed, and every
market gets a verdict of its own. What is done is kept line by line, so that a measurement that
was cut off goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from walkforge import study as studies
from walkforge.base import Silent, UsageError, json_text
from walkforge.market import Bars
from walkforge.study import Study, Watcher

LINES = "markets.jsonl"
# So many markets train as one pack: what is lost when a measurement is cut off.
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class MarketVerdict:
    """What became of the model of one market."""

    market: int
    fit: bool
    failed: tuple[str, ...]
    """Names of the gates that it failed."""
    p_values: dict[str, float]
    """One-sided, of the gates that are tests."""
    measured: dict[str, tuple[float, float]]
    """Value and limit of the gates that ask for one number."""
    sharpe_annual: float | None
    n_trades: int
    alarms: tuple[str, ...]
    gates: tuple[str, ...]
    """Names of all gates that judged it."""
    seconds: float
    """Its share of what its pack took, from bars to verdicts."""


def measure_markets(
    study: Study,
    make: Callable[[int], Bars],
    n_markets: int,
    out: Path,
    *,
    watcher: Watcher | None = None,
) -> list[MarketVerdict]:
    """Return a verdict for each of the first `n_markets` that `make` gives by number, in order.

    Each is kept in `out` as a line of `markets.jsonl`; those that stand there are not computed
    again, and further ones among them are returned as well. Raises UsageError for no market.
    """
    if n_markets < 1:
        raise UsageError(f"{n_markets} markets; expected at least 1")
    watched = watcher or Silent()
    done = read_verdicts(out)
    left = [number for number in range(n_markets) if number not in done]
    for first in range(0, len(left), _AT_ONCE):
        numbers = left[first : first + _AT_ONCE]
        watched.note(f"markets {numbers[0]} to {numbers[-1]} of {n_markets}")
        for verdict in _verdicts(study, make, numbers, watched):
            _append(out, verdict)
            done[verdict.market] = verdict
    return [done[number] for number in sorted(done)]


def read_verdicts(out: Path) -> dict[int, MarketVerdict]:
    """Return the verdicts that were kept, by market; a line that was cut off does not count."""
    path = out / LINES
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        try:
            plain = json.loads(line)
        except json.JSONDecodeError:
            continue
        lists = {name: tuple(plain[name]) for name in ("failed", "alarms", "gates")}
        measured = {name: tuple(pair) for name, pair in plain["measured"].items()}
        found[plain["market"]] = MarketVerdict(**plain | lists | {"measured": measured})
    return found


def _append(out: Path, verdict: MarketVerdict) -> None:
    plain = {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}
    path = out / LINES
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = not path.is_file() or path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        # A line that was cut off must not swallow this one.
        file.write(("" if whole else "\n") + json_text(plain) + "\n")


def _verdicts(
    study: Study, make: Callable[[int], Bars], numbers: Sequence[int], watcher: Watcher
) -> Iterator[MarketVerdict]:
    start_s = time.monotonic()
    bars = {one.symbol: one for one in map(make, numbers)}
    plan = _plan(study, tuple(bars))
    learned = studies.learn_each(plan, bars, watcher=watcher)
    learned_s = (time.monotonic() - start_s) / len(numbers)
    watcher.stage("verdicts")
    for place, (number, name) in enumerate(zip(numbers, bars, strict=True)):
        watcher.item(place, len(numbers), name)
        start_s = time.monotonic()
        judged = learned.judged(name)
        yield _verdict(number, judged, learned_s + time.monotonic() - start_s)


def _plan(study: Study, names: tuple[str, ...]) -> Study:
    """Return the study for these series, each with folds of its own: no verdict hangs on others."""
    folds = replace(study.folds, calendar="own")
    return replace(study, data=replace(study.data, symbols=names), folds=folds)


def _verdict(number: int, judged: dict[str, Any], seconds: float) -> MarketVerdict:
    verdict, account = judged["verdict"], judged["backtest"]["pooled"]
    gates = verdict["gates"]
    return MarketVerdict(
        market=number,
        fit=verdict["fit"],
        failed=tuple(gate["name"] for gate in gates if not gate["passed"]),
        p_values={g["name"]: g["p_value"] for g in gates if g["p_value"] is not None},
        measured={g["name"]: pair for g in gates if (pair := _number_and_limit(g))},
        sharpe_annual=account["sharpe_annual"],
        n_trades=account["n_trades"],
        alarms=tuple(verdict["alarms"]),
        gates=tuple(gate["name"] for gate in gates),
        seconds=seconds,
    )


def _number_and_limit(gate: dict[str, Any]) -> tuple[float, float] | None:
    """Return what a gate measured and asked for, None where that is more than a number each."""
    pair = (gate["value"], gate["limit"])
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in pair):
        return None
    return (float(pair[0]), float(pair[1]))
