"""The picture of the log loss that the model saves against each baseline."""

from __future__ import annotations

from ._blocks import Key, absent, picture, source
from ._forest import forest, gain_of
from ._html import Html
from ._run import Run, at
from ._scores import baselines_by_log_loss
from ._words import count, number, titled


def saving_picture(run: Run) -> Html:
    """Return a dot and an interval for every baseline, the strongest at the top."""
    savings = {
        titled(name): gain_of(at(run.metrics, "improvement", name, "log_loss"), parts="by_fold")
        for name in baselines_by_log_loss(run)
    }
    known = {name: saving for name, saving in savings.items() if saving is not None}
    if not known:
        return absent("No comparison with baselines in this run (metrics.json, improvement).")
    roles = [saving.role for saving in known.values()]
    folds = any(saving.parts for saving in known.values())
    return picture(
        forest(
            known, unit="nats per row", worse="model worse", better="model better", part="one fold"
        ),
        name="saving",
        title="Log loss saved against each baseline",
        reading=(
            "Each dot is the model's advantage per row, its bar the 95 % interval. Good is a bar "
            "wholly to the right of the line: the advantage is then no accident of these rows. "
            "A triangle is beyond the edge."
        ),
        keys=(
            Key("--good", "dot", "surely better than the baseline"),
            Key("--unsure", "ring", "cannot be told apart"),
            Key("--bad", "dot", "surely worse"),
            *((Key("--ink-faint", "tick", "single folds"),) if folds else ()),
        ),
        alt=(
            f"The interval lies above zero against {number(roles.count('--good'))} of "
            f"{count(len(known), 'baseline')}, below zero against {number(roles.count('--bad'))}."
        ),
        origin=source("metrics.json", "improvement.*.log_loss"),
    )
