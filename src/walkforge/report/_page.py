"""Writes the page, top to bottom: the verdict first, then everything that led to it."""

from __future__ import annotations

from pathlib import Path

from walkforge.base import write_text

from ._baselines import baselines
from ._breakdown import stability, symbols
from ._calibration import calibration
from ._confusion import confusion
from ._data import data
from ._folds import time_slices
from ._forecasts import forecasts
from ._frame import framed
from ._gates import gates
from ._html import Html, tag
from ._run import Run, at, read_run
from ._settings import settings
from ._tokens import tokens
from ._trading import trading
from ._training import training
from ._verdict import headline, run_name, verdict_word


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all, and return its path.

    Reads nothing but files of the folder; a file or key that is not there leaves a plain
    sentence in its place. The page asks nothing of any network and is under 6 MB.
    Raises RunError where the folder is no run or a file in it is damaged.
    """
    path = run_folder / "report.html"
    write_text(path, page(read_run(run_folder)))
    return path


def page(run: Run) -> str:
    """Return the whole page."""
    sections = [
        gates(run),
        baselines(run),
        *forecasts(run),
        *tokens(run),
        calibration(run),
        confusion(run),
        training(run),
        time_slices(run),
        trading(run),
        symbols(run),
        stability(run),
        data(run),
        settings(run),
    ]
    return framed(
        title=f"{verdict_word(run)} · {run_name(run)} · Walkforge",
        headline=headline(run),
        sections=sections,
        footer=_footer(run),
    )


def _footer(run: Run) -> Html:
    version = at(run.run, "walkforge")
    return tag(
        "footer",
        tag(
            "p",
            f"Written by Walkforge{f' {version}' if version else ''} from the files of the run "
            f"folder {run.folder.name}. Every number names its file; hover it for all digits. "
            "Past results, real or simulated, promise nothing.",
        ),
        tag("noscript", tag("p", "The pictures need JavaScript; the tables do not.")),
    )
