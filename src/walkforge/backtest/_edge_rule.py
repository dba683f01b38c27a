"""Calibrated probabilities to intentions, by one stated rule."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from walkforge.base import PredictionsError, UsageError, nearest


def intentions_from_predictions(
    predictions: pl.DataFrame, *, classes: Sequence[str], min_edge: float = 0.0
) -> pl.DataFrame:
    """Return `timestamp, symbol, side` (Int8) with one row per predicted bar, side 0 included.

    Long where "up" is the likeliest class and p_up - p_down is at least `min_edge` (a
    probability), short where "down" is and p_down - p_up is; a tie for the likeliest is neither.
    Reads `timestamp`, `symbol` and `p_<class>` of every class; probabilities of several seeds
    (or overlapping folds) of one bar are averaged. Rows of side 0 trade nothing; they say from
    when to when the strategy was at work. Raises PredictionsError where a column is missing or a
    probability is not in [0, 1].
    """
    _refuse_edge(min_edge)
    names = [f"p_{name}" for name in classes]
    _refuse_bad(predictions, names)
    p_up, p_down = pl.col("p_up"), pl.col("p_down")
    highest_other_than = {
        name: pl.max_horizontal([pl.col(other) for other in names if other != name])
        for name in ("p_up", "p_down")
    }
    long = (p_up > highest_other_than["p_up"]) & (p_up - p_down >= min_edge)
    short = (p_down > highest_other_than["p_down"]) & (p_down - p_up >= min_edge)
    return (
        predictions.group_by("timestamp", "symbol")
        # Sorted, so that the mean's last digit does not depend on threads.
        .agg(pl.col(name).cast(pl.Float64).sort().mean() for name in names)
        .sort("symbol", "timestamp")
        .select(
            "timestamp",
            "symbol",
            side=pl.when(long).then(1).when(short).then(-1).otherwise(0).cast(pl.Int8),
        )
    )


def edge_rule(min_edge: float = 0.0) -> str:
    """Return in one sentence how `intentions_from_predictions` decides, for `backtest.json`."""
    return (
        "The calibrated probabilities of all seeds are averaged per bar; long where up is the "
        f"likeliest class and leads down by at least {min_edge:g}, short where down is the "
        "likeliest and leads up by as much, else nothing."
    )


def _refuse_edge(min_edge: float) -> None:
    if not 0 <= min_edge < 1:
        raise UsageError(
            f"min_edge is {min_edge}; it must be a probability of at least 0 and below 1"
        )


def _refuse_bad(predictions: pl.DataFrame, names: Sequence[str]) -> None:
    if not {"p_up", "p_down"} <= set(names):
        raise PredictionsError(
            f"classes are {', '.join(name[2:] for name in names)}; expected down and up among them"
        )
    for name in ("timestamp", "symbol", *names):
        if name not in predictions.columns:
            raise PredictionsError(
                f"predictions: no column {name!r}{nearest(name, predictions.columns)}, found "
                f"{', '.join(predictions.columns)}"
            )
    for name in names:
        bad = ~predictions[name].is_between(0.0, 1.0).fill_null(False)
        if bad.any():
            at = int(bad.arg_true()[0])
            raise PredictionsError(
                f"predictions: row {at} has {name} {predictions[name][at]}, expected a probability "
                "between 0 and 1"
            )
