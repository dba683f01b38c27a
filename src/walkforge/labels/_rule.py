"""Which outcome a model learns to foresee."""

import math
from dataclasses import dataclass, field

from walkforge.base import LabelError, UsageError, nearest, split_own
from walkforge.execution import Bracket

KINDS = ("threshold", "quantile", "volatility", "triple_barrier", "direction")
OWN_KINDS = ("quantile", "threshold", "direction")
"""Kinds whose limits say something about a user's own scores."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRule:
    """What a label is made of; each kind reads the fields that its docstring names.

    `threshold` (horizon_bars, threshold_frac): up where the close is more than `threshold_frac`
    higher `horizon_bars` bars later, down where it is more than that lower.
    `quantile` (horizon_bars): the limits are the terciles of the training slice.
    `volatility` (horizon_bars, volatility_bars, volatility_multiple): the limits are multiples of
    what the last `volatility_bars` returns let expect of `horizon_bars` bars.
    `triple_barrier` (bracket): up where a long hits its target, by the fills of the backtest; down
    where a short does. What a fill slips is no part of the rule; `outcomes` is told.
    `direction` (horizon_bars): up where the close is higher, down where it is not.
    With `own` the scores are those of a user's function, and horizon_bars says nothing: limits of
    `quantile` are its terciles, of `threshold` those of a log return, of `direction` 0.
    """

    own: str | None = None
    """A user's function, `PATH.py:NAME`."""
    kind: str = "threshold"
    horizon_bars: int = 1
    threshold_frac: float = 0.012
    """The plan's 1.2 %, a fraction of the close at the decision."""
    volatility_bars: int = 60
    volatility_multiple: float = 0.5
    bracket: Bracket = field(default_factory=Bracket)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabelError(
                f"unknown label kind {self.kind!r}{nearest(self.kind, KINDS)}; "
                f"choose one of {', '.join(KINDS)}"
            )
        self._refuse_own()
        for name, least in (("horizon_bars", 1), ("volatility_bars", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise LabelError(
                    f"labels.{name} is {value!r}; it must be a whole number of at least {least}"
                )
        if not 0 < self.threshold_frac < 1:
            raise LabelError(
                f"labels.threshold_frac is {self.threshold_frac}; it must lie between 0 and 1, "
                "as a fraction of the price (0.012 is 1.2 %)"
            )
        if not 0 < self.volatility_multiple < math.inf:
            raise LabelError(
                f"labels.volatility_multiple is {self.volatility_multiple}; it must be positive"
            )

    def _refuse_own(self) -> None:
        if self.own is None:
            return
        try:
            split_own(self.own, "labels.own")
        except UsageError as error:
            raise LabelError(str(error)) from None
        if self.kind not in OWN_KINDS:
            raise LabelError(
                f"labels.kind is {self.kind}, which makes scores of its own; with labels.own "
                f"choose one of {', '.join(OWN_KINDS)}"
            )


def class_names(rule: LabelRule) -> tuple[str, ...]:
    """Return the classes in their fixed order: down, hold, up; `direction` knows no hold."""
    return ("down", "up") if rule.kind == "direction" else ("down", "hold", "up")
