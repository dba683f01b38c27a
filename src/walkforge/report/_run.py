"""A run folder as the report sees it: whatever files are there, and None for those that are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from walkforge.base import RunError, read_json

from ._words import is_number

_MARKS_OF_A_RUN = ("verdict.json", "metrics.json", "backtest.json", "run.json", "study.yaml")


@dataclass(frozen=True, slots=True)
class Run:
    """The plain data of a run folder; a file that is not there is None."""

    folder: Path
    run: Any
    verdict: Any
    metrics: Any
    diagnostics: Any
    backtest: Any
    folds: Any
    data_info: Any
    study: Any
    study_text: str | None
    epochs: list[dict[str, Any]]
    """The lines of training_log.jsonl that tell of an epoch."""
    tokenizer: Any
    """tokenizer_report.json of a model of tokens."""
    market_file: str
    """Where in the folder config.json of its first model lies; empty where there is none."""
    market: Any

    def table(self, name: str, columns: Sequence[str]) -> pl.LazyFrame | None:
        """Return columns of a Parquet file, or None where the file or a column is not there.

        Raises RunError where the file is damaged.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            frame = pl.scan_parquet(path, glob=False)
            known = frame.collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RunError(f"{path}: not readable ({str(error).splitlines()[0]})") from None
        return frame.select(columns) if set(columns) <= set(known) else None


def read_run(folder: Path) -> Run:
    """Read the small files of a run folder.

    Raises RunError where the folder is none of ours, or where a file is damaged: a report that
    passes over a damaged file would look like a report of a run that never wrote it.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; expected the folder of a run")
    if not any((folder / name).is_file() for name in _MARKS_OF_A_RUN):
        raise RunError(
            f"{folder}: not the folder of a run (none of {', '.join(_MARKS_OF_A_RUN)} is there); "
            "pass the folder that `walkforge run` printed on its last line"
        )
    market_file = _market_file(folder)
    names = ("run", "verdict", "metrics", "diagnostics", "backtest", "folds", "data_info")
    return Run(
        folder=folder,
        **{name: _json_or_none(folder / f"{name}.json") for name in names},
        study=_yaml_or_none(folder / "study.yaml"),
        study_text=_text_or_none(folder / "study.yaml"),
        epochs=_epochs(folder / "training_log.jsonl"),
        tokenizer=_json_or_none(folder / "tokenizer_report.json"),
        market_file=market_file,
        market=_json_or_none(folder / market_file) if market_file else None,
    )


def at(data: Any, *keys: Any) -> Any:
    """Return `data[key][key]...`, or None as soon as one of them is not there."""
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return None
        data = data[key]
    return data


def entries(data: Any, *keys: Any) -> dict[str, Any]:
    """Return the mapping at `keys`, or an empty one."""
    found = at(data, *keys)
    return found if isinstance(found, dict) else {}


def records(data: Any, *keys: Any) -> list[dict[str, Any]]:
    """Return the list of mappings at `keys`, or an empty one."""
    found = at(data, *keys) if keys else data
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def numbers(data: Any, *keys: Any) -> list[float]:
    """Return the list of finite numbers at `keys`, or an empty one where it is anything else."""
    found = at(data, *keys)
    whole = isinstance(found, list) and all(is_number(value) for value in found)
    return list(found) if whole else []


def _json_or_none(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _market_file(folder: Path) -> str:
    configs = sorted(folder.glob("models/market_*/config.json"))
    return configs[0].relative_to(folder).as_posix() if configs else ""


def _text_or_none(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _yaml_or_none(path: Path) -> Any:
    text = _text_or_none(path)
    try:
        return None if text is None else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RunError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None


def _epochs(path: Path) -> list[dict[str, Any]]:
    lines = [line for line in (_text_or_none(path) or "").splitlines() if line.strip()]
    epochs = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break  # an interrupted run may leave its last line half written
            raise RunError(f"{path}, line {number}: not valid JSON ({error})") from None
        if isinstance(entry, dict) and records(entry, "members"):
            epochs.append(entry)
    return epochs
