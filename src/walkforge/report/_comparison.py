"""Writes the page of a comparison: what the data can tell first, then the runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from walkforge.base import write_text

from ._blocks import Section, absent, join, prose
from ._comparison_choice import choice_section
from ._comparison_pictures import equity_overlay, gain_picture, loss_overlay, token_gain_picture
from ._comparison_tables import (
    cost_table,
    forecast_table,
    gain_table,
    measure_table,
    run_table,
    settings_table,
    trading_table,
)
from ._comparison_tokens import token_table
from ._frame import framed
from ._html import Html, tag
from ._words import count


def write_comparison(data: dict[str, Any], path: Path) -> Path:
    """Write the page of `study.compare`'s data to `path`, whole or not at all, and return it.

    The page needs nothing else, and asks nothing of any network.
    """
    write_text(path, _page(data))
    return path


def _page(data: dict[str, Any]) -> str:
    names = ", ".join(run["name"] for run in data["runs"])
    return framed(
        title=f"{data['headline']} · {names} · Walkforge",
        headline=_headline(data),
        sections=[
            _tests(data),
            choice_section(data),
            _settings(data),
            _measures(data),
            *_tokens(data),
            _backtests(data),
            _training(data),
            Section("cost", "Time and memory", cost_table(data)),
        ],
        footer=_footer(),
    )


def _headline(data: dict[str, Any]) -> Html:
    first, *others = data["sentences"]
    return tag(
        "header",
        tag("p", "Walkforge", " · ", f"comparison of {count(len(data['runs']), 'run')}",
            class_="overline"),
        tag("h1", data["headline"], class_="said"),
        tag("p", first, class_="lead"),
        tag("ul", [tag("li", sentence) for sentence in others], class_="lines"),
        tag("div", [prose(note) for note in data["notes"]], class_="aside")
        if data["notes"]
        else None,
        run_table(data),
        id="verdict",
    )  # fmt: skip


def _tests(data: dict[str, Any]) -> Section:
    body = join(
        prose(
            "Each run is set against A on the rows that both predicted out of sample: the loss of "
            "a decision is averaged over seeds, and whole blocks of time are drawn in pairs. Only "
            "this can tell two runs apart; that one value below is larger than another cannot."
        ),
        gain_picture(data),
        gain_table(data),
    )
    return Section("tests", "Tests on common rows", body)


def _settings(data: dict[str, Any]) -> Section:
    same = count(data["settings"]["n_same"], "setting")
    if not data["settings"]["differ"]:
        return Section("settings", "Settings", absent(f"Nothing differs: {same} agree."))
    body = join(prose(f"{same} agree and are not shown."), settings_table(data))
    return Section("settings", "Settings that differ", body)


def _measures(data: dict[str, Any]) -> Section:
    body = join(
        prose(
            "Every run on all its own rows, which need not be the same ones: under each value its "
            "95 % interval, and the strongest baseline of that run on that run's rows. Better or "
            "worse stands only where the test on common rows says so."
        ),
        measure_table(data),
        forecast_table(data) if any(run["forecast"] for run in data["runs"]) else None,
    )
    return Section("measures", "Measures", body)


def _tokens(data: dict[str, Any]) -> list[Section]:
    """Return the section of the tokens, or none where no run has any."""
    if not any(run["tokens"] for run in data["runs"]):
        return []
    body = join(
        prose(
            "A loss belongs to its vocabulary: fewer codes, or codes that come unevenly, are "
            "easier to foretell. So levels compare only where the tokenizer is the same, and then "
            "the test on common tokens above says what differs. What each run saves on its own "
            "best baseline can be set side by side, and an accuracy means something only beside "
            "its constant guess."
        ),
        token_gain_picture(data),
        token_table(data),
    )
    return [Section("tokens", "Tokens", body)]


def _backtests(data: dict[str, Any]) -> Section:
    return Section("backtest", "Backtest", join(equity_overlay(data), trading_table(data)))


def _training(data: dict[str, Any]) -> Section:
    return Section("training", "Training", loss_overlay(data))


def _footer() -> Html:
    return tag(
        "footer",
        tag(
            "p",
            "Written by Walkforge from the files of the run folders named above. Hover a number "
            "for all its digits. Past results, real or simulated, promise nothing.",
        ),
        tag("noscript", tag("p", "The pictures need JavaScript; the tables do not.")),
    )
