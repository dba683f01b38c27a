"""The network that a study names, over the features that it has."""

from typing import Any

from walkforge import models
from walkforge.models import Architecture, ForecastRow

from ._own import OwnParts
from ._study import Study


def network_of(study: Study, *, n_features: int, n_classes: int) -> Architecture:
    """Return the architecture of the model section; raise TrainingError for an impossible one."""
    own = OwnParts.of(study).model
    if own is not None:
        return models.OwnNetwork(
            n_features=n_features,
            window_bars=study.features.window_bars,
            n_classes=n_classes,
            part=own,
        )
    return models.build_architecture(
        study.model.name,
        n_features=n_features,
        window_bars=study.features.window_bars,
        **network_options(study, n_classes=n_classes),
    )


def network_options(study: Study, *, n_classes: int) -> dict[str, Any]:
    """Return all that a bundle must hold to build the network again, features apart."""
    outputs = {"n_classes": n_classes}
    if study.model.forecasts:
        outputs = {"horizon_bars": study.labels.horizon_bars}
    return outputs | study.model.options()


def forecast_row(study: Study) -> ForecastRow:
    """Return the order of a forecaster's outputs."""
    return ForecastRow(study.labels.horizon_bars)
