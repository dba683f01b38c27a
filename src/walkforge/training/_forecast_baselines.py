"""What a forecaster must beat: the last close again, a drift, past volatility, boosted trees.

    forecast = FORECAST_BASELINES["drift"](rows)

Everything is in sigma, the volatility before the decision, from the close of the decision's bar.
A baseline learns from the training rows alone (LightGBM stops by the validation rows, and takes
its errors there as its uncertainty).

Shapes: N rows of the table, n rows asked, H steps ahead, Q quantiles
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from walkforge.base import FloatArray

from ._baselines import BaselineRows


@dataclass(frozen=True, slots=True, eq=False)
class ForecastRows:
    """One series in one fold, as for the baselines of classes, and where its closes went."""

    rows: BaselineRows
    closes: np.ndarray
    """ln(close of the step / close) / sigma (N, H); read at rows that are known only."""
    levels: FloatArray
    """Of the quantiles (Q,), rising."""


@dataclass(frozen=True, slots=True, eq=False)
class BaselineForecast:
    """What a baseline says of the rows asked."""

    closes: FloatArray
    """Of every step ahead (n, H), in sigma from the last close."""
    quantiles: FloatArray | None = None
    """(n, H, Q) likewise; None from a baseline that names one price and no doubt."""
    volatility: FloatArray | None = None
    """Of the horizon, over sigma (n,)."""


def persistence(asked: ForecastRows) -> BaselineForecast:
    """The last close again."""
    return BaselineForecast(np.zeros((len(asked.rows.asked), asked.closes.shape[1])))


def drift(asked: ForecastRows) -> BaselineForecast:
    """The mean move of the training rows."""
    mean_H = asked.closes[asked.rows.train].mean(axis=0, dtype=np.float64)
    return BaselineForecast(np.tile(mean_H, (len(asked.rows.asked), 1)))


def historical_volatility(asked: ForecastRows) -> BaselineForecast:
    """The last close again, as unsure as moves of the training rows were, in their own sigma.

    Filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper 1999) with the rolling
    standard deviation as the filter.
    """
    quantiles_QH = np.quantile(asked.closes[asked.rows.train], asked.levels, axis=0)
    n_rows, n_steps = len(asked.rows.asked), asked.closes.shape[1]
    return BaselineForecast(
        np.zeros((n_rows, n_steps)),
        quantiles=np.broadcast_to(quantiles_QH.T, (n_rows, n_steps, len(asked.levels))),
        volatility=np.ones(n_rows),
    )


def lightgbm(asked: ForecastRows) -> BaselineForecast:
    """Gradient-boosted trees for each step, as unsure as they erred on the validation rows."""
    columns = [_boosted_step(asked, step) for step in range(asked.closes.shape[1])]
    closes, quantiles = zip(*columns, strict=True)
    return BaselineForecast(np.stack(closes, axis=1), quantiles=np.stack(quantiles, axis=1))


def _boosted_step(asked: ForecastRows, step: int) -> tuple[FloatArray, FloatArray]:
    """Return closes (n,) and quantiles (n, Q) of one step ahead."""
    from ._boosting import boosted_trees

    rows, truth = asked.rows, asked.closes[:, step]
    trees = boosted_trees(rows.inputs, truth, learn=rows.train, stop=rows.validation)
    errors = truth[rows.validation] - trees.predict(rows.inputs(rows.validation))
    found = np.asarray(trees.predict(rows.inputs(rows.asked)))
    return found, found[:, None] + np.quantile(errors, asked.levels)


FORECAST_BASELINES: dict[str, Callable[[ForecastRows], BaselineForecast]] = {
    "persistence": persistence,
    "drift": drift,
    "historical_volatility": historical_volatility,
    "lightgbm": lightgbm,
}
