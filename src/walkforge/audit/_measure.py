"""One measurement in a folder: the settings at its beginning, a line per market, the rates last.

    found = measure_null(study, Path("audits/null"), n_markets=300)
    found["results"][0]["rate"]["value"]

The folder's `audit.json` says what was asked. The same call goes on where an earlier one was cut
off, also with more markets or other edges; one with other settings is refused. Markets beyond
those asked for that stand in the folder count as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import walkforge
from walkforge import study as studies
from walkforge.base import (
    Silent,
    UsageError,
    json_text,
    one_of,
    processor_name,
    read_json,
    usable_cores,
    write_json,
)
from walkforge.gates import LIMITS
from walkforge.market import Bars
from walkforge.study import Study, Watcher

from ._null_markets import NULL_MARKETS, Recipe, null_market
from ._planted_markets import Oracle, Planted, edge_worth
from ._rates import MarketVerdict, measure_markets
from ._summary import power_reached, summary

AUDIT_FILE = "audit.json"
# Of the time of all bars.
_LONGEST_HOLE = 0.05


def measure_null(
    study: Study,
    out: Path,
    *,
    n_markets: int,
    kind: str = "garch",
    seed: int = 0,
    real: Sequence[Bars] = (),
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Return how often models are let out of markets that tell nothing of direction.

    `signs` and `blocks` are made from the last bars of those `real` series that are as long as
    the study's `data.simulated.n_bars` and have no hole in them longer than a twentieth of
    their time. Returns what `audit.json` in `out` then holds. Raises
    UsageError for an unknown kind, without long enough series, and for a folder of other settings.
    """
    one_of("null market", kind, NULL_MARKETS)
    n_bars, timeframe = study.data.simulated.n_bars, study.data.timeframe
    long = [one for one in real if len(one) >= n_bars and _is_whole(one, n_bars)]
    if real and not long:
        longest = max(map(len, real))
        raise UsageError(
            f"none of {len(real)} real series has {n_bars} bars without a long hole, the "
            f"longest has {longest}; name others with --bars, or set data.simulated.n_bars"
        )
    recipe = Recipe(kind, seed, n_bars, timeframe, tuple(long))
    null_market(recipe, 0)  # what cannot be made is refused before anything is written
    made_from = {one.symbol: one.digest() for one in long}
    markets = {"kind": kind, "seed": seed, "n_bars": n_bars, "timeframe": timeframe}
    lab = _Laboratory(study, out, {**markets, "real": made_from}, watcher or Silent())
    verdicts = lab.measured(lambda number: null_market(recipe, number), n_markets, out)
    return lab.told("null", [lab.rates(verdicts)])


def measure_planted(
    study: Study,
    out: Path,
    *,
    n_markets: int,
    edges: Sequence[float],
    seed: int = 0,
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Return how often models are let out of markets with an edge, for each of several strengths.

    An edge is the net annual Sharpe ratio of an oracle that knows it. Returns what `audit.json` in
    `out` then holds. Raises UsageError without an edge, for one that no market of the law has, and
    for a folder of other settings.
    """
    if not edges:
        raise UsageError("planted markets need an edge: --edge and an oracle's net Sharpe ratio")
    n_bars, timeframe = study.data.simulated.n_bars, study.data.timeframe
    planted = Planted(seed, n_bars, timeframe, edge=0.0)
    markets = {"kind": "planted", "seed": seed, "n_bars": n_bars, "timeframe": timeframe}
    markets |= {"pattern_bars": planted.pattern_bars}
    lab = _Laboratory(study, out, markets, watcher or Silent())
    results = []
    for edge in sorted(set(edges)):
        folder = out / f"edge-{edge:g}"
        oracle = lab.oracle(edge, planted, folder)
        strength = Planted(seed, n_bars, timeframe, edge=oracle.edge)
        verdicts = lab.measured(strength.market, n_markets, folder)
        results.append({"asked": edge, "oracle": asdict(oracle), **lab.rates(verdicts)})
    return lab.told("planted", results)


def _is_whole(bars: Bars, n_bars: int) -> bool:
    """Return whether the last bars have no hole that would leave a window without rows."""
    last = bars.timestamp[-n_bars:]
    return int(np.diff(last).max()) <= _LONGEST_HOLE * int(last[-1] - last[0])


@dataclass(frozen=True, slots=True)
class _Laboratory:
    """One measurement's study and folder; made, it has written its settings or agrees with them."""

    study: Study
    out: Path
    markets: dict[str, Any]
    watcher: Watcher

    def __post_init__(self) -> None:
        path, asked = self.out / AUDIT_FILE, self._settings()
        if not path.is_file():
            write_json(path, asked | {"results": None})
            return
        kept = read_json(path)
        other = [key for key, value in asked.items() if kept.get(key) != value]
        if other:
            raise UsageError(
                f"{self.out}: the measurement there has other settings "
                f"({'; '.join(_difference(kept, asked, key) for key in other)}); name another "
                "folder with --out, or ask as it was asked there"
            )

    def measured(
        self, make: Callable[[int], Bars], n_markets: int, folder: Path
    ) -> list[MarketVerdict]:
        """Return a verdict per market."""
        return measure_markets(self.study, make, n_markets, folder, watcher=self.watcher)

    def rates(self, verdicts: list[MarketVerdict]) -> dict[str, Any]:
        """Return the summary of the verdicts."""
        costs = self.study.backtest.costs
        return summary(verdicts, costs=costs.fee_frac != 0 or costs.slippage_ticks > 0)

    def oracle(self, edge: float, planted: Planted, folder: Path) -> Oracle:
        """Return the oracle that is worth so much, as it stands in the folder or found anew."""
        path = folder / "oracle.json"
        if not path.is_file():
            self.watcher.stage(f"the edge of an oracle with a Sharpe ratio of {edge:g}")
            tell = self.watcher.note
            write_json(path, asdict(edge_worth(edge, planted, self.study.backtest, tell=tell)))
        return Oracle(**read_json(path))

    def told(self, about: str, results: list[dict[str, Any]]) -> dict[str, Any]:
        """Write and return settings and results."""
        machine = {"processor": processor_name(), "cores": usable_cores()}
        data = self._settings() | {"about": about, "machine": machine, "results": results}
        if about == "planted":
            data["reached"] = power_reached(results)
        write_json(self.out / AUDIT_FILE, data)
        return data

    def _settings(self) -> dict[str, Any]:
        plain = yaml.safe_load(studies.as_yaml(self.study))
        settings = {"walkforge": walkforge.__version__, "markets": self.markets, "study": plain}
        settings["gates"] = LIMITS
        found: dict[str, Any] = json.loads(json_text(settings))
        return found


def _difference(kept: dict[str, Any], asked: dict[str, Any], key: str) -> str:
    """Return the first thing that differs, in words."""
    before, now = kept.get(key), asked[key]
    if before is None:
        return f"{key} is not told there, as of an older version"
    while isinstance(before, dict) and isinstance(now, dict):
        name = next(name for name in {**now, **before} if before.get(name) != now.get(name))
        key, before, now = f"{key}.{name}", before.get(name), now.get(name)
    return f"{key} is {before} there and {now} here"
