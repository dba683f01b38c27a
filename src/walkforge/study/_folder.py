"""The run folder: where a run's files lie, and what of them is already there."""

import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from walkforge.base import RunError, atomic_path, json_text, read_json, write_json, write_text

CHECKPOINTS = "checkpoints"
"""Folder within a run's folder; gone once the run is done."""


class RunFolder:
    """A run's files by name; each is written whole, so that what exists is finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_is_whole = (
            False  # an earlier process may have been killed in the middle of a line
        )

    @classmethod
    def create(cls, path: Path, study_yaml: str, facts: dict[str, Any]) -> "RunFolder":
        """Make a run folder with `study.yaml` and `run.json` in it, both or nothing.

        Raises RunError where something lies there already.
        """
        cls.refuse_used(path)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            write_text(part / "study.yaml", study_yaml)
            write_json(part / "run.json", facts)
            part.replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return cls(path)

    @staticmethod
    def refuse_used(path: Path) -> None:
        """Raise RunError where something lies in `path` already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: not empty. Choose another --out, or continue that run with "
                f"`walkforge resume {path}`."
            )

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Return the run in `path`; raise RunError where there is none."""
        if not (path / "study.yaml").is_file():
            raise RunError(
                f"{path}: no run here (study.yaml is missing); begin one with `walkforge run`"
            )
        return cls(path)

    def remove(self) -> None:
        """Remove the whole folder."""
        shutil.rmtree(self.path)

    def remove_checkpoints(self) -> None:
        """Remove what only a training that goes on would need."""
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for part in self.path.rglob(".*.part"):
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def bundle(self, series: str, fold: int, kind: str) -> Path:
        """Return where a bundle lies; `kind` is seedN, ensemble or lightgbm."""
        return self.path / "models" / f"{file_name(series)}_fold{fold}_{kind}"

    def has(self, *names: str) -> bool:
        """Return whether all these files are there, and so finished."""
        return all((self.path / name).exists() for name in names)

    def write_table(self, name: str, table: pl.DataFrame) -> None:
        """Write a table as Parquet, atomically."""
        with atomic_path(self.path / name) as temporary:
            table.write_parquet(temporary, compression="zstd")

    def read_table(self, name: str) -> pl.DataFrame:
        """Read a table; raise RunError where it is missing or damaged."""
        if not self.has(name):
            raise RunError(f"{self.path}: {name} is missing; continue the run with "
                           f"`walkforge resume {self.path}`")  # fmt: skip
        try:
            return pl.read_parquet(self.path / name, glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RunError(f"{self.path / name}: not readable ({error})") from None

    def write_json(self, name: str, value: Any) -> None:
        """Write plain data, atomically."""
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """Read plain data; raise RunError where it is missing or damaged."""
        return read_json(self.path / name)

    def update_run(self, **facts: Any) -> None:
        """Add facts to `run.json`: versions, device and its reason, times."""
        known = self.read_json("run.json") if self.has("run.json") else {}
        self.write_json("run.json", known | facts)

    def log_epoch(self, report: dict[str, Any]) -> None:
        """Append an epoch to `training_log.jsonl`; one that is trained again replaces the old."""
        path = self.path / "training_log.jsonl"
        if not self._log_is_whole:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if _epoch_of(line) < report["epoch"]]
            write_text(path, "".join(f"{line}\n" for line in kept))
            self._log_is_whole = True
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{json_text(report)}\n")


def workspace() -> Path:
    """Return the folder of runs: `runs` below the working folder, or WALKFORGE_WORKSPACE."""
    return Path(os.environ.get("WALKFORGE_WORKSPACE") or "runs")


def default_folder(name: str) -> Path:
    """Return `NAME-UTCTIME` in the workspace."""
    return workspace() / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def file_name(name: str) -> str:
    """Return a symbol's or member's name as it stands in file names."""
    return re.sub(r"[^A-Za-z0-9.^=+-]", "_", name)


def _epoch_of(line: str) -> float:
    """Return the epoch of a log line; a line cut off in the middle counts as never written."""
    try:
        return json.loads(line)["epoch"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")
