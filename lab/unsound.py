"""What the unsound way would have claimed, beside what a run measured.

    python lab/unsound.py RUN BARS_FOLDER [EPOCHS]

Takes the run's own bars, features, network and training plan, and breaks two rules at once: train,
validation and test rows are drawn at random from all of time, and scaler and label limits are
learned on all rows. Overlapping windows and labels then put near-copies of test rows into training.
Prints one line per symbol and a pooled one; nothing of it goes into the run.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from walkforge import features, labels, models, study, training
from walkforge.base import Silent, choose_device, choose_precision, derive_seed, whole_windows
from walkforge.study import read_bars


class Progress(Silent):
    """Says how each epoch went."""

    def epoch(self, report: dict) -> None:
        losses = [line["validation_loss"] for line in report["members"]]
        print(f"epoch {report['epoch']}: {np.round(losses, 4)}", file=sys.stderr)


def main(run: Path, bars: Path, *epochs: str) -> None:
    fewer = [f"training.epochs={number}" for number in epochs]
    plan = study.load(run / "study.yaml", fewer, bars=bars)
    device, _ = choose_device(plan.device.device)
    precision, _ = choose_precision(plan.device.precision, device)
    tables, members, tests, first = [], [], [], 0
    for symbol, one in read_bars(plan).items():
        values, classes, usable = _everything(one, plan)
        scaler = features.fit_scaler(plan.features.scaler, values[usable])
        train, validation, test = _random_split(usable, derive_seed(0, "unsound", symbol))
        members.append(
            training.Member(
                symbol=symbol,
                fold=0,
                seed=plan.seeds[0],
                train_rows=train + first,
                train_labels=classes[train],
                validation_rows=validation + first,
                validation_labels=classes[validation],
                center=scaler.center_,
                scale=scaler.scale_,
            )
        )
        tests.append((test + first, classes[test]))
        tables.append(values)
        first += len(values)
    table_NF = torch.from_numpy(np.concatenate(tables)).to(device)
    n_classes = len(labels.class_names(plan.labels))
    architecture = models.build_architecture(
        plan.model.name,
        n_features=table_NF.shape[1],
        window_bars=plan.features.window_bars,
        n_classes=n_classes,
        **plan.model.options(),
    )
    shared = {"window_bars": plan.features.window_bars, "clip": features.CLIP}
    trained = training.train_pack(
        architecture,
        table_NF,
        members,
        plan.training,
        n_classes=n_classes,
        precision=precision,
        watcher=Progress(),
        **shared,
    )
    forward = models.PackedForward.build(
        architecture,
        table_NF,
        centers=[member.center for member in members],
        scales=[member.scale for member in members],
        precision=precision,
        **shared,
    )
    state = models.stack_states(architecture, [one.state for one in trained], table_NF.device)
    logits = models.predict_outputs(forward, state, [rows for rows, _ in tests])
    found = [(score, truth) for score, (_, truth) in zip(logits, tests, strict=True)]
    for member, (score, truth) in zip(members, found, strict=True):
        print(json.dumps({"symbol": member.symbol, **_measures(score, truth)}))
    pooled = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    print(json.dumps({"symbol": "pooled", **_measures(*pooled)}))


def _everything(bars, plan):
    """Return features, classes by limits learned on all rows, and the rows that have both."""
    table = features.build(bars, plan.features.set)
    outcomes = labels.outcomes(bars, plan.labels)
    usable = whole_windows(table.valid, plan.features.window_bars) & outcomes.valid
    limits = labels.fit_limits(plan.labels, outcomes.score[usable])
    return table.values, limits.classify(outcomes.score), np.flatnonzero(usable)


def _random_split(rows, seed):
    """Return 70 / 15 / 15 % of the rows, drawn at random: the mistake."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    cuts = [int(len(rows) * 0.70), int(len(rows) * 0.85)]
    return [np.sort(part) for part in np.split(shuffled, cuts)]


def _measures(logits, truth):
    said = logits.argmax(axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    recalls = [float((said[truth == c] == c).mean()) for c in np.unique(truth)]
    return {
        "accuracy": round(float((said == truth).mean()), 4),
        "balanced_accuracy": round(float(np.mean(recalls)), 4),
        "log_loss": round(float(-log_p[np.arange(len(truth)), truth].mean()), 4),
        "n": len(truth),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
