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
from ._html import Html
from ._reliability import reliability, reliability_by_class
from ._run import Run, at, entries, numbers
from ._scores import measure_cell
from ._words import NOTHING, decimals, is_number, number, percent

_PARTS = (
    (
        "reliability",
        "Reliability: how far what comes is from what is stated",
        "0; below it, less than noise",
        True,
    ),
    ("resolution", "Resolution: how well outcomes are told apart", "high", True),
    (
        "uncertainty",
        "Uncertainty: the score of who states the shares of classes",
        "given by the market",
        False,
    ),
)


def calibration(run: Run) -> Section:
    """Return the reliability diagrams, the histogram of confidence, and signs of trouble."""
    if not entries(run.diagnostics):
        sentence = "No diagnostics in this run: diagnostics.json is not there."
        return Section("calibration", "Calibration", absent(sentence))
    body = join(
        prose(
            "A probability is worth having only if it comes true as often as it says. The size "
            "of the gap is the calibration error; how often the model dares to be sure is the "
            "histogram. An honest model of a noisy market is seldom sure."
        ),
        beside(reliability(run), _confidence(run)),
        reliability_by_class(run),
        _parts_of_the_brier_score(run),
        _signs_of_trouble(run),
    )
    return Section("calibration", "Calibration", body)


def _parts_of_the_brier_score(run: Run) -> Html | None:
    """Return what the Brier score is made of; nothing for runs that do not know it."""
    parts = entries(run.metrics, "model", "pooled", "brier_parts")
    if not all(is_number(at(parts, name, "value")) for name, *_ in _PARTS):
        return None
    brier = at(run.metrics, "model", "pooled", "brier")
    rows = [
        [title, measure_cell(parts[name], signed=sign), good] for name, title, good, sign in _PARTS
    ]
    return join(
        heading("What the Brier score is made of"),
        table(
            label="What the Brier score is made of",
            head=("Part", "Value", "Good is"),
            rows=[*rows, ["Reliability − resolution + uncertainty", measure_cell(brier), "low"]],
            words=(2,),
            origin=source("metrics.json", "model.pooled.brier_parts", "model.pooled.brier"),
        ),
    )


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
