"""The model beside what costs nothing, on the same rows."""

from __future__ import annotations

import math
from typing import Any

from ._blocks import Section, absent, join, prose, source, table
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._saving import saving_picture
from ._scores import SCORES, Score, baselines_by_log_loss, measure_cell, rows_of
from ._words import decimals, is_number, number, titled


def baselines(run: Run) -> Section:
    """Return the model and every baseline, as a picture and as a table."""
    if not entries(run.metrics, "model", "pooled"):
        body: Html = absent("No scores in this run: metrics.json is not there.")
    else:
        body = join(
            prose(
                "A model earns its keep only where it beats what costs nothing. Log loss counts "
                f"first, for it rewards honest probabilities{_shrug(run)}."
            ),
            saving_picture(run),
            prose(
                "Under each value stands its 95 % interval, from a bootstrap of whole stretches "
                "of time. The best of each row is bold. Every seed of the model adds its rows"
                f"{_seeds_together(run)}."
            ),
            _score_table(run),
        )
    return Section("baselines", "Baselines", body)


def _shrug(run: Run) -> str:
    labels = at(run.metrics, "model", "pooled", "confusion_matrix", "labels")
    if not isinstance(labels, list) or len(labels) < 2:
        return ""
    loss = decimals(math.log(len(labels)), 4)
    return f"; a shrug over {number(len(labels))} classes scores {loss}"


def _seeds_together(run: Run) -> str:
    several = entries(run.metrics, "ensemble", "pooled")
    return "; all seeds together are the mean of their probabilities" if several else ""


def _score_table(run: Run) -> Html:
    rivals = baselines_by_log_loss(run)
    together = [at(run.metrics, "ensemble", "pooled")] if "ensemble" in entries(run.metrics) else []
    blocks = [
        at(run.metrics, "model", "pooled"),
        *together,
        *(at(block, "pooled") for block in rivals.values()),
    ]
    savings = [at(run.metrics, "improvement", name, "log_loss") for name in rivals]
    saved: list[Child] = [
        "Log loss that the model saves",
        "",
        *("" for _ in together),
        *(measure_cell(saving, signed=True) for saving in savings),
    ]
    n_rows: list[Child] = ["Rows", *(number(rows_of(block)) for block in blocks)]
    return table(
        label="Scores of the model and of every baseline, pooled over symbols, folds and seeds",
        head=(
            "",
            "This model",
            *("All seeds together" for _ in together),
            *(titled(name) for name in rivals),
        ),
        rows=[saved, *(_score_row(score, blocks) for score in SCORES), n_rows],
        strong_column=1,
        origin=source(
            "metrics.json",
            "model.pooled",
            *("ensemble.pooled" for _ in together),
            "baselines.*.pooled",
            "improvement.*.log_loss",
        ),
    )


def _score_row(score: Score, blocks: list[Any]) -> list[Child]:
    measures = [at(block, score.key) for block in blocks]
    known = [at(m, "value") for m in measures if is_number(at(m, "value"))]
    best = (min if score.better == "low" else max)(known, default=None)
    alone = known.count(best) == 1 and len(known) > 1
    return [
        [score.name, tag("small", f"{score.better} is good")],
        *(measure_cell(m, bold=alone and at(m, "value") == best) for m in measures),
    ]
