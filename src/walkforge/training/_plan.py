"""How members are trained, and what a member is made of."""

import math
from dataclasses import dataclass, field

import numpy as np

from walkforge.base import FloatArray, Int8Array, IntArray, TrainingError, derive_seed
from walkforge.models import HEADS

LOSSES = ("cross_entropy", "focal")
SCHEDULES = ("constant", "cosine", "plateau")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadWeights:
    """How much each head of a forecaster counts in its loss; 0 leaves it untrained."""

    ohlc: float = 1.0
    band: float = 0.5
    volatility: float = 0.5
    quantiles: float = 1.0

    def __post_init__(self) -> None:
        for name, value in zip(HEADS, self.in_order, strict=True):
            if not 0 <= value < math.inf:
                raise TrainingError(f"training.heads.{name} is {value}; it must be at least 0")
        if not any(self.in_order):
            raise TrainingError("training.heads are all 0; there would be nothing to learn")

    @property
    def in_order(self) -> tuple[float, ...]:
        """Return the weights in the order of HEADS."""
        return tuple(getattr(self, name) for name in HEADS)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """The settings that all members of a pack share."""

    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    """Largest gradient norm of one member."""
    loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    """`balanced` weights every class by the inverse of its share in the training slice."""
    heads: HeadWeights = field(default_factory=HeadWeights)
    """Of a forecaster."""
    schedule: str = "cosine"
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    patience: int = 10
    """Epochs without a better validation loss after which a member stops."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "plateau_patience", "patience"):
            if getattr(self, name) < 1:
                raise TrainingError(
                    f"training.{name} is {getattr(self, name)}; it must be at least 1"
                )
        for name in ("learning_rate", "weight_decay", "focal_gamma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainingError(
                    f"training.{name} is {getattr(self, name)}; it must be at least 0"
                )
        if not self.clip_norm > 0:
            raise TrainingError(f"training.clip_norm is {self.clip_norm}; it must be positive")
        for name in ("label_smoothing", "plateau_factor"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(
                    f"training.{name} is {getattr(self, name)}; it must be at least 0, below 1"
                )
        for name, choices in {
            "loss": LOSSES,
            "schedule": SCHEDULES,
            "class_weights": ("none", "balanced"),
        }.items():
            if getattr(self, name) not in choices:
                raise TrainingError(
                    f"training.{name} is {getattr(self, name)!r}; choose {' or '.join(choices)}"
                )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Member:
    """One network to train: rows of the table, their classes, and its own scaler.

    Rows are numbers of the whole table (n,), classes int8 (n,); center and scale are (F,).
    """

    symbol: str
    fold: int
    seed: int
    train_rows: IntArray
    train_labels: Int8Array
    validation_rows: IntArray
    validation_labels: Int8Array
    center: FloatArray
    scale: FloatArray
    learning_rate: float | None = None
    """Overrides the plan's, as does `weight_decay`: the members of a search differ in them."""
    weight_decay: float | None = None
    trial: int = 0
    """Number of the trial of a search, 0 outside of one. No part of the seed: the trials of one
    member differ by their settings alone."""

    def __post_init__(self) -> None:
        for part in ("train", "validation"):
            rows, labels = getattr(self, f"{part}_rows"), getattr(self, f"{part}_labels")
            if len(rows) == 0 or len(rows) != len(labels):
                raise TrainingError(
                    f"{self.name}: {len(rows)} {part} rows and {len(labels)} labels; "
                    "expected as many of each, and at least one. Use more bars or longer slices."
                )
        if len(np.unique(self.train_labels)) < 2:
            raise TrainingError(
                f"{self.name}: all {len(self.train_labels)} training rows have one class "
                f"({int(self.train_labels[0])}); there is nothing to learn. "
                "Use labels.kind=quantile, a smaller threshold or more bars."
            )

    @property
    def name(self) -> str:
        """Return `SYMBOL/fold/seed`, in a search with `/trial`: the name in logs and messages."""
        trial = f"/trial{self.trial}" if self.trial else ""
        return f"{self.symbol}/fold{self.fold}/seed{self.seed}{trial}"

    @property
    def random_seed(self) -> int:
        """Return the seed of everything random in this member, whatever pack it trains in."""
        return derive_seed(self.seed, "member", self.symbol, self.fold)
