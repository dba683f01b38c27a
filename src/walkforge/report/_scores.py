"""The scores of metrics.json: their names, their cells, and the baseline to beat."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._html import Child, tag
from ._run import Run, at, entries
from ._words import NOTHING, decimals, exact, is_number, span


class Score(NamedTuple):
    """One score of a block in metrics.json."""

    key: str
    name: str
    better: str  # "low" or "high"


SCORES = (
    Score("log_loss", "Log loss", "low"),
    Score("balanced_accuracy", "Balanced accuracy", "high"),
    Score("accuracy", "Accuracy", "high"),
    Score("mcc", "MCC", "high"),
    Score("brier", "Brier", "low"),
    Score("ece", "Calibration error", "low"),
    Score("roc_auc", "ROC AUC", "high"),
    Score("pr_auc", "PR AUC", "high"),
)


def measure_cell(
    measure: Any, digits: int = 4, *, signed: bool = False, bold: bool = False
) -> Child:
    """Return a measure's value with its interval beneath it."""
    value = at(measure, "value")
    if not is_number(value):
        return NOTHING
    shown = exact(value, decimals(value, digits, signed=signed))
    interval = span(measure, digits, signed=signed)
    return [tag("b", shown) if bold else shown, tag("small", interval) if interval else None]


def rows_of(block: Any) -> Any:
    """Return how many rows a block of scores was measured on, or None."""
    return at(block, "n") or at(block, "accuracy", "n") or at(block, "log_loss", "n")


def baselines_by_log_loss(run: Run) -> dict[str, Any]:
    """Return the baselines' blocks, the strongest first; those without a log loss last."""
    return baselines_by_loss(run.metrics)


def baselines_by_loss(found: Any) -> dict[str, Any]:
    """Return the same of any measures with `baselines`."""

    def loss(item: tuple[str, Any]) -> float:
        value = at(item[1], "pooled", "log_loss", "value")
        return value if is_number(value) else float("inf")

    return dict(sorted(entries(found, "baselines").items(), key=loss))


def strongest_baseline(run: Run) -> str | None:
    """Return the baseline with the lowest pooled log loss, the one to beat."""
    return next(iter(baselines_by_log_loss(run)), None)
