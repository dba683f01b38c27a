"""No calibration: the softmax as the network left it."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from ._scores import row_by_row, softmax
from ._slice import Slice


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Uncalibrated:
    """Probabilities are softmax(logits)."""

    KIND: ClassVar[str] = "none"
    MIN_ROWS: ClassVar[int] = 0

    n_classes: int
    n_rows: int
    note: str = ""

    def apply(self, logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        return row_by_row(logits, softmax, n_classes=self.n_classes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.KIND,
            "n_classes": self.n_classes,
            "n_rows": self.n_rows,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> "Uncalibrated":
        return cls(n_classes=int(d["n_classes"]), n_rows=int(d["n_rows"]), note=str(d["note"]))


def fit_nothing(rows: Slice) -> Uncalibrated:
    """Learn nothing; the slice is only counted."""
    return Uncalibrated(n_classes=rows.n_classes, n_rows=len(rows.labels))
