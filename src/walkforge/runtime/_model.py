"""What every model of a bundle offers, be it a network, trees or a MarketGPT.

Shapes: N bars, n rows asked, F features, C classes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from walkforge.base import BoolArray, BundleError, FloatArray, IntArray, whole_windows
from walkforge.features import (
    BarVectors,
    FeatureTable,
    TokenizerRule,
    bar_vectors,
    build,
    build_own,
    feature_set,
)
from walkforge.market import Bars
from walkforge.registry import Bundle

from ._own import OwnFeatures, own_features


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a model says of some rows."""

    logits: FloatArray
    """Scores before calibration (n, C); of an ensemble the logarithm of its probabilities."""
    probabilities: FloatArray
    """Calibrated (n, C)."""
    prices: dict[str, FloatArray] = field(default_factory=dict)
    """Of a forecaster: a column (n,) per price and step ahead."""


class Seen:
    """Bars as models see them; what several of them see is computed once."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self._features = cache(lambda name: build(bars, name))
        self._own_features = cache(lambda own: _built(bars, own))
        self._vectors = cache(lambda rule: bar_vectors(bars, rule))

    def features(self, bundle: Bundle) -> FeatureTable:
        """Return the features (N, F) of a bundle's set, or of the user's function."""
        own = own_features(bundle)
        if own is not None:
            return self._own_features(own)
        return self._features(bundle.description["feature_set"])

    def vectors(self, rule: TokenizerRule) -> BarVectors:
        """Return what a tokenizer of this rule makes tokens of."""
        return self._vectors(rule)


class Model(Protocol):
    """One trained model with its scaler and calibrator."""

    @property
    def bundle(self) -> Bundle:
        """Return where it was read from."""
        ...

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included."""
        ...

    @property
    def price_names(self) -> list[str]:
        """Return the columns of prices that it forecasts, in order."""
        ...

    def can_predict(self, seen: Seen) -> BoolArray:
        """Tell of which bars (N,) it has all that a prediction needs."""
        ...

    def answer(self, seen: Seen, rows: IntArray) -> Answer:
        """Return what it says of rows (n,) of the bars."""
        ...


def rows_with_windows(seen: Seen, bundle: Bundle) -> BoolArray:
    """Tell of which bars (N,) a bundle's whole window has features."""
    return whole_windows(seen.features(bundle).valid, bundle.description["window_bars"])


def look_back_of(bundle: Bundle) -> int:
    """Return how many bars a bundle's newest window of features needs."""
    described, own = bundle.description, own_features(bundle)
    if own is not None:
        return own.look_back_bars + int(described["window_bars"])
    return feature_set(described["feature_set"]).look_back_bars + int(described["window_bars"])


def refuse_other_features(bundle: Bundle) -> None:
    """Raise BundleError where the feature set's columns are no longer those of the training."""
    if own_features(bundle) is not None:
        return  # their file is the same, byte for byte
    expected, name = bundle.description["features"], bundle.description["feature_set"]
    found = [column.name for column in feature_set(name).columns]
    if expected != found:
        raise BundleError(
            f"{bundle.folder}: was trained on {len(expected)} features ({', '.join(expected)}), "
            f"this version of the set {name!r} has {len(found)} ({', '.join(found)})"
        )


def _built(bars: Bars, own: OwnFeatures) -> FeatureTable:
    return build_own(bars, own.part, look_back_bars=own.look_back_bars, expected=own.columns)
