"""The folder of a search: where its files lie, and what of them is already there."""

import os
import shutil
from pathlib import Path
from typing import Any

from walkforge.base import RunError, json_text, write_json, write_text

from ._folder import RunFolder

SUMMARY = "tune.json"
BEST = "best.yaml"


def create_folder(path: Path, study_yaml: str, facts: dict[str, Any]) -> RunFolder:
    """Make a search's folder with `study.yaml` and `tune.json` in it, both or nothing.

    Raises RunError where something lies there already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path}: not empty. Choose another --out, or continue that search with "
            f"`walkforge tune --resume {path}`."
        )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        write_text(part / "study.yaml", study_yaml)
        write_json(part / SUMMARY, facts)
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return RunFolder(path)


def open_folder(path: Path) -> RunFolder:
    """Return the search in `path`; raise RunError where there is none."""
    if not (path / SUMMARY).is_file() or not (path / "study.yaml").is_file():
        raise RunError(
            f"{path}: no search here ({SUMMARY} or study.yaml is missing); begin one with "
            "`walkforge tune`"
        )
    return RunFolder(path)


def write_if_other(path: Path, text: str) -> None:
    """Write a file that is not there yet, or says something else."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def update_summary(folder: RunFolder, **facts: Any) -> None:
    """Add facts to `tune.json`."""
    known = folder.read_json(SUMMARY)
    write_if_other(folder / SUMMARY, f"{json_text(known | facts, indent=2)}\n")
