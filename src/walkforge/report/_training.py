"""How the networks learned: losses per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from walkforge.base import FloatArray

from ._blocks import Key, Section, absent, join, picture, prose, source
from ._figure import epoch_axis, layout, rounded, y_axis
from ._html import Html
from ._run import Run, records
from ._token_training import LEVEL_OF_TOKENS, pace_of_tokens, token_picture
from ._words import count, duration, is_number, number

_MOST_MEMBERS = 60
"""More thin lines than this are a smear; the median still counts every member."""
_MOST_EPOCHS = 200
_LEVEL = (
    "The loss includes what the study adds to it, such as label smoothing, so its level compares "
    "with itself only."
)


@dataclass(slots=True)
class History:
    """One member's losses by epoch, and the last epoch that was its best."""

    epochs: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: tuple[int, float] | None = None


def training(run: Run) -> Section:
    """Return the loss curves."""
    histories = member_histories(run.epochs)
    if not histories:
        sentence = "No training in this run: training_log.jsonl is not there, or holds no epoch."
        return Section("training", "Training", absent(sentence))
    body = join(
        prose(
            "Training loss falls as a network learns; validation loss tells when it stops "
            "learning and starts remembering. Good is a validation curve that falls, flattens "
            "and has its best point where training stopped soon after. A best point at the first "
            "epoch says that there was little to learn."
        ),
        _loss_picture(histories, run.epochs),
        token_picture(run.epochs),
        prose(pace_of_tokens(run.epochs) or _pace(run.epochs)),
    )
    return Section("training", "Training", body)


def member_histories(epochs: Sequence[dict[str, Any]]) -> dict[str, History]:
    """Return each member's history, in the order of the log."""
    histories: dict[str, History] = {}
    for line in epochs:
        # Of several trainings, one after the other, each has epochs of its own.
        epoch: Any = line.get("member_epoch", line.get("epoch"))
        for member in records(line, "members") if is_number(epoch) else []:
            name = f"{line.get('pack', '')} {member.get('name', '')}".strip()
            again = f" seed {member.get('seed')}" if "member_epoch" in line else ""
            history = histories.setdefault(name + again, History())
            validation = _loss(member.get("validation_loss"))
            history.epochs.append(int(epoch))
            history.train.append(_loss(member.get("train_loss")))
            history.validation.append(validation)
            if member.get("best") is True:
                history.best = (history.epochs[-1], validation)
    return histories


def _loss(value: Any) -> float:
    return float(value) if is_number(value) else float("nan")


def _loss_picture(histories: dict[str, History], epochs: Sequence[dict[str, Any]]) -> Html:
    best = [history.best[0] for history in histories.values() if history.best]
    drawn = min(len(histories), _MOST_MEMBERS)
    some = "" if drawn == len(histories) else f" Thin lines: {drawn} of them, evenly chosen."
    level = LEVEL_OF_TOKENS if pace_of_tokens(epochs) else _LEVEL
    return picture(
        _loss_figure(histories),
        name="losses",
        title="Loss by epoch",
        reading=(
            f"{count(len(histories), 'network')}, one thin pair of lines each, the median in bold "
            f"(of those still training).{some} {level}"
        ),
        keys=(
            Key("--ink-soft", "line", "training"),
            Key("--model", "line", "validation"),
            Key("--model", "dot", "best epoch, kept"),
        ),
        alt=(
            f"The median best epoch is {number(float(np.median(best)))} of "
            f"{number(max(h.epochs[-1] for h in histories.values()))}."
            if best
            else "No epoch was a best one."
        ),
        origin=source(
            "training_log.jsonl",
            "members.*.train_loss",
            "members.*.validation_loss",
            "members.*.best",
        ),
    )


def _loss_figure(histories: dict[str, History]) -> dict[str, Any]:
    chosen = _evenly(list(histories.values()), _MOST_MEMBERS)
    many = list(histories.values())
    dots = [history.best for history in chosen if history.best]
    return {
        "data": [
            _thin_lines([(h.epochs, h.train) for h in chosen], "--train-thin"),
            _thin_lines([(h.epochs, h.validation) for h in chosen], "--validation-thin"),
            _median_line([(h.epochs, h.train) for h in many], "--ink-soft", "training"),
            _median_line([(h.epochs, h.validation) for h in many], "--model", "validation"),
            {
                "type": "scatter",
                "mode": "markers",
                "x": [epoch for epoch, _ in dots],
                "y": rounded([loss for _, loss in dots]),
                "marker": {
                    "size": 7,
                    "color": "--model",
                    "line": {"width": 1.5, "color": "--paper"},
                },
                "hovertemplate": "best at epoch %{x}: %{y:.4f}<extra></extra>",
            },
        ],
        "layout": layout(
            height=340,
            xaxis=epoch_axis(max(history.epochs[-1] for history in many)),
            yaxis=y_axis("loss", nticks=6),
        ),
    }


def _thin_lines(lines: Sequence[tuple[list[int], list[float]]], role: str) -> dict[str, Any]:
    """Return many lines as one trace, with a hole between each and the next."""
    x: list[float | None] = []
    y: list[float | None] = []
    for epochs, losses in lines:
        kept = _evenly(list(range(len(epochs))), _MOST_EPOCHS)
        x += [*(epochs[k] for k in kept), None]
        y += [*rounded([losses[k] for k in kept], 5), None]
    line = {"width": 1, "color": role}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}


def _median_line(
    lines: Sequence[tuple[list[int], list[float]]], role: str, name: str
) -> dict[str, Any]:
    by_epoch: dict[int, list[float]] = {}
    for epochs, losses in lines:
        for epoch, loss in zip(epochs, losses, strict=True):
            if np.isfinite(loss):
                by_epoch.setdefault(epoch, []).append(loss)
    kept = _evenly(sorted(by_epoch), _MOST_EPOCHS)
    medians: FloatArray = np.array([np.median(by_epoch[epoch]) for epoch in kept])
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(kept) == 1 else "lines",
        "x": kept,
        "y": rounded(medians),
        "line": {"width": 2.5, "color": role},
        "hovertemplate": f"epoch %{{x}}, median {name} loss %{{y:.4f}}<extra></extra>",
    }


def _evenly(items: list[Any], most: int) -> list[Any]:
    """Return at most `most` items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _pace(epochs: Sequence[dict[str, Any]]) -> str:
    rates = [line["rows_per_s"] for line in epochs if is_number(line.get("rows_per_s"))]
    spent = sum(line["seconds"] for line in epochs if is_number(line.get("seconds")))
    words = [f"{count(len(epochs), 'epoch')} of packed training"]
    words += [f"in {duration(spent)}"] if spent else []
    words += [f"at {number(round(float(np.median(rates))))} rows/s (median)"] if rates else []
    return " ".join(words) + "."
