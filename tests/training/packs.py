"""A table of noise with a pattern in it, members that learn from it, and a watcher that keeps."""

import numpy as np
import torch
from torch.testing import assert_close

from walkforge.base import Precision
from walkforge.models import Bilstm, CnnLstm, Gru, Mlp
from walkforge.training import Member, TrainingPlan, train_pack

FLOAT32 = Precision("float32", autocast=False, tf32=False)
N_ROWS, N_FEATURES, CLIP = 600, 5, 10.0
MLP = Mlp(n_features=N_FEATURES, window_bars=1, n_classes=3, widths=(16, 8))
DROPPED = Mlp(n_features=N_FEATURES, window_bars=1, n_classes=3, widths=(16, 8), dropout=0.2)
BATCH_NORM = Mlp(n_features=N_FEATURES, window_bars=1, n_classes=3, widths=(16,), norm="batch")
DEEP_BATCH_NORM = Mlp(
    n_features=N_FEATURES, window_bars=1, n_classes=3, widths=(12, 8), norm="batch", dropout=0.1
)
GRU = Gru(n_features=N_FEATURES, window_bars=4, n_classes=3, hidden=8)
DEEP_GRU = Gru(n_features=N_FEATURES, window_bars=4, n_classes=3, hidden=8, layers=2, dropout=0.3)
CNN_LSTM = CnnLstm(
    n_features=N_FEATURES, window_bars=4, n_classes=3, channels=(6,), hidden=7, dropout=0.2
)
BILSTM = Bilstm(
    n_features=N_FEATURES,
    window_bars=4,
    horizon_bars=2,
    encoder=(6, 4),
    decoder_hidden=5,
    dropout=0.1,
)
PLAN = TrainingPlan(epochs=4, batch_size=32, learning_rate=3e-3, patience=4)


def make_table() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(N_ROWS, N_FEATURES))).float()


def make_targets(table) -> torch.Tensor:
    """Return what a forecaster of two bars learns: a move that the table lets foresee at first.

    Where members validate it goes the other way, so that they stop early.
    """
    random, n = np.random.default_rng(2), len(table)
    foreseen = np.where(np.arange(n)[:, None] % N_ROWS < 400, 3.0, -3.0)
    moves = foreseen * table[:, :1].cpu().numpy() + random.normal(size=(n, 8))
    bands, volatility = random.normal(size=(n, 4)), random.lognormal(size=(n, 1))
    return torch.from_numpy(np.hstack([moves, np.abs(bands), volatility])).float().to(table.device)


def make_member(table, symbol="A", seed=0, n_train=300, **changes) -> Member:
    values = table.numpy()
    labels = np.digitize(values[:, 0] + 0.5 * values[:, 1], [-0.5, 0.5]).astype(np.int8)
    train, validation = np.arange(10, 10 + n_train), np.arange(400, 550)
    settings = {
        "symbol": symbol,
        "fold": 0,
        "seed": seed,
        "train_rows": train,
        "train_labels": labels[train],
        "validation_rows": validation,
        "validation_labels": labels[validation],
        "center": np.full(N_FEATURES, 0.1),
        "scale": np.full(N_FEATURES, 1.5),
    }
    return Member(**(settings | changes))


def unlike_members(table) -> list[Member]:
    """Return members with different numbers of rows, one of which stops early."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 3, 150).astype(np.int8)
    return [
        make_member(table, "A", n_train=120),
        make_member(table, "B", seed=1, n_train=300),
        make_member(table, "NOISE", seed=3, n_train=260, validation_labels=noise),
        make_member(table, "C", seed=2, n_train=200, learning_rate=1e-3, weight_decay=0.1),
        make_member(table, "D", seed=4, n_train=290),
    ]


def many_members(table, n=20) -> list[Member]:
    """Return more members than a pack has widths, unlike in all; a third of them stop early."""
    random = np.random.default_rng(0)
    noise = {"validation_labels": random.integers(0, 3, 150).astype(np.int8)}
    return [
        make_member(
            table,
            f"S{m}",
            seed=m,
            n_train=100 + 9 * m,
            center=np.full(N_FEATURES, 0.01 * m),
            scale=np.full(N_FEATURES, 1.0 + 0.05 * m),
            learning_rate=0.004 * (1 + m % 4),
            **(noise if m % 3 == 1 else {}),
        )
        for m in range(n)
    ]


def train(architecture, table, members, plan=PLAN, *, precision=FLOAT32, **changes):
    return train_pack(
        architecture,
        table,
        members,
        plan,
        window_bars=architecture.window_bars,
        clip=CLIP,
        precision=precision,
        **(
            {"targets_NT": make_targets(table)}
            if architecture is BILSTM
            else {"n_classes": architecture.n_classes}
        ),
        **changes,
    )


def assert_same_state(left, right, **tolerance):
    assert left.keys() == right.keys()
    for name in left:
        if tolerance:
            assert_close(left[name], right[name], **tolerance)
        else:
            assert torch.equal(left[name], right[name]), name


def assert_same_members(left, right, **tolerance):
    for one, other in zip(left, right, strict=True):
        assert one.member is other.member
        assert one.best_epoch == other.best_epoch
        assert_same_state(one.state, other.state, **tolerance)


class Log:
    """Keeps everything that it is told."""

    def __init__(self):
        self.reports, self.notes, self.phases = [], [], []
        self.steps = 0

    def note(self, text):
        self.notes.append(text)

    def doing(self, what):
        self.phases.append(what)

    def step(self, epoch, step, n_steps):
        self.steps += 1

    def epoch(self, report):
        self.reports.append(report)
