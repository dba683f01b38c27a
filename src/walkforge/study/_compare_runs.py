"""One run as a comparison sees it: what it was, what came out and what it cost."""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from walkforge import backtest
from walkforge.base import RunError

from ._compare_tokens import token_block
from ._folder import RunFolder
from ._judging import ENSEMBLE, JUDGED

_NEEDED = ("predictions.parquet", "metrics.json", "backtest.json", "verdict.json")
_COLUMNS = ("timestamp", "symbol", "timeframe", "fold", "seed", "label", "resolved_at")
_MEASURES = (
    "log_loss", "balanced_accuracy", "accuracy", "mcc", "brier", "ece", "roc_auc", "pr_auc",
)  # fmt: skip
_FORECAST = ("crps_bps", "mae_bps", "rmse_bps", "direction_accuracy", "coverage_90", "qlike")
_TRADING = (
    "pnl", "roi_frac", "sharpe", "sharpe_annual", "deflated_sharpe", "max_drawdown_frac",
    "n_trades", "win_rate", "fees",
)  # fmt: skip
_COST = (
    "seconds", "stage_seconds", "peak_memory_bytes", "device", "precision", "threads",
    "n_members", "n_parameters", "walkforge", "torch", "python",
)  # fmt: skip
_CURVE_ROWS = 900
"""Rows of equity that go into the data; a page a thousand pixels wide shows no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One run: its folder, its study as plain data, and its part of the comparison."""

    folder: RunFolder
    study: dict[str, Any]
    bars: dict[str, Any]
    """Digest of the bars by symbol, from data_info.json."""
    beside: dict[str, Any]
    """What fills and costs are made by, by symbol: tick size, fees, ..., and funding rates."""
    data: dict[str, Any]

    @property
    def title(self) -> str:
        """Return the letter and the name, as sentences use them."""
        return f"{self.data['letter']} ({self.data['name']})"

    def predictions(self) -> pl.DataFrame:
        """Return the columns of predictions.parquet that a test reads."""
        table = self.folder.read_table("predictions.parquet")
        return table.select(c for c in table.columns if c in _COLUMNS or c.startswith("p_"))


def read_compared(paths: Sequence[Path]) -> list[Compared]:
    """Return the runs with letters A, B, ... and names that are different and short.

    Raises RunError where a folder is no run, is not finished or holds a damaged file.
    """
    names = short_names(paths)
    return [_read(path, letter_of(k), names[k]) for k, path in enumerate(paths)]


def letter_of(place: int) -> str:
    """Return A to Z, then AA, AB, ..."""
    letters = string.ascii_uppercase
    before = letter_of(place // 26 - 1) if place >= 26 else ""
    return before + letters[place % 26]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as many parents before them as tell them apart."""
    parts = [[part for part in path.resolve().parts if part != "/"] for path in paths]
    depth = [1] * len(parts)
    while True:
        names = ["/".join(part[-n:]) for part, n in zip(parts, depth, strict=True)]
        twins = [k for k, name in enumerate(names) if names.count(name) > 1]
        longer = [k for k in twins if depth[k] < len(parts[k])]
        if not longer:
            return names
        for k in longer:
            depth[k] += 1


def _read(path: Path, letter: str, name: str) -> Compared:
    folder = RunFolder.open(path)
    missing = [file for file in _NEEDED if not folder.has(file)]
    if missing:
        raise RunError(
            f"{path}: unfinished ({missing[0]} is missing); continue it with "
            f"`walkforge resume {path}`"
        )
    facts = folder.read_json("run.json") if folder.has("run.json") else {}
    metrics, account = folder.read_json("metrics.json"), folder.read_json("backtest.json")
    bars = folder.read_json("data_info.json") if folder.has("data_info.json") else {}
    study = _study(folder)
    epochs = _epochs(folder / "training_log.jsonl")
    data = {
        "letter": letter,
        "name": name,
        "folder": str(path),
        "kind": facts["kind"] if facts.get("kind") in (ENSEMBLE, JUDGED) else "run",
        "study": study.get("name"),
        "started": facts.get("started"),
        "n_rows": _at(metrics, "model", "pooled", "n"),
        "verdict": _verdict(folder.read_json("verdict.json")),
        "measures": _chosen(_at(metrics, "model", "pooled"), _MEASURES),
        "baseline": _best_baseline(metrics),
        "forecast": _forecast(metrics),
        "tokens": token_block(folder, metrics),
        "trading": _chosen(_at(account, "pooled"), _TRADING),
        "cost": _chosen(facts, _COST) | _training(epochs),
        "curves": {"equity": _equity(folder, account), "training": _losses(epochs)},
    }
    digests = {s: _at(one, "digest") for s, one in bars.items()}
    return Compared(folder, study, digests, {s: _beside(one) for s, one in bars.items()}, data)


def _beside(info: Any) -> Any:
    """Return what lies beside one series' bars; None of an older run, which does not tell."""
    if _at(info, "instrument") is None:
        return None
    numbers = {key: value for key, value in info["instrument"].items() if key != "source"}
    return {"instrument": numbers, "funding": _at(info, "funding", "digest")}


def _at(data: Any, *keys: str) -> Any:
    """Return `data[key][key]...`, or None where one is not there: older runs lack some."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _chosen(data: Any, keys: Sequence[str]) -> dict[str, Any]:
    return {key: _at(data, key) for key in keys}


def _study(folder: RunFolder) -> dict[str, Any]:
    """Return study.yaml as it stands; keys that a later version knows are not made up."""
    path = folder / "study.yaml"
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(plain, dict):
        raise RunError(f"{path}: found {type(plain).__name__}, expected the keys of a study")
    return plain


def _verdict(verdict: Any) -> dict[str, Any]:
    gates = _at(verdict, "gates") or []
    return {
        **_chosen(verdict, ("fit", "promotable", "profile")),
        "n_gates": len(gates),
        "n_passed": sum(bool(_at(gate, "passed")) for gate in gates),
        "failed": [_at(gate, "name") for gate in gates if _at(gate, "passed") is False],
        "alarms": _at(verdict, "alarms") or [],
    }


def _best_baseline(metrics: Any) -> dict[str, Any] | None:
    """Return the baseline with the lowest log loss, None where there is none."""
    known = {
        name: _at(block, "pooled")
        for name, block in (_at(metrics, "baselines") or {}).items()
        if _at(block, "pooled", "log_loss", "value") is not None
    }
    if not known:
        return None
    name = min(known, key=lambda one: known[one]["log_loss"]["value"])
    return {"name": name, "measures": _chosen(known[name], _MEASURES)}


def _forecast(metrics: Any) -> dict[str, Any] | None:
    """Return the measures of a forecaster's prices, None of a model of classes."""
    pooled = _at(metrics, "forecast", "model", "pooled")
    return None if pooled is None else _chosen(pooled, _FORECAST)


def _epochs(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a training log, if there is one; its last line may be cut off."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    epochs = []
    for number, line in enumerate(lines, start=1):
        try:
            epochs.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise RunError(f"{path}, line {number}: not valid JSON ({error})") from None
    return [epoch for epoch in epochs if _at(epoch, "epoch") and _at(epoch, "members")]


def _training(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the pace of training; None for what the log does not tell."""
    pace = [epoch["rows_per_s"] for epoch in epochs if epoch.get("rows_per_s")]
    tokens = [epoch["tokens_per_s"] for epoch in epochs if epoch.get("tokens_per_s")]
    memory = [epoch["gpu_memory_bytes"] for epoch in epochs if epoch.get("gpu_memory_bytes")]
    return {
        "epochs": max(map(_epoch_of, epochs), default=None),
        "training_seconds": sum(epoch.get("seconds") or 0.0 for epoch in epochs) or None,
        "rows_per_s": float(np.median(pace)) if pace else None,
        "tokens_per_s": float(np.median(tokens)) if tokens else None,
        "gpu_memory_bytes": max(memory, default=None),
    }


def _epoch_of(report: dict[str, Any]) -> int:
    """Return the epoch; of several trainings, one after the other, each counts its own."""
    return int(report.get("member_epoch") or report["epoch"])


def _losses(epochs: list[dict[str, Any]]) -> dict[str, list[float]] | None:
    """Return the median validation loss by epoch, of the members still training."""
    by_epoch: dict[int, list[float]] = {}
    for epoch in epochs:
        losses = [member.get("validation_loss") for member in epoch["members"]]
        by_epoch.setdefault(_epoch_of(epoch), []).extend(x for x in losses if x is not None)
    known = {epoch: losses for epoch, losses in sorted(by_epoch.items()) if losses}
    if not known:
        return None
    medians = [float(np.median(losses)) for losses in known.values()]
    return {"epoch": list(known), "median_validation_loss": medians}


def _equity(folder: RunFolder, account: Any) -> dict[str, list[Any]] | None:
    """Return the pooled equity as a return on the capital, thinned to what a page shows."""
    capital = _at(account, "setup", "capital")
    if not capital or not folder.has("equity.parquet"):
        return None
    table = folder.read_table("equity.parquet").filter(pl.col("symbol") == backtest.PORTFOLIO)
    if table.is_empty():
        return None
    thin = backtest.thin_equity(table.sort("timestamp"), max_rows=_CURVE_ROWS)
    return {
        "time": thin["timestamp"].dt.strftime("%Y-%m-%d %H:%M").to_list(),
        "return_frac": (thin["equity"] / capital - 1.0).to_list(),
    }
