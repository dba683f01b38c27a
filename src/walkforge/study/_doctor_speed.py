"""How fast this machine is, in about ten seconds: arithmetic, memory, training, features, fills.

Rough on purpose: numbers to see whether a machine does what it should. What is claimed stands in
`benchmarks/`.

Shapes: M members, N rows of the table, F features
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge import execution, features, market, models, training
from walkforge.base import IntArray, Silent, choose_precision
from walkforge.features import CLIP
from walkforge.market import Bars

from ._watcher import Watcher

if TYPE_CHECKING:
    import torch

_N_MEMBERS = 45
_N_FEATURES = 32
_N_CLASSES = 3
_BATCH = 256
_TRAIN_ROWS = 6 * _BATCH
_N_ROWS = 20_000
_EPOCHS = 5
_N_BARS = 100_000
_BUDGET_S = 0.8  # of one check


def measure_speed(device: "torch.device", watcher: Watcher) -> dict[str, Any]:
    """Return speeds by name, unit last; training in rows/s, all members together."""
    bars = market.simulate("garch", n_bars=_N_BARS, timeframe="1m")
    checks: list[tuple[str, str, Callable[[], float]]] = [
        ("matmul_gflop_per_s", "a large matrix product", lambda: _matmul(device)),
        ("memory_gb_per_s", "a copy in memory", lambda: _memory(device)),
        ("packed_rows_per_s", f"training {_N_MEMBERS} models as one", lambda: _packed(device)),
        ("plain_rows_per_s", "training one model after the other", lambda: _plain(device)),
        ("feature_rows_per_s", "features", lambda: _features(bars)),
        ("backtest_bars_per_s", "fills", lambda: _fills(bars)),
    ]
    watcher.stage("measuring speed")
    found: dict[str, Any] = {}
    for number, (name, words, check) in enumerate(checks):
        watcher.item(number, len(checks), words)
        found[name] = check()
    found["n_members"] = _N_MEMBERS
    found["packed_ratio"] = found["packed_rows_per_s"] / found["plain_rows_per_s"]
    return found


def _matmul(device: "torch.device") -> float:
    """Return GFLOP/s of a large matrix product in the precision that training takes."""
    import torch

    precision, _ = choose_precision("auto", device)
    size = 8192 if device.type == "cuda" else 1536
    a = torch.ones(size, size, device=device, dtype=getattr(torch, precision.name))
    b = torch.ones_like(a)
    return 2 * size**3 / _seconds(lambda: torch.mm(a, b), device) / 1e9


def _memory(device: "torch.device") -> float:
    """Return GB/s of a copy in the device's memory, reading and writing counted."""
    import torch

    source = torch.zeros(2**25, device=device)
    target = torch.zeros_like(source)
    n_bytes = 2 * source.numel() * source.element_size()
    return n_bytes / _seconds(lambda: target.copy_(source), device) / 1e9


def _packed(device: "torch.device") -> float:
    """Return rows/s of members that train as one pack, once the first epoch is over."""
    table_NF, labels = _training_rows()
    members = [
        training.Member(
            symbol="SPEED",
            fold=0,
            seed=seed,
            train_rows=np.arange(_TRAIN_ROWS),
            train_labels=labels[:_TRAIN_ROWS],
            validation_rows=np.arange(_TRAIN_ROWS, _TRAIN_ROWS + _BATCH),
            validation_labels=labels[_TRAIN_ROWS : _TRAIN_ROWS + _BATCH],
            center=np.zeros(_N_FEATURES),
            scale=np.ones(_N_FEATURES),
        )
        for seed in range(_N_MEMBERS)
    ]
    reports = _Reports()
    training.train_pack(
        _architecture(),
        table_NF.to(device),
        members,
        training.TrainingPlan(epochs=_EPOCHS, batch_size=_BATCH, patience=_EPOCHS),
        window_bars=1,
        n_classes=_N_CLASSES,
        clip=CLIP,
        precision=choose_precision("auto", device)[0],
        watcher=reports,
    )
    return max(reports.rows_per_s[1:])


def _plain(device: "torch.device") -> float:
    """Return rows/s of one such model after the other, as PyTorch's tutorials train it."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    table_NF, labels = _training_rows()
    rows = TensorDataset(table_NF[:_TRAIN_ROWS], torch.from_numpy(labels[:_TRAIN_ROWS]).long())
    batches = DataLoader(rows, batch_size=_BATCH, shuffle=True)
    model = _architecture().twin().to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def epoch() -> None:
        for x_BF, y_B in batches:
            logits_BC = model(x_BF[:, None].to(device))
            loss = torch.nn.functional.cross_entropy(logits_BC, y_B.to(device))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()

    return _TRAIN_ROWS / _seconds(epoch, device)


def _features(bars: Bars) -> float:
    started = time.perf_counter()
    features.build(bars, "v8")
    return len(bars) / (time.perf_counter() - started)


def _fills(bars: Bars) -> float:
    """Return bars/s from bars to fills, with an order every half hour."""
    rows: IntArray = np.arange(100, len(bars) - 1, 30)
    bracket = execution.Bracket()
    nothing = np.full(len(rows), np.nan)
    decisions = execution.Decisions(
        row=rows,
        side=np.where(rows % 60 == 10, 1, -1).astype(np.int8),
        size=np.ones(len(rows)),
        stop=nothing,
        target=nothing,
    )

    def filled() -> None:
        tape = execution.make_tape(bars, bracket.atr_bars)
        execution.fill(tape, decisions, bracket, slippage_price=0.0)

    return len(bars) / _seconds(filled)


def _training_rows() -> tuple["torch.Tensor", np.ndarray]:
    """Return a table (N, F) of noise and its classes (N,)."""
    import torch

    random = np.random.default_rng(0)
    table = random.standard_normal((_N_ROWS, _N_FEATURES), dtype=np.float32)
    return torch.from_numpy(table), random.integers(0, _N_CLASSES, _N_ROWS).astype(np.int8)


def _architecture() -> models.Architecture:
    return models.build_architecture(
        "mlp",
        n_features=_N_FEATURES,
        window_bars=1,
        n_classes=_N_CLASSES,
        widths=(64, 32, 16),
        norm="layer",
        dropout=0.0,
    )


def _seconds(work: Callable[[], object], device: "torch.device | None" = None) -> float:
    """Return the shortest time of a call, after a first one that warms up.

    The shortest, because other programs can only make it longer.
    """
    import torch

    def timed() -> float:
        started = time.perf_counter()
        work()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    timed()
    taken: list[float] = []
    while not taken or sum(taken) < _BUDGET_S:
        taken.append(timed())
    return min(taken)


class _Reports(Silent):
    """Keeps the speed of every epoch."""

    def __init__(self) -> None:
        self.rows_per_s: list[float] = []

    def epoch(self, report: dict[str, Any]) -> None:
        self.rows_per_s.append(report["rows_per_s"])
