"""Out-of-sample predictions to measures with intervals, and diagnostics of odd behaviour.

Nothing here decides whether a number is good: that is the gates' business.
"""

from ._diagnostics import diagnostics
from ._drift import LITTLE_PSI, column_drift, column_reference, fewest_rows
from ._drift_calibration import calibration_drift, calibration_state
from ._forecast_ensemble import ensemble_forecast
from ._forecast_pair import paired_forecasts
from ._forecasts import forecast_metrics
from ._measure import measure
from ._metrics import metrics
from ._paired_test import LABELS_MAY_DIFFER_FRAC, paired_mean, paired_test
from ._read import read_answers, read_predictions
from ._rows import classes_of
from ._sequential import hits_test, one_after_another
from ._series import series_names
from ._superior_models import superior_models
from ._token_metrics import TokenRows, TokenScores, token_metrics

__all__ = [
    "LABELS_MAY_DIFFER_FRAC",
    "LITTLE_PSI",
    "TokenRows",
    "TokenScores",
    "calibration_drift",
    "calibration_state",
    "classes_of",
    "column_drift",
    "column_reference",
    "diagnostics",
    "ensemble_forecast",
    "fewest_rows",
    "forecast_metrics",
    "hits_test",
    "measure",
    "metrics",
    "one_after_another",
    "paired_forecasts",
    "paired_mean",
    "paired_test",
    "read_answers",
    "read_predictions",
    "series_names",
    "superior_models",
    "token_metrics",
]
