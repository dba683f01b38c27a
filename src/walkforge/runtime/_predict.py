"""The same features, scalers, models and calibrators as in the run that made the bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge.base import BundleError, FeatureError, IntArray
from walkforge.features import FeatureTable, build
from walkforge.market import Bars
from walkforge.registry import Bundle, read_bundle

from ._ensemble import refuse_other_prices, together
from ._model import Answer, Model
from ._network import NetworkModel
from ._trees import TreesModel

if TYPE_CHECKING:
    import polars as pl


def predict(bundle: Path, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
    """Return `timestamp, symbol, logit_*, p_*` for the bars that have features, oldest first.

    A forecaster adds its prices: for every bar ahead `open_1, high_1, low_1, close_1`, the
    Bollinger band, quantiles of the close such as `q_05_1`, and the horizon's `volatility`.
    An ensemble tells the mean of its models' probabilities by their weights and the median of
    their prices, of the bars that all of them can predict; its logits are the logarithm of the
    mean. `last` asks for the newest so many bars only. Raises BundleError for a bundle that is
    damaged or was made for another symbol or timeframe.
    """
    return Predictor(read_bundle(bundle)).predict(bars, last=last)


class Predictor:
    """A bundle that is ready to predict; loading happens once."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.classes: list[str] = bundle.description["classes"]
        members = bundle.members or ((1.0, bundle),)
        self.weights = np.array([weight for weight, _ in members])
        self.models = [_model_of(member) for _, member in members]
        refuse_other_prices(self.models)

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included."""
        return max(model.look_back_bars for model in self.models)

    def predict(self, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
        """Return one row per bar that has features; see `predict`."""
        import polars as pl

        self._refuse_other_bars(bars)
        # A few live bars cannot tell whether their market closes at weekends; training could.
        bars = dataclasses.replace(bars, calendar=self.bundle.description["calendar"])
        if last is not None:
            bars = bars.take(slice(max(0, len(bars) - self.look_back_bars - last + 1), len(bars)))
        tables = self._tables(bars)
        rows = self._rows(tables, bars)
        rows = rows if last is None else rows[rows >= len(bars) - last]
        if len(rows) == 0:
            raise FeatureError(
                f"{bars.name}: {len(bars)} bars give no row with features; the newest prediction "
                f"needs {self.look_back_bars} bars without a hole"
            )
        answer = self._answer(tables, bars, rows)
        columns: dict[str, Any] = {
            "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
            "symbol": [bars.symbol] * len(rows),
        }
        for kind, values in (("logit", answer.logits), ("p", answer.probabilities)):
            columns |= {f"{kind}_{name}": values[:, c] for c, name in enumerate(self.classes)}
        return pl.DataFrame(columns | answer.prices)

    def _tables(self, bars: Bars) -> dict[str, FeatureTable]:
        """Return the features of every set that a model sees, each built once."""
        names = dict.fromkeys(_set_of(model) for model in self.models)
        return {name: build(bars, name) for name in names}

    def _rows(self, tables: dict[str, FeatureTable], bars: Bars) -> IntArray:
        """Return the bars (n,) that all models can predict."""
        known = [model.can_predict(tables[_set_of(model)], bars) for model in self.models]
        return np.flatnonzero(np.logical_and.reduce(known))

    def _answer(self, tables: dict[str, FeatureTable], bars: Bars, rows: IntArray) -> Answer:
        answers = [model.answer(tables[_set_of(model)].values, bars, rows) for model in self.models]
        return together(answers, self.weights) if self.bundle.members else answers[0]

    def _refuse_other_bars(self, bars: Bars) -> None:
        described = self.bundle.description
        if bars.symbol not in described["symbols"] or bars.timeframe != described["timeframe"]:
            raise BundleError(
                f"{self.bundle.folder}: was trained on {', '.join(described['symbols'])} "
                f"{described['timeframe']}, but the bars are {bars.symbol} {bars.timeframe}"
            )


def _model_of(bundle: Bundle) -> Model:
    return NetworkModel(bundle) if bundle.trees is None else TreesModel(bundle, bundle.trees)


def _set_of(model: Model) -> str:
    return str(model.bundle.description["feature_set"])
