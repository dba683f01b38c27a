"""The resolved study, how to run it again, and what it ran on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._blocks import Section, absent, heading, join, prose, source, table
from ._html import Child, tag
from ._run import Run, entries
from ._words import code, exact, is_number, number

_ELSEWHERE = ("left_out", "missing_assets", "survivorship")
"""Lists of up to hundreds of names, which the section of the data tells."""


def settings(run: Run) -> Section:
    """Return study.yaml as it stands, the command that repeats the run, and run.json."""
    return Section(
        "settings",
        "Settings",
        join(_study(run), heading("Run it again"), _again(run), heading("Run on"), _run_on(run)),
    )


def _study(run: Run) -> Child:
    if run.study_text is None:
        return absent("No settings in this run: study.yaml is not there.")
    return [
        prose("The study with every default filled in, exactly as it ran."),
        tag(
            "pre",
            tag("code", run.study_text),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="study.yaml",
        ),
        source("study.yaml"),
    ]


def _again(run: Run) -> Child:
    folder = run.folder.name
    lines = []
    if run.study_text is not None:
        lines.append(("The same numbers on the same device", f"walkforge run {folder}/study.yaml"))
    lines += [
        ("Judge the stored predictions again", f"walkforge judge {folder}"),
        ("Write this page again", f"walkforge report {folder}"),
    ]
    return [tag("p", words, ":", tag("br"), code(line), class_="command") for words, line in lines]


def _run_on(run: Run) -> Child:
    kept = {k: v for k, v in entries({"run": run.run}, "run").items() if k not in _ELSEWHERE}
    told = list(_flat(kept))
    if not told:
        return absent("No account of versions and device: run.json is not there.")
    return table(
        label="Versions, device and times",
        head=("What", "Value"),
        rows=[[name, _shown(value)] for name, value in told],
        words=(1,),
        origin=source("run.json"),
    )


def _flat(data: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path."""
    for key, value in data.items():
        path = f"{before}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _shown(value: Any) -> Child:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return exact(value, number(value)) if is_number(value) else str(value)
