"""The calibration slice: the only rows that a calibrator sees."""

from dataclasses import dataclass

import numpy as np

from walkforge.base import CalibrationError, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Finite logits (n, C) float64 and the class that came true (n,) int64."""

    logits: FloatArray
    labels: IntArray

    @property
    def n_classes(self) -> int:
        return int(self.logits.shape[1])

    @property
    def counts(self) -> IntArray:
        """Return how many rows each class has (C,)."""
        return np.bincount(self.labels, minlength=self.n_classes)

    @property
    def absent(self) -> list[int]:
        """Return the classes without a row."""
        return [int(k) for k in np.flatnonzero(self.counts == 0)]

    @property
    def teaches(self) -> bool:
        """Tell whether at least two classes have rows: one alone says nothing of odds."""
        return int((self.counts > 0).sum()) >= 2


def checked_slice(kind: str, logits: np.ndarray, labels: np.ndarray, *, min_rows: int) -> Slice:
    """Return the slice, or raise CalibrationError saying what is wrong with it."""
    n_rows, n_classes = logits.shape
    if n_classes < 2:
        raise CalibrationError(f"{kind} calibration: 1 column of logits, expected one per class")
    if n_rows < min_rows:
        raise CalibrationError(
            f"{kind} calibration: {n_rows} rows in the calibration slice, expected at least "
            f"{min_rows}. Give the slice more bars, or choose {_way_out(kind)}."
        )
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise CalibrationError(
            f"{kind} calibration: {int((~finite).sum())} of {n_rows} rows hold NaN or Inf logits "
            f"(first: row {int(np.argmin(finite))}). The network diverged; lower its learning rate."
        )
    strange = (labels < 0) | (labels >= n_classes)
    if strange.any():
        row = int(np.argmax(strange))
        raise CalibrationError(
            f"{kind} calibration: row {row} has label {int(labels[row])}, expected 0 to "
            f"{n_classes - 1}. Leave out rows whose outcome is not known."
        )
    return Slice(np.ascontiguousarray(logits, dtype=np.float64), labels.astype(np.int64))


def _way_out(kind: str) -> str:
    return "none" if kind == "temperature" else "temperature, which needs fewer"
