"""The same features, scaler, network and calibrator as in the run that made the bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforge.base import BundleError, FeatureError, Precision, whole_windows
from walkforge.calibration import ForecastClasses, calibrator_from_dict
from walkforge.features import CLIP, Scaler, build, feature_set
from walkforge.market import Bars
from walkforge.registry import Bundle, read_bundle

from ._forecast import ForecastReader

if TYPE_CHECKING:
    import polars as pl

_EXACT = Precision("float32", autocast=False, tf32=False)


def predict(bundle: Path, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
    """Return `timestamp, symbol, logit_*, p_*` for the bars that have features, oldest first.

    A forecaster adds its prices: for every bar ahead `open_1, high_1, low_1, close_1`, the
    Bollinger band, quantiles of the close such as `q_05_1`, and the horizon's `volatility`.
    `last` asks for the newest so many bars only. Raises BundleError for a bundle that is damaged
    or was made for another symbol or timeframe.
    """
    return Predictor(read_bundle(bundle)).predict(bars, last=last)


def _forecast_reader(architecture: Any, described: dict[str, Any]) -> ForecastReader | None:
    if described.get("forecast") is None:
        return None
    plain = described["forecast"]
    classes = ForecastClasses.from_dict(plain["classes"])
    return ForecastReader(architecture.row, classes, int(plain["volatility_bars"]))


class Predictor:
    """A bundle that is ready to predict; loading happens once."""

    def __init__(self, bundle: Bundle) -> None:
        import torch

        from walkforge.models import build_architecture, stack_states

        described = bundle.description
        self.bundle = bundle
        self.classes: list[str] = described["classes"]
        self.window_bars: int = described["window_bars"]
        self.scaler = Scaler.from_dict(described["scaler"])
        self.calibrator = calibrator_from_dict(described["calibrator"])
        self._refuse_other_features()
        self.architecture = build_architecture(
            described["model"]["name"],
            n_features=len(described["features"]),
            window_bars=self.window_bars,
            **described["model"]["options"],
        )
        self.state = stack_states(self.architecture, [bundle.weights], torch.device("cpu"))
        self.forecast_reader = _forecast_reader(self.architecture, described)

    @property
    def look_back_bars(self) -> int:
        """Return how many bars the newest prediction needs, its own bar included."""
        features = feature_set(self.bundle.description["feature_set"])
        needed = features.look_back_bars + self.window_bars
        reader = self.forecast_reader
        return needed if reader is None else max(needed, reader.volatility_bars + 1)

    def predict(self, bars: Bars, *, last: int | None = None) -> pl.DataFrame:
        """Return one row per bar that has features; see `predict`."""
        import polars as pl

        self._refuse_other_bars(bars)
        # A few live bars cannot tell whether their market closes at weekends; training could.
        bars = dataclasses.replace(bars, calendar=self.bundle.description["calendar"])
        if last is not None:
            bars = bars.take(slice(max(0, len(bars) - self.look_back_bars - last + 1), len(bars)))
        table = build(bars, self.bundle.description["feature_set"])
        rows = np.flatnonzero(whole_windows(table.valid, self.window_bars))
        rows = rows if last is None else rows[rows >= len(bars) - last]
        if len(rows) == 0:
            raise FeatureError(
                f"{bars.name}: {len(bars)} bars give no row with features; the newest prediction "
                f"needs {self.look_back_bars} bars without a hole"
            )
        outputs = self._outputs(table.values, rows)
        reader = self.forecast_reader
        prices = {} if reader is None else reader.price_columns(outputs, bars, rows)
        logits = outputs if reader is None else reader.scores(outputs, bars, rows)
        probabilities = self.calibrator.apply(logits)
        columns: dict[str, Any] = {
            "timestamp": pl.Series(bars.timestamp[rows]).cast(pl.Datetime("ms", "UTC")),
            "symbol": [bars.symbol] * len(rows),
        }
        columns |= {f"logit_{name}": logits[:, c] for c, name in enumerate(self.classes)}
        columns |= {f"p_{name}": probabilities[:, c] for c, name in enumerate(self.classes)}
        return pl.DataFrame(columns | prices)

    def _outputs(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
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

    def _refuse_other_features(self) -> None:
        expected = self.bundle.description["features"]
        found = [
            column.name for column in feature_set(self.bundle.description["feature_set"]).columns
        ]
        if expected != found:
            raise BundleError(
                f"{self.bundle.folder}: was trained on {len(expected)} features "
                f"({', '.join(expected)}), this version of the set "
                f"{self.bundle.description['feature_set']!r} has {len(found)} ({', '.join(found)})"
            )

    def _refuse_other_bars(self, bars: Bars) -> None:
        described = self.bundle.description
        if bars.symbol not in described["symbols"] or bars.timeframe != described["timeframe"]:
            raise BundleError(
                f"{self.bundle.folder}: was trained on {', '.join(described['symbols'])} "
                f"{described['timeframe']}, but the bars are {bars.symbol} {bars.timeframe}"
            )
