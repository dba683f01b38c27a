"""What `bundle.json` says of a MarketGPT: of its model, and of every series that it knows."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from walkforge import __version__
from walkforge.base import utc_text
from walkforge.folds import SLICES

from ._describe import rule_as_plain, slippage_price
from ._forecasting import ForecastReader
from ._gpt_said import GptMember, PartLearned
from ._gpt_study import GptStudy
from ._live_reference import good_until
from ._prepare import Prepared


def describe_market(study: GptStudy, prepared: Prepared, one: GptMember) -> dict[str, Any]:
    """Return all that prediction needs beside weights and tokenizer, and where they come from.

    `timeframe`, `calendar` and `provenance` are null where series differ; `series` tells each.
    """
    judged = [prepared.series[learned.part.series].bars for learned in one.parts]
    paths = study.model.forecasts
    return {
        "walkforge": __version__,
        "study": study.name,
        "model": {
            "name": study.model.name,
            "decides": study.model.decides,
            "shape": asdict(one.shape),
        },
        "tokenizer": {**asdict(study.tokenizer), "digest": one.market.tokenizer.digest},
        "sampling": _sampling(study) if paths else None,
        "prompt_tokens": study.prompt_tokens,
        "horizon_bars": study.labels.horizon_bars,
        "volatility_bars": study.labels.volatility_bars,
        "label": rule_as_plain(study.labels),
        "classes": list(prepared.classes),
        "symbols": list(dict.fromkeys(bars.symbol for bars in judged)),
        **{
            key: _only(getattr(bars, key) for bars in judged)
            for key in ("timeframe", "calendar", "provenance")
        },
        "fold": one.market.fold.index,
        "trained": _trained(prepared, one),
        **good_until(one.market.fold),
        "begins_with": _begins_with(one),
        "seed": one.seed,
        "best_epoch": one.trained.best_epoch,
        "best_validation_loss": one.trained.best_validation_loss,
        "series": _series(study, prepared, one),
    }


def _sampling(study: GptStudy) -> dict[str, Any]:
    return {"paths": study.sampling.paths, "temperature": study.sampling.temperature}


def _only(values: Iterable[str]) -> str | None:
    """Return what all values are, None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _trained(prepared: Prepared, one: GptMember) -> list[str]:
    """Return when the first and the last token opened that taught it, or what it began with."""
    table = one.market.table
    rows = (table.piece == SLICES.index("train")) & (table.run_first >= 0)
    opened = np.concatenate([series.bars.timestamp for series in prepared.series.values()])[rows]
    own = [utc_text(int(opened.min())), utc_text(int(opened.max()))]
    base = one.market.base
    # The texts are as long as each other and sort as their moments do.
    return own if base is None else [min(own[0], base.trained[0]), max(own[1], base.trained[1])]


def _begins_with(one: GptMember) -> dict[str, str] | None:
    """Return the bundle whose weights the training began with."""
    base = one.market.base
    return None if base is None else {"bundle": str(base.place), "manifest_sha256": base.digest}


def _series(study: GptStudy, prepared: Prepared, one: GptMember) -> dict[str, dict[str, Any]]:
    """Return every series by name; those that only taught have no calibrator."""
    market, learned = one.market, {part.part.series: part for part in one.parts}
    found = {}
    for name, asset in market.asset_of.items():
        category = market.categories.index(market.category_of[name])
        found[name] = {
            **_bars_of(name, study, prepared),
            "asset": asset,
            "category": category,
            "judged": name in learned,
            **(_learned(study, prepared, learned[name]) if name in learned else {}),
        }
    return found


def _bars_of(name: str, study: GptStudy, prepared: Prepared) -> dict[str, str | None]:
    """Return what bars a series has; of one that only an earlier run had, what its name tells."""
    if name in prepared.series:
        bars = prepared.series[name].bars
        keys = ("symbol", "timeframe", "calendar", "provenance")
        return {key: getattr(bars, key) for key in keys}
    symbol, _, timeframe = name.partition("/")
    timeframe = timeframe or study.data.timeframe
    return {"symbol": symbol, "timeframe": timeframe, "calendar": None, "provenance": None}


def _learned(study: GptStudy, prepared: Prepared, one: PartLearned) -> dict[str, Any]:
    """Return what the training and calibration slices of a series taught."""
    reader = one.reader
    return {
        "limits": one.part.limits.as_dict(),
        "forecast": reader.classes.as_dict() if isinstance(reader, ForecastReader) else None,
        "calibrator": one.calibrator.as_dict(),
        "slippage_price": slippage_price(study, prepared, one.part.series),
    }
