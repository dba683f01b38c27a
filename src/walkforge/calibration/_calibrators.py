"""The choice of calibrators: what all of them offer, fitting one, and reading one back."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer

from walkforge.base import CalibrationError, one_of

from ._isotonic import Isotonic, fit_isotonic
from ._platt import Platt, fit_platt
from ._slice import Slice, checked_slice
from ._temperature import Temperature, fit_temperature
from ._uncalibrated import Uncalibrated, fit_nothing


@runtime_checkable
class Calibrator(Protocol):
    """What was learned from one calibration slice; frozen."""

    @property
    def n_rows(self) -> int:
        """Rows of the slice that it was fitted on."""
        ...

    @property
    def note(self) -> str:
        """What the slice could not teach, in words; empty where it could teach all."""
        ...

    def apply(self, logits: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        """Return probabilities float64; rows sum to 1, and each depends on its own logits only.

        A row with a NaN or infinite logit comes out as NaN, so that it is counted and not hidden.
        """
        ...

    def as_dict(self) -> dict[str, Any]:
        """Return plain data that `calibrator_from_dict` turns back without losing a digit."""
        ...


class _Kind(NamedTuple):
    fit: Callable[[Slice], Calibrator]
    read: Callable[[dict[str, Any]], Calibrator]
    min_rows: int


_KINDS = {
    "temperature": _Kind(fit_temperature, Temperature.from_dict, Temperature.MIN_ROWS),
    "platt": _Kind(fit_platt, Platt.from_dict, Platt.MIN_ROWS),
    "isotonic": _Kind(fit_isotonic, Isotonic.from_dict, Isotonic.MIN_ROWS),
    "none": _Kind(fit_nothing, Uncalibrated.from_dict, Uncalibrated.MIN_ROWS),
}

KINDS = tuple(_KINDS)
"""Names that `fit_calibrator` knows."""


def least_rows(kind: str) -> int:
    """Return how many rows a calibration slice must have for this kind."""
    return _KINDS[one_of("calibration", kind, _KINDS)].min_rows


def fit_calibrator(
    kind: str, logits: Float[np.ndarray, "rows classes"], labels: Integer[np.ndarray, " rows"]
) -> Calibrator:
    """Fit a calibrator on the calibration slice, and on nothing else.

    kind, one of `temperature`, `platt`, `isotonic`, `none`; logits (n, C), any real numbers;
    labels (n,), 0 to C - 1. The same slice gives the same calibrator to the last bit.
    Raises CalibrationError for too few rows (30, 100, 200 and 0), for logits that are NaN or
    infinite and for labels out of range; UsageError for an unknown kind. A class without rows is
    no error: `note` says what became of it.
    """
    chosen = _KINDS[one_of("calibration", kind, _KINDS)]
    return chosen.fit(checked_slice(kind, logits, labels, min_rows=chosen.min_rows))


def calibrator_from_dict(d: dict[str, Any]) -> Calibrator:
    """Return the calibrator that `as_dict` described; raise CalibrationError for anything else."""
    kind = d.get("kind")
    if kind not in _KINDS:
        raise CalibrationError(f"calibrator of kind {kind!r}, expected one of {', '.join(_KINDS)}")
    try:
        return _KINDS[kind].read(d)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"calibrator of kind {kind!r} cannot be read ({error!r}); write it again with as_dict()"
        ) from None
