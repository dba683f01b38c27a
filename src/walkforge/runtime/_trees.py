"""The boosted trees of a bundle, as the LightGBM baseline of its run computed them.

Shapes: N bars, n rows asked, F features
"""

from __future__ import annotations

import numpy as np

from walkforge.base import BoolArray, BundleError, IntArray
from walkforge.calibration import calibrator_from_dict
from walkforge.features import Scaler
from walkforge.registry import Bundle

from ._model import Answer, Seen, look_back_of, refuse_other_features, rows_with_windows


class TreesModel:
    """Boosted trees that are ready to predict; loading happens once."""

    def __init__(self, bundle: Bundle, text: str) -> None:
        from walkforge.models import trees_from_text

        described = bundle.description
        self.bundle = bundle
        self.scaler = Scaler.from_dict(described["scaler"])
        self.calibrator = calibrator_from_dict(described["calibrator"])
        refuse_other_features(bundle)
        self.lags: list[int] = described["model"]["options"]["lags"]
        try:
            self.trees = trees_from_text(text)
        except BundleError as error:
            raise BundleError(f"{bundle.folder}: {error}") from None

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included."""
        return look_back_of(self.bundle)

    @property
    def price_names(self) -> list[str]:
        """Return nothing: these trees tell classes."""
        return []

    def can_predict(self, seen: Seen) -> BoolArray:
        """Tell of which bars (N,) it has all that a prediction needs."""
        return rows_with_windows(seen, self.bundle)

    def answer(self, seen: Seen, rows: IntArray) -> Answer:
        """Return what they say of rows (n,) of the bars."""
        from walkforge.models import lagged_inputs, tree_probabilities

        values = seen.features(self.bundle).values
        inputs = lagged_inputs(values, rows, lags=self.lags, scale=self.scaler.transform)
        scores = np.log(tree_probabilities(self.trees, inputs))
        return Answer(scores, self.calibrator.apply(scores))
