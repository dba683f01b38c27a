"""Reliability diagrams: what was stated, what came, and how far luck alone would part them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._blocks import Key, absent, beside, join, picture, source, table
from ._figure import layout, rounded, rule, x_axis, y_axis
from ._html import Html, tag
from ._run import Run, entries, records
from ._scores import measure_cell
from ._words import count, exact, is_number, number, percent, spoken


class _Asked(NamedTuple):
    """Which numbers of a bin a diagram sets against each other, and what they are called."""

    stated: str
    came: str
    x: str
    y: str


_CONFIDENCE = _Asked("confidence", "hit_rate", "stated confidence", "share that was right")
_CLASS = _Asked("probability", "frequency", "stated probability", "share that came")


def reliability(run: Run) -> Html:
    """Return the diagram of the confidence in the likeliest class."""
    bins = _drawable(records(run.diagnostics, "reliability"), _CONFIDENCE)
    if not bins:
        return absent("No reliability bins in this run (diagnostics.json, reliability).")
    return picture(
        _figure(bins, _CONFIDENCE, height=340, nticks=6),
        name="reliability",
        title="Reliability",
        reading=(
            "Stated confidence to the right, how often it was right upwards. Where the model is "
            "calibrated, 95 in 100 dots lie on their bar by luck alone; a dot below it was too "
            "sure of itself."
        )
        if _has_bands(bins)
        else (
            "Stated confidence to the right, how often it was right upwards. Good is every "
            "interval on the dashed line; a dot below it was too sure of itself."
        ),
        keys=_keys(bins),
        alt=_in_words(bins, _CONFIDENCE),
        origin=join(source("diagnostics.json", "reliability"), _as_table(bins, _CONFIDENCE)),
    )


def reliability_by_class(run: Run) -> Html | None:
    """Return the diagram of each class's probability side by side; nothing for older runs."""
    found = entries(run.diagnostics, "reliability_by_class")
    drawable = {name: _drawable(records(found, name), _CLASS) for name in found}
    diagrams = [
        picture(
            _figure(bins, _CLASS, height=280, nticks=4),
            name=f"reliability-{place}",
            title=f"Reliability: {spoken(name)}",
            reading=(
                f"How probable {spoken(name)} was held to be, and how often it came. "
                "Marks as above."
            ),
            alt=_in_words(bins, _CLASS),
            origin=join(
                source("diagnostics.json", f"reliability_by_class.{name}"),
                _as_table(bins, _CLASS),
            ),
        )
        for place, (name, bins) in enumerate(drawable.items())
        if bins
    ]
    return beside(*diagrams, narrow=True) if diagrams else None


def _drawable(bins: list[dict[str, Any]], asked: _Asked) -> list[dict[str, Any]]:
    return [b for b in bins if is_number(b.get(asked.stated)) and is_number(b.get(asked.came))]


def _has_bands(bins: list[dict[str, Any]]) -> bool:
    return all(is_number(b.get(end)) for b in bins for end in ("band_low", "band_high"))


def _outside(line: dict[str, Any], asked: _Asked) -> bool:
    """Return whether a bin lies off its band, or in older runs its interval off the diagonal."""
    ends, value = ("band_low", "band_high"), line[asked.came]
    if not _has_bands([line]):
        ends, value = ("low", "high"), line[asked.stated]
    low, high = (line.get(end) for end in ends)
    return is_number(low) and is_number(high) and not low <= value <= high


def _keys(bins: list[dict[str, Any]]) -> tuple[Key, ...]:
    band = (Key("--random-band", "band", "where luck would leave it if calibrated, 95 %"),)
    return (
        Key("--model", "dot", "bin of predictions, 95 % interval"),
        *(band if _has_bands(bins) else ()),
        Key("--bad", "ring", "outside"),
        Key("--ink-faint", "dash", "perfectly calibrated"),
    )


def _in_words(bins: list[dict[str, Any]], asked: _Asked) -> str:
    off = number(sum(_outside(line, asked) for line in bins))
    if not _has_bands(bins):
        return f"{count(len(bins), 'bin')}; the interval misses the diagonal in {off}."
    by_luck = number(round(0.05 * len(bins), 2))
    return f"{off} of {count(len(bins), 'bin')} outside the band; luck alone leaves {by_luck}."


def _figure(
    bins: list[dict[str, Any]], asked: _Asked, *, height: int, nticks: int
) -> dict[str, Any]:
    stated, came = ([line[name] for line in bins] for name in (asked.stated, asked.came))
    names = ("low", "high", "band_low", "band_high")
    ends = [line.get(end) for line in bins for end in names]
    reach = [*stated, *came, *(end for end in ends if is_number(end))]
    margin = 0.05 * (max(reach) - min(reach)) + 0.005
    edges = [max(0.0, min(reach) - margin), min(1.0, max(reach) + margin)]
    scale = {"range": edges, "tickformat": ".0%" if edges[1] - edges[0] > 0.1 else ".1%"}
    diagonal = {"x0": edges[0], "y0": edges[0], "x1": edges[1], "y1": edges[1]}
    dots = {
        **_spans(bins, stated, came, ("low", "high"), color="--model", thickness=1.75),
        "marker": {"size": 9, "color": "--model", "line": {"width": 1.5, "color": "--paper"}},
        "customdata": [_hover(line) for line in bins],
        "hovertemplate": "said %{x:.1%}, came %{y:.1%}<br>%{customdata}<extra></extra>",
    }
    return {
        "data": [*_bands(bins, stated), dots, *_rings(bins, asked)],
        "layout": layout(
            height=height,
            xaxis=x_axis(asked.x, nticks=nticks, **scale),
            yaxis=y_axis(asked.y, nticks=nticks, **scale),
            shapes=[rule("--ink-faint", dash="dash", width=1.5, **diagonal)],
        ),
    }


def _bands(bins: list[dict[str, Any]], stated: list[float]) -> list[dict[str, Any]]:
    """Return the consistency bars, one broad bar around the diagonal at each bin."""
    if not _has_bands(bins):
        return []
    bars = _spans(
        bins, stated, stated, ("band_low", "band_high"), color="--random-band", thickness=12
    )
    return [{**bars, "marker": {"size": 1, "color": "--random-band"}, "hoverinfo": "skip"}]


def _rings(bins: list[dict[str, Any]], asked: _Asked) -> list[dict[str, Any]]:
    off = [line for line in bins if _outside(line, asked)]
    ring = {"symbol": "circle-open", "size": 15, "color": "--bad"}
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": rounded([line[asked.stated] for line in off]),
            "y": rounded([line[asked.came] for line in off]),
            "hoverinfo": "skip",
            "marker": ring | {"line": {"width": 2.25, "color": "--bad"}},
        }
    ]


def _spans(
    bins: list[dict[str, Any]],
    x: list[float],
    y: list[float],
    ends: tuple[str, str],
    *,
    color: str,
    thickness: float,
) -> dict[str, Any]:
    """Return points with a bar from one end to the other; none where a bin has no ends."""
    low, high = (
        [abs(b[end] - at) if is_number(b.get(end)) else 0.0 for b, at in zip(bins, y, strict=True)]
        for end in ends
    )
    return {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(x),
        "y": rounded(y),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded(high),
            "arrayminus": rounded(low),
            "color": color,
            "thickness": thickness,
            "width": 0,
        },
    }


def _hover(line: dict[str, Any]) -> str:
    rows = count(line["n"], "row") if is_number(line.get("n")) else "rows not known"
    if not _has_bands([line]):
        return rows
    return f"{rows}, by luck {percent(line['band_low'])} to {percent(line['band_high'])}"


def _as_table(bins: list[dict[str, Any]], asked: _Asked) -> Html:
    grid = table(
        label="Bins of the reliability diagram",
        head=("Bin", "Mean", "Came", "If calibrated", "Rows"),
        rows=[
            [
                f"{percent(line.get('from'))} … {percent(line.get('to'))}",
                exact(line[asked.stated], percent(line[asked.stated])),
                measure_cell({**line, "value": line[asked.came]}, 3),
                f"{percent(line.get('band_low'))} … {percent(line.get('band_high'))}",
                exact(line.get("n"), number(line.get("n"))),
            ]
            for line in bins
        ],
        origin=Html(),
    )
    return tag("details", tag("summary", "The bins as a table"), grid)
