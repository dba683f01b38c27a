"""Whether a stated probability comes true, how sure the model is, and what it confuses."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ._blocks import (
    Key,
    Section,
    absent,
    beside,
    heading,
    join,
    picture,
    prose,
    source,
    sources,
    table,
)
from ._figure import layout, rounded, rule, x_axis, y_axis
from ._html import Html, tag
from ._run import Run, at, entries, numbers, records
from ._scores import measure_cell
from ._words import NOTHING, count, decimals, exact, is_number, number, percent


def calibration(run: Run) -> Section:
    """Return the reliability diagram and the histogram of confidence."""
    if not entries(run.diagnostics):
        sentence = "No diagnostics in this run: diagnostics.json is not there."
        return Section("calibration", "Calibration", absent(sentence))
    body = join(
        prose(
            "A probability is worth having only if it comes true as often as it says. The size "
            "of the gap is the calibration error; how often the model dares to be sure is the "
            "histogram. An honest model of a noisy market is seldom sure."
        ),
        beside(_reliability(run), _confidence(run)),
        _signs_of_trouble(run),
    )
    return Section("calibration", "Calibration", body)


def _reliability(run: Run) -> Html:
    bins = [
        line
        for line in records(run.diagnostics, "reliability")
        if is_number(line.get("confidence")) and is_number(line.get("hit_rate"))
    ]
    if not bins:
        return absent("No reliability bins in this run (diagnostics.json, reliability).")
    off = [line for line in bins if not _holds(line)]
    return picture(
        _reliability_figure(bins),
        name="reliability",
        title="Reliability",
        reading=(
            "Stated confidence to the right, how often it was right upwards. Good is every "
            "interval on the dashed line; a dot below it was too sure of itself."
        ),
        keys=(
            Key("--model", "dot", "bin of predictions, 95 % interval"),
            Key("--ink-faint", "dash", "perfectly calibrated"),
        ),
        alt=(f"{count(len(bins), 'bin')}; the interval misses the diagonal in {number(len(off))}."),
        origin=join(source("diagnostics.json", "reliability"), _bins_as_table(bins)),
    )


def _holds(line: dict[str, Any]) -> bool:
    """Return whether a bin's interval holds its stated confidence; True where it has none."""
    low, high = line.get("low"), line.get("high")
    return not (is_number(low) and is_number(high)) or low <= line["confidence"] <= high


def _reliability_figure(bins: list[dict[str, Any]]) -> dict[str, Any]:
    stated, came = [line["confidence"] for line in bins], [line["hit_rate"] for line in bins]
    ends = [line.get(end) for line in bins for end in ("low", "high")]
    reach = [*stated, *came, *(end for end in ends if is_number(end))]
    margin = 0.05 * (max(reach) - min(reach)) + 0.005
    edges = [max(0.0, min(reach) - margin), min(1.0, max(reach) + margin)]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(stated),
        "y": rounded(came),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": rounded([_arm(line, "high") for line in bins]),
            "arrayminus": rounded([_arm(line, "low") for line in bins]),
            "color": "--model",
            "thickness": 1.75,
            "width": 0,
        },
        "marker": {"size": 9, "color": "--model", "line": {"width": 1.5, "color": "--paper"}},
        "customdata": [number(line.get("n")) for line in bins],
        "hovertemplate": ("said %{x:.1%}, right %{y:.1%}<br>%{customdata} rows<extra></extra>"),
    }
    scale = {"range": edges, "tickformat": ".0%" if edges[1] - edges[0] > 0.1 else ".1%"}
    return {
        "data": [dots],
        "layout": layout(
            height=340,
            xaxis=x_axis("stated confidence", nticks=6, **scale),
            yaxis=y_axis("share that was right", nticks=6, **scale),
            shapes=[
                rule(
                    "--ink-faint",
                    dash="dash",
                    width=1.5,
                    x0=edges[0],
                    y0=edges[0],
                    x1=edges[1],
                    y1=edges[1],
                )
            ],
        ),
    }


def _arm(line: dict[str, Any], end: str) -> float:
    """Return how far an interval reaches from the hit rate; 0 where there is no interval."""
    return abs(line[end] - line["hit_rate"]) if is_number(line.get(end)) else 0.0


def _bins_as_table(bins: list[dict[str, Any]]) -> Html:
    grid = table(
        label="Bins of the reliability diagram",
        head=("Confidence", "Mean", "Right", "Rows"),
        rows=[
            [
                f"{percent(line.get('from'))} … {percent(line.get('to'))}",
                exact(line["confidence"], percent(line["confidence"])),
                measure_cell({**line, "value": line["hit_rate"]}, 3),
                exact(line.get("n"), number(line.get("n"))),
            ]
            for line in bins
        ],
        origin=Html(),
    )
    return tag("details", tag("summary", "The bins as a table"), grid)


def _confidence(run: Run) -> Html:
    histogram = at(run.diagnostics, "confidence", "histogram")
    edges, counts = numbers(histogram, "edges"), numbers(histogram, "counts")
    if not counts or len(edges) != len(counts) + 1:
        return absent("No histogram of confidence in this run (diagnostics.json, confidence).")
    mean = at(run.diagnostics, "confidence", "mean")
    accuracy = at(run.metrics, "model", "pooled", "accuracy", "value")
    return picture(
        _confidence_figure(edges, counts, mean, accuracy),
        name="confidence",
        title="Confidence",
        reading=(
            "How sure the model was of its likeliest class. Good is a mean confidence that "
            "meets the accuracy; bars crowding at 100 % are a warning."
        ),
        keys=(
            Key("--train", "bar", "share of rows"),
            Key("--model", "line", f"mean confidence {percent(mean)}"),
            Key("--rival", "dash", f"accuracy {percent(accuracy)}"),
        ),
        alt=f"Mean confidence {percent(mean)}, accuracy {percent(accuracy)}.",
        origin=sources(
            {"diagnostics.json": ("confidence.histogram", "confidence.mean")}
            | ({"metrics.json": ("model.pooled.accuracy",)} if is_number(accuracy) else {})
        ),
    )


def _confidence_figure(
    edges: list[float], counts: list[float], mean: Any, accuracy: Any
) -> dict[str, Any]:
    total = sum(counts) or 1
    bars = {
        "type": "bar",
        "x": [(low + high) / 2 for low, high in pairwise(edges)],
        "width": [high - low for low, high in pairwise(edges)],
        "y": rounded([n / total for n in counts]),
        "marker": {"color": "--train", "line": {"width": 1, "color": "--paper"}},
        "customdata": [
            [percent(low, 0), percent(high, 0), number(n)]
            for (low, high), n in zip(pairwise(edges), counts, strict=True)
        ],
        "hovertemplate": (
            "%{customdata[0]} to %{customdata[1]} sure: %{customdata[2]} rows, %{y:.1%}"
            "<extra></extra>"
        ),
    }
    marks = [(mean, "--model", "solid"), (accuracy, "--rival", "dash")]
    return {
        "data": [bars],
        "layout": layout(
            height=340,
            xaxis=x_axis(
                "confidence", range=[edges[0], edges[-1]], tickformat=".0%", showgrid=False
            ),
            yaxis=y_axis("share of rows", tickformat=".0%", nticks=6),
            shapes=[
                rule(role, dash=dash, width=2.5, x0=x, x1=x, y0=0, y1=1, yref="paper")
                for x, role, dash in marks
                if is_number(x)
            ],
        ),
    }


def _signs_of_trouble(run: Run) -> Html | None:
    found = run.diagnostics
    gap, sure = at(found, "train_test_gap", "gap"), at(found, "share_above_99")
    lines = [
        ("NaN or infinite numbers", number(at(found, "not_finite")), "0", "not_finite"),
        ("Predictions above 99 % confidence", percent(sure), "near 0", "share_above_99"),
        ("Logits, least to most", _range(at(found, "logits")), "within ±10", "logits"),
        ("Networks that always say the same", _constant(found), "0", "members.n_constant"),
        ("Mean entropy, of at most", _entropy(found), "below the most", "entropy"),
        ("Test loss above training loss", decimals(gap, 4, signed=True), "small", "train_test_gap"),
    ]
    known = [line for line in lines if NOTHING not in line[1]]
    if not known:
        return None
    grid = table(
        label="Signs of trouble",
        head=("Sign", "Found", "Good is"),
        rows=[[name, value, good] for name, value, good, _ in known],
        words=(2,),
        origin=source("diagnostics.json", *(key for *_, key in known)),
    )
    return join(heading("Signs of trouble"), grid)


def _range(logits: Any) -> str:
    return f"{decimals(at(logits, 'min'), 2)} … {decimals(at(logits, 'max'), 2)}"


def _constant(found: Any) -> str:
    return f"{number(at(found, 'members', 'n_constant'))} of {number(at(found, 'members', 'n'))}"


def _entropy(found: Any) -> str:
    entropy = at(found, "entropy")
    return f"{decimals(at(entropy, 'mean'), 4)} of {decimals(at(entropy, 'most'), 4)} nats"
