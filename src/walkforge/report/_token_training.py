"""How a model of tokens learned to foretell them, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._blocks import Key, picture, source
from ._figure import epoch_axis, layout, rounded, y_axis
from ._html import Html
from ._words import count, duration, is_number, number, percent

LEVEL_OF_TOKENS = (
    "Nats a token. The training loss is taken with dropout on, the validation loss without, so "
    "that the second may lie below the first."
)

_KEYS = ("accuracy", "constant_accuracy", "learning_rate")
_LANES = (("accuracy", "--model", "solid"), ("constant_accuracy", "--rival", "dash"))


def token_picture(epochs: Sequence[dict[str, Any]]) -> Html | None:
    """Return accuracy beside the best constant guess, and the learning rate; None without."""
    runs = _trainings(epochs)
    if not runs:
        return None
    last = runs[0][-1]
    several = f" One line for each of {count(len(runs), 'training')}." if len(runs) > 1 else ""
    return picture(
        _figure(runs),
        name="token-accuracy",
        title="Right tokens by epoch",
        reading=(
            "Above, how often the token held for likeliest came in the validation slice, beside "
            "a guess that never changes, which is always the most frequent training token. Good "
            f"is a line that leaves the dashed one. Below, the learning rate.{several}"
        ),
        keys=(
            Key("--model", "line", "this model"),
            Key("--rival", "dash", "best constant guess"),
            Key("--ink-soft", "thin", "learning rate"),
        ),
        alt=(
            f"After the last epoch {percent(last['accuracy'], 2)} of tokens are right; the best "
            f"constant guess is right in {percent(last['constant_accuracy'], 2)}."
        ),
        origin=source("training_log.jsonl", *_KEYS),
    )


def pace_of_tokens(epochs: Sequence[dict[str, Any]]) -> str:
    """Return what the log says of speed, empty where it is none of tokens."""
    rates = _known(epochs, "tokens_per_s")
    if not rates:
        return ""
    words = [f"{count(len(epochs), 'epoch')} in {duration(sum(_known(epochs, 'seconds')))}"]
    words.append(f"{number(round(float(np.median(rates))))} tokens/s (median)")
    peak, roof = _known(epochs, "mfu_frac"), _known(epochs, "roof_frac")
    if peak:
        words.append(f"{percent(float(np.median(peak)), 0)} of the device's peak (MFU)")
    share = float(np.median(roof)) if roof else 0.0
    if share > 1:
        words.append("more than the large matrix product that was measured beside other work")
    elif roof:
        words.append(f"{percent(share, 0)} of what a large matrix product reaches")
    return f"{', '.join(words)}."


def _known(epochs: Sequence[dict[str, Any]], key: str) -> list[float]:
    return [line[key] for line in epochs if is_number(line.get(key))]


def _trainings(epochs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the epochs of each training that tells of tokens, in the order of the log."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in epochs:
        epoch: Any = line.get("member_epoch", line.get("epoch"))
        if all(is_number(value) for value in (epoch, *(line.get(key) for key in _KEYS))):
            who = [[one.get("name"), one.get("seed")] for one in line["members"]]
            found.setdefault(str(who), []).append(line | {"x": int(epoch)})
    return list(found.values())


def _figure(runs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "data": [
            *(_line(run, key, role, dash) for run in runs for key, role, dash in _LANES),
            _line(runs[0], "learning_rate", "--ink-soft", "solid")
            | {"yaxis": "y2", "hovertemplate": "epoch %{x}: %{y:.3~g}<extra></extra>"},
        ],
        "layout": layout(
            height=400,
            xaxis=epoch_axis(max(run[-1]["x"] for run in runs), anchor="y2"),
            yaxis=y_axis(
                "right tokens", domain=[0.36, 1], nticks=6, tickformat=".2~%", rangemode="tozero"
            ),
            yaxis2=y_axis(
                "learning rate", domain=[0, 0.24], nticks=3, tickformat=".2~g", rangemode="tozero"
            ),
        ),
    }


def _line(run: list[dict[str, Any]], key: str, role: str, dash: str) -> dict[str, Any]:
    what = {"accuracy": "right", "constant_accuracy": "right by the constant guess"}.get(key, "")
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(run) == 1 else "lines",
        "x": [line["x"] for line in run],
        "y": rounded([line[key] for line in run]),
        "line": {
            "color": role,
            "width": 1 if key == "learning_rate" else 2,
            "dash": dash,
        },
        "hovertemplate": f"epoch %{{x}}: %{{y:.2%}} {what}<extra></extra>",
    }
