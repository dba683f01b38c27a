"""What `bundle.json` says of one member."""

from typing import Any

from walkforge import __version__
from walkforge.base import utc_text

from ._forecasting import ForecastReader
from ._learn import Learned
from ._network import network_options
from ._prepare import Prepared
from ._study import Study


def describe(study: Study, prepared: Prepared, one: Learned) -> dict[str, Any]:
    """Return all that prediction needs beside the weights, and where the member comes from."""
    part, data = one.part, prepared.series[one.part.series]
    return {
        "walkforge": __version__,
        "study": study.name,
        "model": {
            "name": study.model.name,
            "options": network_options(study, n_classes=len(prepared.classes)),
        },
        "features": list(prepared.columns),
        "feature_set": study.features.set,
        "window_bars": study.features.window_bars,
        "scaler": part.scaler.as_dict(),
        "calibrator": one.calibrator.as_dict(),
        "forecast": _forecast(study, one),
        "label": {"kind": study.labels.kind, "limits": part.limits.as_dict()},
        "classes": list(prepared.classes),
        "symbols": [data.bars.symbol],
        "timeframe": data.bars.timeframe,
        "calendar": data.bars.calendar,
        "provenance": data.bars.provenance,
        "fold": part.fold.index,
        "seed": one.trained.member.seed,
        "best_epoch": one.trained.best_epoch,
        "best_validation_loss": one.trained.best_validation_loss,
        "trained": [
            utc_text(int(data.bars.timestamp[part.rows.train[0]])),
            utc_text(int(data.bars.timestamp[part.rows.train[-1]])),
        ],
    }


def _forecast(study: Study, one: Learned) -> dict[str, Any] | None:
    """Return what makes prices and classes of a forecaster's outputs."""
    if not isinstance(one.reader, ForecastReader):
        return None
    return {
        "volatility_bars": study.labels.volatility_bars,
        "classes": one.reader.classes.as_dict(),
    }
