"""The network of a bundle, as its run computed it.

Shapes: N bars, n rows asked, F features, K outputs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge.base import BoolArray, FloatArray, IntArray, Precision
from walkforge.calibration import ForecastClasses, calibrator_from_dict
from walkforge.features import CLIP, Scaler
from walkforge.registry import Bundle

from ._forecast import ForecastReader
from ._model import Answer, Seen, look_back_of, refuse_other_features, rows_with_windows
from ._own import own_model

if TYPE_CHECKING:
    from walkforge.models import Architecture

_EXACT = Precision("float32", autocast=False, tf32=False)


class NetworkModel:
    """One network that is ready to predict; loading happens once."""

    def __init__(self, bundle: Bundle) -> None:
        import torch

        from walkforge.models import OwnNetwork, build_architecture, stack_states

        described = bundle.description
        self.bundle = bundle
        self.window_bars: int = described["window_bars"]
        self.scaler = Scaler.from_dict(described["scaler"])
        self.calibrator = calibrator_from_dict(described["calibrator"])
        refuse_other_features(bundle)
        sizes = {"n_features": len(described["features"]), "window_bars": self.window_bars}
        name, options = described["model"]["name"], described["model"]["options"]
        self.architecture: Architecture = (
            OwnNetwork(**sizes, part=own_model(bundle), **options)
            if name == "own"
            else build_architecture(name, **sizes, **options)
        )
        self.state = stack_states(self.architecture, [bundle.weights], torch.device("cpu"))
        self.forecast_reader = _forecast_reader(self.architecture, described)

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included."""
        needed, reader = look_back_of(self.bundle), self.forecast_reader
        return needed if reader is None else max(needed, reader.volatility_bars + 1)

    @property
    def price_names(self) -> list[str]:
        """Return the columns of prices that it forecasts, in order."""
        return [] if self.forecast_reader is None else self.forecast_reader.names

    def can_predict(self, seen: Seen) -> BoolArray:
        """Tell of which bars (N,) it has all that a prediction needs."""
        whole = rows_with_windows(seen, self.bundle)
        reader = self.forecast_reader
        return whole if reader is None else whole & reader.has_volatility(seen.bars)

    def answer(self, seen: Seen, rows: IntArray) -> Answer:
        """Return what it says of rows (n,) of the bars."""
        outputs = self.outputs(seen.features(self.bundle).values, rows)
        reader = self.forecast_reader
        if reader is None:
            return Answer(outputs, self.calibrator.apply(outputs))
        scores = reader.scores(outputs, seen.bars, rows)
        prices = reader.price_columns(outputs, seen.bars, rows)
        return Answer(scores, self.calibrator.apply(scores), prices)

    def outputs(self, values: np.ndarray, rows: IntArray) -> FloatArray:
        """Return the network's outputs (n, K) at rows (n,) of features (N, F), not yet scaled."""
        import torch

        from walkforge.models import PackedForward, predict_outputs

        forward = PackedForward.build(
            self.architecture,
            torch.from_numpy(values),
            window_bars=self.window_bars,
            centers=[self.scaler.center_],
            scales=[self.scaler.scale_],
            clip=CLIP,
            precision=_EXACT,
        )
        return predict_outputs(forward, self.state, [rows])[0]


def _forecast_reader(architecture: Any, described: dict[str, Any]) -> ForecastReader | None:
    if described.get("forecast") is None:
        return None
    plain = described["forecast"]
    classes = ForecastClasses.from_dict(plain["classes"])
    return ForecastReader(architecture.row, classes, int(plain["volatility_bars"]))
