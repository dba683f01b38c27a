"""Which bundle answered each series of a table of later predictions, and the bars beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge import market, registry
from walkforge.base import (
    IntArray,
    PredictionsError,
    RunError,
    listed,
    parse_utc_ms,
    read_json,
)
from walkforge.market import Bars
from walkforge.registry import Bundle, KnownSeries

from ._describe import of_one_series
from ._others import places_of

_NAME = re.compile(r"(.+)_fold(\d+)_(ensemble|seed(\d+))")


@dataclass(frozen=True, slots=True, eq=False)
class LiveSeries:
    """One series of a bundle: its bars, and what the bundle said of them after its test."""

    bundle: Bundle
    known: KnownSeries
    bars: Bars
    answers: pl.DataFrame
    """Rising in time; `timestamp, symbol, p_*`."""
    places: IntArray
    """The bar of every answer (n,)."""
    n_earlier: int
    """Answers of the time that the bundle was trained, calibrated or tested on; left out."""

    @property
    def description(self) -> dict[str, Any]:
        """Return what the bundle says of this series alone."""
        return of_one_series(self.bundle.description, self.known.name)

    @property
    def name(self) -> str:
        return self.known.name


def live_series(model: Path, answers: pl.DataFrame, bars: Path) -> list[LiveSeries]:
    """Return the series of a table, each with the bundle of a run or the one bundle in `model`.

    Of a run it is the newest fold's, all seeds together where there are several. Raises RunError
    where neither lies there, PredictionsError for a series that no bundle knows and for answers
    that belong to no bar or another model, BarsError for bars that are missing.
    """
    bundles = _bundles(model)
    read_once = cache(registry.read_bundle)
    found = []
    for symbol, timeframe, own in _by_series(answers):
        folder, known = _that_knows(model, bundles, symbol, timeframe)
        bundle = read_once(folder)
        _refuse_other_classes(bundle, own)
        read = market.read_folder(bars, timeframe=known.timeframe, symbols=[symbol])[symbol]
        # As in prediction: a few bars cannot tell whether their market closes at weekends.
        read = replace(read, calendar=known.calendar or read.calendar)
        places = places_of(read, own)
        later = read.closes_at[places] >= _known_until_ms(bundle.description)
        kept = own.filter(pl.Series(later))
        one = LiveSeries(bundle, known, read, kept, places[later], int((~later).sum()))
        found.append(one)
    return found


def run_of(model: Path) -> Path | None:
    """Return the run folder that is meant or that a bundle lies in; None where there is none."""
    places = (model, model.absolute().parent.parent)
    return next((place for place in places if (place / "study.yaml").is_file()), None)


def _bundles(model: Path) -> dict[Path, list[KnownSeries]]:
    """Return the folders of bundles that may have answered, and what each knows."""
    if (model / "bundle.json").is_file():
        folders = [model]
    elif (model / "study.yaml").is_file():
        folders = _newest(model / "models")
    else:
        raise RunError(f"{model}: no run and no bundle here (no study.yaml, no bundle.json)")
    known = {folder: registry.known_series(read_json(folder / "bundle.json")) for folder in folders}
    return {folder: [one for one in series if one.judged] for folder, series in known.items()}


def _newest(models: Path) -> list[Path]:
    """Return the bundles of every series' last fold: of all seeds together, or of the first."""
    best: dict[str, tuple[tuple[int, int], Path]] = {}
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        match = _NAME.fullmatch(folder.name)
        if match is None or not (folder / "bundle.json").is_file():
            continue
        rank = int(match[2]), 1 if match[4] is None else -int(match[4])
        if match[1] not in best or rank > best[match[1]][0]:
            best[match[1]] = rank, folder
    if not best:
        raise RunError(f"{models}: no bundles here; a finished run has one per series and fold")
    return [folder for _, folder in best.values()]


def _by_series(answers: pl.DataFrame) -> Iterator[tuple[str, str | None, pl.DataFrame]]:
    """Yield symbol, timeframe where it is told, and the rows of each series."""
    keys = [name for name in ("symbol", "timeframe") if name in answers.columns]
    for key, own in answers.partition_by(keys, as_dict=True, maintain_order=True).items():
        yield str(key[0]), str(key[1]) if len(key) > 1 else None, own.sort("timestamp")


def _that_knows(
    model: Path, bundles: dict[Path, list[KnownSeries]], symbol: str, timeframe: str | None
) -> tuple[Path, KnownSeries]:
    fit = [
        (folder, one)
        for folder, series in bundles.items()
        for one in series
        if one.symbol == symbol and timeframe in (None, one.timeframe)
    ]
    if len(fit) == 1:
        return fit[0]
    what = f"{symbol} {timeframe or ''}".strip()
    if fit:
        frames = listed([one.timeframe for _, one in fit])
        raise PredictionsError(
            f"{model}: knows {symbol} in {frames}; the predictions need a column 'timeframe'"
        )
    known = listed([one.name for series in bundles.values() for one in series])
    raise PredictionsError(f"{model}: no bundle predicts {what}; there are {known}")


def _refuse_other_classes(bundle: Bundle, own: pl.DataFrame) -> None:
    expected = [f"p_{name}" for name in bundle.description["classes"]]
    found = [name for name in own.columns if name.startswith("p_")]
    if sorted(found) != sorted(expected):
        raise PredictionsError(
            f"the predictions have {', '.join(found)}, {bundle.folder} predicts "
            f"{', '.join(expected)}; they are another model's"
        )


def _known_until_ms(description: dict[str, Any]) -> int:
    """Return the moment from which on nobody had seen the bars when the bundle was judged."""
    return parse_utc_ms((description.get("tested") or description["trained"])[1])


def span_of(one: LiveSeries) -> IntArray:
    """Return the bars (n,) from the first to the last answer, both included."""
    if len(one.places) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.arange(one.places[0], one.places[-1] + 1)
