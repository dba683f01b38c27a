"""The frame of every page: its policy, style, contents, sections and scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from ._blocks import Section
from ._html import Html, join, tag


def framed(*, title: str, headline: Html, sections: Sequence[Section], footer: Html) -> str:
    """Return the whole page; the headline is an element with the id `verdict`."""
    # The scripts go in before anything from a run does: only their digests are allowed to run.
    frame = _frame_with_scripts()
    return frame.substitute(
        policy=_policy(frame.template),
        title=join(title),
        style=_packaged("style.css"),
        headline=headline,
        contents=_contents(sections),
        sections="\n".join(_section(section) for section in sections),
        footer=footer,
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
