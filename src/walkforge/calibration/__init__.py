"""Scores and outcomes to probabilities: what a network says, made as likely as it says.

A calibrator is fitted on the calibration slice of one fold and applied to later rows. It never
sees another row, and one row comes out the same alone as among a million.
"""

from ._calibrators import (
    KINDS,
    Calibrator,
    calibrator_from_dict,
    fit_calibrator,
    least_rows,
)
from ._forecast_classes import ForecastClasses
from ._mixture import fit_mixture, log_of_mixture, mixture
from ._quantile_rule import class_scores
from ._spread import Spread, fit_spread, no_spread

__all__ = [
    "KINDS",
    "Calibrator",
    "ForecastClasses",
    "Spread",
    "calibrator_from_dict",
    "class_scores",
    "fit_calibrator",
    "fit_mixture",
    "fit_spread",
    "least_rows",
    "log_of_mixture",
    "mixture",
    "no_spread",
]
