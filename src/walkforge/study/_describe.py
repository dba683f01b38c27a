"""What `bundle.json` says of a member, of boosted trees, and of several models together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from walkforge import __version__
from walkforge.base import utc_text
from walkforge.calibration import Calibrator
from walkforge.execution import Bracket
from walkforge.labels import LabelRule
from walkforge.models import lags_within

from ._forecasting import ForecastReader
from ._learn import Learned
from ._live_reference import good_together, good_until
from ._network import network_options
from ._prepare import Part, Prepared
from ._study import Study

_OF_AN_ENSEMBLE = (
    "walkforge",
    "label",
    "classes",
    "symbols",
    "timeframe",
    "calendar",
    "provenance",
    "fold",
)
_OF_A_SERIES = (
    "symbol",
    "timeframe",
    "calendar",
    "provenance",
    "judged",
    "limits",
    "slippage_price",
)


def describe(study: Study, prepared: Prepared, one: Learned) -> dict[str, Any]:
    """Return all that prediction needs beside the weights, and where the member comes from."""
    options = network_options(study, n_classes=len(prepared.classes))
    return {
        "model": {"name": study.model.name, "options": options},
        **_described(study, prepared, one.part, one.calibrator),
        "forecast": _forecast(study, one),
        "seed": one.trained.member.seed,
        "best_epoch": one.trained.best_epoch,
        "best_validation_loss": one.trained.best_validation_loss,
    }


def describe_trees(
    study: Study, prepared: Prepared, part: Part, calibrator: Calibrator
) -> dict[str, Any]:
    """Return all that prediction needs beside the trees of the LightGBM baseline."""
    lags = lags_within(study.features.window_bars)
    return {
        "model": {"name": "lightgbm", "options": {"lags": lags}},
        **_described(study, prepared, part, calibrator),
    }


def describe_ensemble(name: str, members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the descriptions of members have in common, and from when to when they learned.

    `name` is that of the study; the label limits are the first member's, and of models for many
    series the series that these can predict.
    """
    common = {key: members[0][key] for key in _OF_AN_ENSEMBLE}
    if "series" in members[0]:
        every = members[0]["series"].items()
        common["series"] = {
            series: {key: one[key] for key in _OF_A_SERIES if key in one}
            for series, one in every
            if one["judged"]
        }
    starts, ends = zip(*(member["trained"] for member in members), strict=True)
    return {
        **common,
        "study": name,
        "trained": [min(starts), max(ends)],
        **good_together(members),
    }


def of_one_series(description: dict[str, Any], series: str) -> dict[str, Any]:
    """Return what a bundle for many series says of one of them; any other as it is."""
    if "series" not in description:
        return description
    own = description["series"][series]
    narrowed = {
        **description,
        "symbols": [own["symbol"]],
        **{key: own[key] for key in ("timeframe", "calendar", "provenance")},
        "label": {
            **description["label"],
            "limits": own["limits"],
            "slippage_price": own.get("slippage_price"),
        },
    }
    del narrowed["series"]
    return narrowed


def rule_as_plain(rule: LabelRule) -> dict[str, Any]:
    """Return the kind and the whole rule of labels; `rule_from_plain` takes it back."""
    return {"kind": rule.kind, "rule": asdict(rule)}


def rule_from_plain(label: Mapping[str, Any]) -> LabelRule | None:
    """Return the rule of a bundle's labels; None of one that tells its kind alone."""
    if "rule" not in label:
        return None
    return LabelRule(**{**label["rule"], "bracket": Bracket(**label["rule"]["bracket"])})


def slippage_price(study: Study, prepared: Prepared, series: str) -> float:
    """Return what a market fill slips in the labels of a series, quote currency."""
    return study.backtest.costs.slippage_ticks * prepared.series[series].instrument.tick_size


def _described(
    study: Study, prepared: Prepared, part: Part, calibrator: Calibrator
) -> dict[str, Any]:
    """Return what every model of a part has, whatever it is."""
    bars = prepared.series[part.series].bars
    return {
        "walkforge": __version__,
        "study": study.name,
        "features": list(prepared.columns),
        "feature_set": study.features.set if study.features.own is None else "own",
        "own": prepared.own,
        "window_bars": study.features.window_bars,
        "scaler": part.scaler.as_dict(),
        "calibrator": calibrator.as_dict(),
        "label": {
            **rule_as_plain(study.labels),
            "limits": part.limits.as_dict(),
            "slippage_price": slippage_price(study, prepared, part.series),
        },
        "classes": list(prepared.classes),
        "symbols": [bars.symbol],
        "timeframe": bars.timeframe,
        "calendar": bars.calendar,
        "provenance": bars.provenance,
        "fold": part.fold.index,
        "trained": [
            utc_text(int(bars.timestamp[part.rows.train[0]])),
            utc_text(int(bars.timestamp[part.rows.train[-1]])),
        ],
        **good_until(part.fold),
    }


def _forecast(study: Study, one: Learned) -> dict[str, Any] | None:
    """Return what makes prices and classes of a forecaster's outputs."""
    if not isinstance(one.reader, ForecastReader):
        return None
    return {
        "volatility_bars": study.labels.volatility_bars,
        "classes": one.reader.classes.as_dict(),
    }
