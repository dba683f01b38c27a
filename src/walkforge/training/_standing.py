"""How a member stands: its best epoch, how long it waits for a better one, how it was slowed."""

from dataclasses import dataclass, field

from ._plan import TrainingPlan


@dataclass(slots=True)
class Standing:
    """Follows from the member's losses so far, so that a checkpoint need not hold it."""

    plan: TrainingPlan
    history: list[dict[str, float]] = field(default_factory=list)
    """Per epoch `train_loss` and `validation_loss`."""
    best_epoch: int = 0
    """Counted from 1; 0 before the first finite validation loss."""
    waited: int = 0
    """Epochs since the last better validation loss."""
    slowed: float = 1.0
    """What the plateau schedule has made of the learning rate so far, as a factor."""

    @property
    def best(self) -> dict[str, float]:
        """Return the losses of the best epoch; NaN where there is none."""
        nothing = {"train_loss": float("nan"), "validation_loss": float("nan")}
        return self.history[self.best_epoch - 1] if self.best_epoch else nothing

    @property
    def done(self) -> bool:
        """Return whether the member stops here."""
        return self.waited >= self.plan.patience or len(self.history) >= self.plan.epochs

    def note(self, train_loss: float, validation_loss: float) -> bool:
        """Take in an epoch's losses; return whether it is the best so far."""
        best_loss = self.best["validation_loss"] if self.best_epoch else float("inf")
        self.history.append({"train_loss": train_loss, "validation_loss": validation_loss})
        if validation_loss < best_loss:
            self.best_epoch, self.waited = len(self.history), 0
            return True
        self.waited += 1
        if self.plan.schedule == "plateau" and self.waited % self.plan.plateau_patience == 0:
            self.slowed *= self.plan.plateau_factor
        return False
