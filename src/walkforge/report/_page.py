"""Writes the page, top to bottom: the verdict first, then everything that led to it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from walkforge.base import write_text

from ._baselines import baselines
from ._blocks import Section
from ._breakdown import stability, symbols
from ._calibration import calibration
from ._confusion import confusion
from ._data import data
from ._folds import time_slices
from ._gates import gates
from ._html import Html, join, tag
from ._run import Run, at, read_run
from ._settings import settings
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
    # The scripts go in before anything from a run does: only their digests are allowed to run.
    frame = _frame_with_scripts()
    return frame.substitute(
        policy=_policy(frame.template),
        title=join(f"{verdict_word(run)} · {run_name(run)} · Walkforge"),
        style=_packaged("style.css"),
        headline=headline(run),
        contents=_contents(sections),
        sections="\n".join(_section(section) for section in sections),
        footer=_footer(run),
    )


@cache
def _frame_with_scripts() -> Template:
    from plotly.offline import get_plotlyjs

    # A dollar sign in Plotly's code must not look like one of the template's own.
    return Template(_packaged("page.html").replace("$plotly", get_plotlyjs().replace("$", "$$")))


def _policy(template: str) -> str:
    """Return a policy that lets our scripts run, nobody else's, and nothing leave the page."""
    scripts = re.findall(r"<script>(.*?)</script>", template.replace("$$", "$"), re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _packaged(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _contents(sections: Sequence[Section]) -> Html:
    links = [("verdict", "Verdict"), *((section.name, section.title) for section in sections)]
    items = [tag("li", tag("a", title, href=f"#{name}")) for name, title in links]
    return tag("nav", tag("ol", items), class_="contents", aria_label="Contents")


def _section(section: Section) -> Html:
    title = tag("h2", section.title, id=f"{section.name}-title")
    return tag(
        "section",
        title,
        section.body,
        id=section.name,
        aria_labelledby=f"{section.name}-title",
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
