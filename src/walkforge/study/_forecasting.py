"""A forecaster's rows to the classes of its study, and to tables of prices.

Shapes: n rows, H steps ahead, Q quantiles, K numbers of a forecast row
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from walkforge import calibration, training
from walkforge.base import FloatArray, IntArray
from walkforge.calibration import ForecastClasses
from walkforge.labels import LabelRule, Limits, forecast_moves
from walkforge.models import ForecastPrices, ForecastRow, forecast_prices
from walkforge.training import BaselineForecast, BaselineRows, ForecastRows

from ._prepare import Part, Series

_BAR = ("open", "high", "low", "close")
_BAND = ("band_low", "band_mid", "band_high")


@dataclass(frozen=True, slots=True, eq=False)
class ForecastReader:
    """Reads one member's forecast rows: what its calibration slice taught about them."""

    row: ForecastRow
    classes: ForecastClasses
    series: Series

    @classmethod
    def fit(
        cls,
        row: ForecastRow,
        forecast: FloatArray,
        *,
        part: Part,
        series: Series,
        rule: LabelRule,
        calibrated: bool,
    ) -> "ForecastReader":
        """Learn the spread from `forecast` (n, K) of the part's calibration rows."""
        levels = np.array(row.levels)
        quantiles = row.split(forecast)["quantiles"]
        spread = calibration.no_spread(row.horizon_bars)
        if calibrated:
            realised = _closes(row, series)[part.rows.calibration]
            spread = calibration.fit_spread(quantiles, levels, realised.astype(np.float64))
        limits, in_sigma = _limits(part.limits, rule)
        return cls(row, ForecastClasses(levels, spread, limits, in_sigma), series)

    def scores(self, forecast: FloatArray, rows: IntArray) -> FloatArray:
        """Return log probabilities of the classes (n, C), not yet calibrated, of rows (n,)."""
        quantiles = self.row.split(forecast)["quantiles"]
        return self.classes.scores(quantiles, self._sigma(rows))

    def table(self, forecast: FloatArray, part: Part, seed: int) -> pl.DataFrame:
        """Return the rows of `forecasts.parquet` of one member's test slice."""
        rows = part.rows.test
        prices = forecast_prices(
            self.row,
            forecast,
            quantiles=self.classes.quantiles(self.row.split(forecast)["quantiles"]),
            last_close=self.series.bars.close[rows],
            sigma=self._sigma(rows),
        )
        table = truth_table(self.row, self.series, part, seed)
        return table.with_columns(_columns_of(prices, self.row))

    def _sigma(self, rows: IntArray) -> FloatArray:
        assert self.series.targets is not None  # or there were nothing to forecast
        return self.series.targets.volatility[rows]


def baseline_table(
    name: str,
    row: ForecastRow,
    part: Part,
    series: Series,
    *,
    class_rows: BaselineRows,
    calibrated: bool,
) -> pl.DataFrame:
    """Return the rows of `baseline_forecasts.parquet` of one baseline's test slice.

    `class_rows` asks for the rows of the calibration slice, and behind them those of the test
    slice. Where `calibrated`, its quantiles are made as wide as the calibration slice asks for,
    like the model's.
    """
    levels = np.array(row.levels)
    asked = ForecastRows(class_rows, _closes(row, series), levels)
    said = training.FORECAST_BASELINES[name](asked)
    edge = len(part.rows.calibration)
    found = _rows_from(said, edge)
    if calibrated and said.quantiles is not None and found.quantiles is not None:
        realised = asked.closes[part.rows.calibration].astype(np.float64)
        spread = calibration.fit_spread(said.quantiles[:edge], levels, realised)
        found = replace(found, quantiles=spread.apply(found.quantiles, levels))
    table = truth_table(row, series, part, seed=0)
    return table.with_columns(_columns_of_baseline(found, row, part, series)).with_columns(
        baseline=pl.lit(name)
    )


def _rows_from(said: BaselineForecast, first: int) -> BaselineForecast:
    return BaselineForecast(
        said.closes[first:],
        quantiles=None if said.quantiles is None else said.quantiles[first:],
        volatility=None if said.volatility is None else said.volatility[first:],
    )


def truth_table(row: ForecastRow, series: Series, part: Part, seed: int) -> pl.DataFrame:
    """Return one row per decision of the test slice and step ahead, with what came true."""
    assert series.targets is not None  # or there were nothing to forecast
    bars, rows = series.bars, part.rows.test
    steps = np.arange(1, row.horizon_bars + 1)
    ahead = (rows[:, None] + steps).ravel()
    close = bars.close[rows]
    known = row.split_targets(forecast_moves(bars, series.targets.rule)[rows])
    middle, half = known["band"][..., 0], known["band"][..., 1]
    edges = np.stack([middle - half, middle, middle + half], axis=-1)
    bands = close[:, None, None] * np.exp(edges)

    named = part.series != bars.symbol

    def once_a_step(values: Any) -> Any:
        return np.repeat(values, row.horizon_bars)

    return pl.DataFrame(
        {
            "timestamp": pl.Series(once_a_step(bars.timestamp[rows])).cast(
                pl.Datetime("ms", "UTC")
            ),
            "symbol": pl.repeat(bars.symbol, len(ahead), eager=True),
            "timeframe": pl.repeat(bars.timeframe, len(ahead), eager=True),
            "fold": pl.repeat(part.fold.index, len(ahead), dtype=pl.Int32, eager=True),
            "seed": pl.repeat(seed, len(ahead), dtype=pl.Int32, eager=True),
            "step": pl.Series(np.tile(steps, len(rows)), dtype=pl.Int16),
            "last_close": once_a_step(close),
            **{name: getattr(bars, name)[ahead] for name in _BAR},
            **{name: bands[..., k].ravel() for k, name in enumerate(_BAND)},
            "volatility": once_a_step(known["volatility"][:, 0]),
            **({"series": pl.repeat(part.series, len(ahead), eager=True)} if named else {}),
        }
    )


def _columns_of(prices: ForecastPrices, row: ForecastRow) -> list[pl.Series]:
    columns = {f"f_{name}": prices.bars[..., k].ravel() for k, name in enumerate(_BAR)}
    columns |= {f"f_{name}": prices.bands[..., k].ravel() for k, name in enumerate(_BAND)}
    columns |= {"f_volatility": np.repeat(prices.volatility, row.horizon_bars)}
    columns |= _quantile_columns(prices.quantiles, row)
    return [pl.Series(name, values) for name, values in columns.items()]


def _columns_of_baseline(
    found: BaselineForecast, row: ForecastRow, part: Part, series: Series
) -> list[pl.Series]:
    assert series.targets is not None  # or there were nothing to forecast
    sigma, close = series.targets.volatility[part.rows.test], series.bars.close[part.rows.test]
    columns = {"f_close": (close[:, None] * np.exp(sigma[:, None] * found.closes)).ravel()}
    if found.quantiles is not None:
        quantiles = close[:, None, None] * np.exp(sigma[:, None, None] * found.quantiles)
        columns |= _quantile_columns(quantiles, row)
    if found.volatility is not None:
        columns |= {"f_volatility": np.repeat(sigma * found.volatility, row.horizon_bars)}
    return [pl.Series(name, values) for name, values in columns.items()]


def _quantile_columns(quantiles: FloatArray, row: ForecastRow) -> dict[str, FloatArray]:
    return {name: quantiles[..., k].ravel() for k, name in enumerate(row.quantile_names)}


def _closes(row: ForecastRow, series: Series) -> np.ndarray:
    """Return where the close of every step went (N, H), in sigma; read at known rows only."""
    assert series.targets is not None  # or there were nothing to forecast
    moves = forecast_moves(series.bars, series.targets.rule)
    with np.errstate(over="ignore"):  # of rows that nobody reads
        in_sigma = row.split_targets(moves)["ohlc"][..., 3] / series.targets.volatility[:, None]
        return in_sigma.astype(np.float32)


def _limits(limits: Limits, rule: LabelRule) -> tuple[FloatArray, bool]:
    """Return what lies between the classes (L,), and whether it is in sigma of one bar."""
    edges = [limits.low] if len(limits.classes) == 2 else [limits.low, limits.high]
    if rule.kind != "volatility":
        return np.array(edges), False
    # Its scores are moves over what the horizon lets expect: sigma times the root of its bars.
    return np.array(edges) * np.sqrt(rule.horizon_bars), True
