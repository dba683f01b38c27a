"""How a MarketGPT is trained, and how fast it may learn at each step."""

import math
from dataclasses import dataclass

from walkforge.base import TrainingError

from ._token_windows import SAMPLING

_AT_LEAST_ONE = ("epochs", "batch_windows", "patience", "checkpoint_epochs")
_AT_LEAST_ONE_OR_NONE = ("micro_windows", "steps_per_epoch")


@dataclass(frozen=True, kw_only=True, slots=True)
class GptPlan:
    """The settings of one training; raises TrainingError for what cannot be."""

    epochs: int = 20
    batch_windows: int = 64
    """Windows of one step, of all devices together."""
    micro_windows: int | None = None
    """So many windows at most are computed at once, and their gradients added up; None: all."""
    steps_per_epoch: int | None = None
    """None: as many as show every training target once."""
    learning_rate: float = 6e-4
    warmup_steps: int = 200
    """Over so many steps the learning rate rises from 0; half of all steps at most."""
    final_rate_frac: float = 0.1
    """What is left of the learning rate at the end of the cosine."""
    weight_decay: float = 0.1
    """Of matrices; embeddings and norms do not decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip_norm: float = 1.0
    """Largest norm of the whole gradient."""
    patience: int = 5
    """Epochs without a better validation loss after which training stops."""
    checkpoint_epochs: int = 1
    """A checkpoint is written whenever so many epochs have passed, and at the end."""
    gradient_checkpointing: bool = False
    """Compute each block anew in the backward pass: less memory, a third more work."""
    weights: str = "rows"
    """By what assets are drawn: `rows`, `equal_assets` or `equal_categories`."""

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in _AT_LEAST_ONE_OR_NONE:
            value = getattr(self, name)
            _require(name, value, value is None or value >= 1, "at least 1, or left out")
        _require("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "at least 0")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            _require(name, value, 0 <= value < math.inf, "at least 0")
        _require("clip_norm", self.clip_norm, self.clip_norm > 0, "positive")
        _require(
            "final_rate_frac", self.final_rate_frac, 0 <= self.final_rate_frac <= 1, "from 0 to 1"
        )
        in_range = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _require("betas", self.betas, in_range, "two numbers of at least 0, below 1")
        _require("weights", self.weights, self.weights in SAMPLING, " or ".join(SAMPLING))


def warmup_of(plan: GptPlan, n_steps: int) -> int:
    """Return the steps of warm-up in a training of `n_steps`: never more than half of them."""
    return min(plan.warmup_steps, n_steps // 2)


def rate_at(plan: GptPlan, step: int, n_steps: int) -> float:
    """Return the learning rate of a step, counted from 0, of `n_steps` in all.

    It rises on a line, reaches the plan's rate at the last step of warm-up, and falls from there
    on half a cosine (Loshchilov and Hutter 2017, "SGDR"), which ends with the training.
    """
    warmup = warmup_of(plan, n_steps)
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(n_steps - warmup, 1)
    above_final = 0.5 * (1.0 + math.cos(math.pi * done)) * (1.0 - plan.final_rate_frac)
    return plan.learning_rate * (plan.final_rate_frac + above_final)


def _require(name: str, found: object, holds: bool, expected: str) -> None:
    if not holds:
        raise TrainingError(f"training.{name} is {found!r}; it must be {expected}")
