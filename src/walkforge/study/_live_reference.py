"""What a bundle carries to be compared with later; made when it is written.

What inputs and labels were like is learned from training rows, like the scaler. How answers fit
outcomes is told of the calibration slice, which taught the calibrator and therefore looks a little
too good, and of the test slice, which taught nothing: later answers are compared with the latter.
Nothing here goes back into a model.

Shapes: n rows, F inputs, C classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from walkforge import evaluation, features
from walkforge.base import (
    BoolArray,
    EvaluationError,
    FloatArray,
    IntArray,
    parse_utc_ms,
    timeframe_ms,
    utc_text,
)
from walkforge.folds import Fold

from ._prepare import Part, Prepared

_SERIES_KEY = ("fold", "seed", "series")


class References:
    """Makes the references of all bundles of a run; what a part's rows are like is told once."""

    def __init__(self, prepared: Prepared, calibration: pl.DataFrame, test: pl.DataFrame) -> None:
        self.prepared = prepared
        self._tables = [_by_bundle(table) for table in (calibration, test)]
        self._told: dict[tuple[str, int], dict[str, Any]] = {}

    def of_member(self, parts: Sequence[Part], seed: int) -> dict[str, Any]:
        """Return the reference of one model of one seed, which answers for some series."""
        slices = [
            pl.concat([tables[part.fold.index, seed, part.series] for part in parts])
            for tables in self._tables
        ]
        series = {
            part.series: self._of_rows(part) | {"answers": self._answers(part, slices[1])}
            for part in parts
        }
        return _reference(series, *slices)

    def of_seeds(self, parts: Sequence[Part], seeds: Sequence[int]) -> dict[str, Any]:
        """Return the reference of all seeds together; what inputs were like each one tells."""

        def mean_of(tables: dict[Any, pl.DataFrame]) -> pl.DataFrame:
            each = [[tables[p.fold.index, seed, p.series] for seed in seeds] for p in parts]
            return pl.concat([_mean(one) for one in each])

        slices = [mean_of(tables) for tables in self._tables]
        series = {part.series: {"answers": self._answers(part, slices[1])} for part in parts}
        return _reference(series, *slices)

    def _answers(self, part: Part, test: pl.DataFrame) -> dict[str, Any]:
        own = test.filter(pl.col("series") == part.series)
        return answers_of(own, every_bars=usual_step(part.rows.test))

    def _of_rows(self, part: Part) -> dict[str, Any]:
        key = part.series, part.fold.index
        if key not in self._told:
            self._told[key] = rows_reference(self.prepared, part)
        return self._told[key]


def rows_reference(prepared: Prepared, part: Part) -> dict[str, Any]:
    """Return what the inputs and labels of a part's training rows were like."""
    data, train = prepared.series[part.series], part.rows.train
    if data.vectors is None:
        names, values = prepared.columns, data.values
    else:
        names, values = features.VECTOR, data.vectors.values
    columns = {
        name: evaluation.column_reference(values[train, number])
        for number, name in enumerate(names)
    }
    labels = evaluation.column_reference(part.labels[train], class_edges(len(prepared.classes)))
    return {"inputs": columns, "labels": labels}


def answers_of(table: pl.DataFrame, *, every_bars: int) -> dict[str, Any]:
    """Return what the predictions of one series, one in `every_bars` bars, were like."""
    p = table.sort("timestamp").select(pl.col("^p_.*$")).to_numpy()
    p = p[np.isfinite(p).all(axis=1)]
    return {
        "every_bars": every_bars,
        "predicted": evaluation.column_reference(p.argmax(axis=1), class_edges(p.shape[1])),
        "confidence": evaluation.column_reference(p.max(axis=1)),
    }


def mixture_reference(
    calibration: pl.DataFrame, test: pl.DataFrame, *, series: str
) -> dict[str, Any]:
    """Return the reference of an ensemble of runs in one series and fold."""
    times_ms = test["timestamp"].sort().dt.epoch("ms").to_numpy()
    every_bars = usual_step(times_ms // timeframe_ms(test["timeframe"][0])) if len(test) else 1
    answers = answers_of(test, every_bars=every_bars)
    return _reference({series: {"answers": answers}}, calibration, test)


def class_edges(n_classes: int) -> FloatArray:
    """Return what lies between the numbers of the classes (C - 1,)."""
    return np.arange(1, n_classes, dtype=np.float64) - 0.5


def good_until(fold: Fold) -> dict[str, Any]:
    """Return when a fold's models were tested, and when they expire.

    They were seen to work for as long as the test slice was. That long after its end, and no
    longer, they are taken to go on as they were seen.
    """
    length_ms = fold.test.to_ms - fold.test.from_ms
    return {"tested": fold.test.as_text(), "expires_at": utc_text(fold.test.to_ms + length_ms)}


def good_together(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the same of several models: the time that all were tested, the first expiry.

    Models of before there was an expiry do not tell, nor does an ensemble with one of them.
    """
    if not all("expires_at" in one for one in members):
        return {}
    begin, end = zip(*(one["tested"] for one in members), strict=True)
    return {
        "tested": [max(begin, key=parse_utc_ms), min(end, key=parse_utc_ms)],
        "expires_at": min((one["expires_at"] for one in members), key=parse_utc_ms),
    }


def _reference(
    series: dict[str, Any], calibration: pl.DataFrame, test: pl.DataFrame
) -> dict[str, Any]:
    return {
        "series": series,
        "calibration": state_of(calibration),
        "test": state_of(test),
    }


def state_of(table: pl.DataFrame) -> dict[str, Any]:
    """Return how predictions fit their outcomes; without numbers where there are none."""
    if table.is_empty():
        return {"n": 0, "reason": "no outcome is known yet"}
    try:
        return evaluation.calibration_state(table)
    except EvaluationError as error:
        return {"n": 0, "reason": str(error)}


def _by_bundle(table: pl.DataFrame) -> dict[tuple[int, int, str], pl.DataFrame]:
    """Return the rows of every fold, seed and series."""
    named = _named(table)
    kept = [name for name in named.columns if not name.startswith("logit_")]
    groups = named.select(kept).partition_by(_SERIES_KEY, as_dict=True, maintain_order=True)
    return {(int(f), int(s), str(name)): rows for (f, s, name), rows in groups.items()}


def _named(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(evaluation.series_names(table).alias("series"))


def _mean(seeds: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the mean probabilities of seeds that answered the same rows."""
    names = [name for name in seeds[0].columns if name.startswith("p_")]
    mean = np.mean([one.select(names).to_numpy() for one in seeds], axis=0)
    return seeds[0].with_columns(pl.Series(name, mean[:, c]) for c, name in enumerate(names))


def usual_step(rows: IntArray) -> int:
    """Return how many bars lie from one row (n,) to the next, ordinarily."""
    return max(1, int(np.median(np.diff(rows)))) if len(rows) > 1 else 1


def thinned(positions: IntArray, every_bars: int) -> BoolArray:
    """Tell which of rising bar numbers (n,) to take so that so many bars lie between them."""
    taken = np.zeros(len(positions), dtype=np.bool_)
    last = -every_bars
    for number, position in enumerate(positions):
        if position - last >= every_bars:
            taken[number], last = True, int(position)
    return taken
