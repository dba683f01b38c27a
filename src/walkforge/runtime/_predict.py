"""The same inputs, models and calibrators as in the run that made the bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge.base import FeatureError, IntArray
from walkforge.market import Bars
from walkforge.registry import Bundle, expired_words, read_bundle

from ._ensemble import refuse_other_prices, together
from ._known import require_known
from ._market import MarketModel
from ._model import Answer, Model, Seen
from ._network import NetworkModel
from ._trees import TreesModel

if TYPE_CHECKING:
    import polars as pl


def predict(bundle: Path, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
    """Return `timestamp, symbol, logit_*, p_*` for the bars that can be predicted, oldest first.

    A forecaster adds its prices: for every bar ahead `open_1, high_1, low_1, close_1`, the
    Bollinger band, quantiles of the close such as `q_05_1`, and the horizon's `volatility`.
    An ensemble tells the mean of its models' probabilities by their weights and the median of
    their prices, of the bars that all of them can predict; its logits are the logarithm of the
    mean. `last` asks for the newest so many bars only. Raises BundleError for a bundle that is
    damaged, was made for another symbol or timeframe, or was never judged on them.
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

    @property
    def _reads_all(self) -> bool:
        """Return whether a model sees all bars that there are: a user's own features may settle
        later than where they were asked."""
        return any("features" in one.bundle.description.get("own", {}) for one in self.models)

    def predict(self, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
        """Return one row per bar that can be predicted; see `predict`."""
        import polars as pl

        known = require_known(self.bundle, bars.symbol, bars.timeframe)
        # A few live bars cannot tell whether their market closes at weekends; training could.
        bars = dataclasses.replace(bars, calendar=known.calendar or bars.calendar)
        if last is not None and not self._reads_all:
            bars = bars.take(slice(max(0, len(bars) - self.look_back_bars - last + 1), len(bars)))
        seen = Seen(bars)
        rows = self._rows(seen)
        rows = rows if last is None else rows[rows >= len(bars) - last]
        if len(rows) == 0:
            raise FeatureError(
                f"{bars.name}: {len(bars)} bars give no row that can be predicted; the newest "
                f"prediction needs {self.look_back_bars} bars without a hole"
            )
        answer = self._answer(seen, rows)
        columns: dict[str, Any] = {
            "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
            "symbol": [bars.symbol] * len(rows),
        }
        for kind, values in (("logit", answer.logits), ("p", answer.probabilities)):
            columns |= {f"{kind}_{name}": values[:, c] for c, name in enumerate(self.classes)}
        return pl.DataFrame(columns | answer.prices)

    def predict_all(
        self, several: Sequence[Bars], *, last: int | None = None, note: Callable[[str], None]
    ) -> pl.DataFrame:
        """Return the rows of several series, one after the other, as one table.

        A series whose bars give no row is left out, and `note` is told why, as it is told that the
        bundle had expired by the newest bar; raises FeatureError where none gives one. Where bars
        are of several timeframes a column tells which.
        """
        import polars as pl

        tables, problems = [], []
        for bars in several:
            try:
                table = self.predict(bars, last=last)
            except FeatureError as error:
                problems.append(error)
            else:
                tables.append(table.insert_column(2, pl.lit(bars.timeframe).alias("timeframe")))
        if not tables:
            raise problems[0]
        for problem in problems:
            note(f"left out: {problem}")
        newest_ms = max(int(bars.closes_at[-1]) for bars in several if len(bars))
        if expired := expired_words(self.bundle.folder, self.bundle.description, newest_ms):
            note(expired)
        several_timeframes = len({bars.timeframe for bars in several}) > 1
        table = pl.concat(tables)
        return table if several_timeframes else table.drop("timeframe")

    def _rows(self, seen: Seen) -> IntArray:
        """Return the bars (n,) that all models can predict."""
        known = [model.can_predict(seen) for model in self.models]
        return np.flatnonzero(np.logical_and.reduce(known))

    def _answer(self, seen: Seen, rows: IntArray) -> Answer:
        answers = [model.answer(seen, rows) for model in self.models]
        return together(answers, self.weights) if self.bundle.members else answers[0]


def _model_of(bundle: Bundle) -> Model:
    if bundle.trees is not None:
        return TreesModel(bundle, bundle.trees)
    if bundle.description["model"]["name"] == "marketgpt":
        return MarketModel(bundle)
    return NetworkModel(bundle)
