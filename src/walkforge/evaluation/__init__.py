"""Out-of-sample predictions to measures with intervals, and diagnostics of odd behaviour.

Nothing here decides whether a number is good: that is the gates' business.
"""

from ._diagnostics import diagnostics
from ._forecast_ensemble import ensemble_forecast
from ._forecast_pair import paired_forecasts
from ._forecasts import forecast_metrics
from ._measure import measure
from ._metrics import metrics
from ._paired_test import LABELS_MAY_DIFFER_FRAC, paired_mean, paired_test
from ._read import read_predictions
from ._rows import classes_of
from ._series import series_names
from ._token_metrics import TokenRows, TokenScores, token_metrics

__all__ = [
    "LABELS_MAY_DIFFER_FRAC",
    "TokenRows",
    "TokenScores",
    "classes_of",
    "diagnostics",
    "ensemble_forecast",
    "forecast_metrics",
    "measure",
    "metrics",
    "paired_forecasts",
    "paired_mean",
    "paired_test",
    "read_predictions",
    "series_names",
    "token_metrics",
]
