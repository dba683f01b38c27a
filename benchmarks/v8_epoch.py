"""Time per epoch of a finished run of the `v8` preset, beside the literal way.

    walkforge run v8 --bars FOLDER --out runs/v8
    python benchmarks/v8_epoch.py runs/v8

The literal way trains one model after the other on as many rows: `TensorDataset`, `DataLoader`, the
same network, AdamW, clipping, a validation pass; rows are noise, which takes as long as bars. It is
measured now, the run was measured when it ran: compare runs of the same machine in the same state.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import yaml
from _side_by_side import hardware
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from walkforge.models import build_architecture

_N_FEATURES, _N_CLASSES = 72, 3


def main() -> None:
    """Read the run, train one literal epoch, print."""
    run, rounds = _arguments()
    settings = yaml.safe_load((run / "study.yaml").read_text())
    folds = json.loads((run / "folds.json").read_text())
    log = (run / "training_log.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in log]
    # Epochs of all members; those after the first has stopped are shorter.
    whole = [e["seconds"] for e in epochs if len(e["members"]) == len(epochs[0]["members"])]
    packed_s = statistics.median(whole)
    literal_s = statistics.median(
        sum(literal_epoch(fold["rows"], settings) for fold in folds) for _ in range(rounds)
    )
    n_rows = sum(fold["rows"]["train"] for fold in folds)
    most = settings["training"]["epochs"]
    print(f"{hardware()}; torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| `v8`, rows an epoch | way | s an epoch | epochs run | if all epochs ran |")
    print("|---|---|---|---|---|")
    taken = sum(epoch["seconds"] for epoch in epochs)
    print(
        f"| {n_rows:,} | packed | {packed_s:.1f} | {len(epochs)} in {taken / 60:.1f} min "
        f"| {packed_s * most / 60:.0f} min |"
    )
    print(f"| {n_rows:,} | literal | {literal_s:.1f} | - | {literal_s * most / 60:.0f} min |")


def literal_epoch(rows: dict[str, int], settings: dict) -> float:
    """Return the seconds of an epoch of one symbol."""
    x, y = (_noise(rows[name]) for name in ("train", "validation"))
    network = build_architecture(
        "mlp",
        n_features=_N_FEATURES,
        window_bars=1,
        n_classes=_N_CLASSES,
        widths=settings["model"]["widths"],
    ).twin()
    loss_of = nn.CrossEntropyLoss(label_smoothing=settings["training"]["label_smoothing"])
    optimizer = torch.optim.AdamW(network.parameters())
    batch_size = settings["training"]["batch_size"]
    started = time.perf_counter()
    for inputs, labels in DataLoader(x, batch_size=batch_size, shuffle=True):
        optimizer.zero_grad()
        loss_of(network(inputs), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        for inputs, labels in DataLoader(y, batch_size=batch_size):
            loss_of(network(inputs), labels)
    return time.perf_counter() - started


def _noise(n_rows: int) -> TensorDataset:
    return TensorDataset(torch.randn(n_rows, _N_FEATURES), torch.randint(0, _N_CLASSES, (n_rows,)))


def _arguments() -> tuple[Path, int]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    return options.run, options.rounds


if __name__ == "__main__":
    main()
