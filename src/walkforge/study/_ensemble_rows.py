"""The rows that all models of an ensemble predicted, and the weights that the earlier ones teach.

Shapes: M models, n common rows, C classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge import calibration, evaluation
from walkforge.base import FloatArray, IntArray, RunError

from ._ensemble_runs import KEY, JoinedRun, Place

LIGHTGBM = "lightgbm"
"""Name of the member that is the first run's baseline, and of that baseline."""


@dataclass(frozen=True, slots=True, eq=False)
class CommonRows:
    """The decisions that all models predicted, in the order of the first run."""

    table: pl.DataFrame
    """The columns of predictions.parquet up to its logits."""
    by_place: dict[Place, IntArray]
    """The rows of every series and fold, in the order of the first run's folds."""
    probabilities: FloatArray
    """Calibrated, of every model, the mean of its seeds (M, n, C)."""
    left_out: dict[str, int]
    """Decisions of each model that another one did not predict."""

    def hits(self, rows: IntArray) -> FloatArray:
        """Return the probability that every model gave to what came true (M, rows)."""
        labels = self.table["label"].to_numpy()[rows].astype(np.int64)
        return self.probabilities[:, rows, labels]


def common_rows(runs: Sequence[JoinedRun], name: str, *, with_lightgbm: bool) -> CommonRows:
    """Return the rows of a table of all runs, `predictions.parquet` or its calibration twin.

    Raises RunError where the labels of two runs differ in more rows than limits learned from other
    rows explain, and where nothing is common. Labels are those of the first run.
    """
    said = {run.letter: _by_seed(run.predictions(name)) for run in runs}
    if with_lightgbm:
        table = runs[0].predictions(f"baseline_{name}")
        said[LIGHTGBM] = _by_seed(table.filter(pl.col("baseline") == LIGHTGBM))
    first = next(iter(said.values()))[0]
    columns = [c for c in first.columns if not c.startswith("p_")]
    common = first.select(columns).with_row_index("row")
    for one in (one for seeds in said.values() for one in seeds):
        common = common.join(one, on=KEY, how="semi")
    if common.is_empty():
        raise RunError(f"{', '.join(run.title for run in runs)}: no decision is common in {name}")
    common = common.sort("row").drop("row")
    for run in runs[1:]:
        _refuse_other_labels(common, said[run.letter][0], runs[0], run)
    return CommonRows(
        common.with_columns(seed=pl.lit(0, dtype=pl.Int32)),
        _by_place(common, runs[0].folds),
        np.stack([_mean(common, seeds, runs[0].classes) for seeds in said.values()]),
        {member: len(seeds[0]) - len(common) for member, seeds in said.items()},
    )


def fit_weights(rows: CommonRows, *, fitted: bool) -> dict[Place, FloatArray]:
    """Return for every series and fold the weights of the models, which sum to 1.

    `rows` are those of the calibration slices: nothing else teaches them. Raises RunError where a
    series and fold has none.
    """
    weights = {}
    for (series, fold), own in rows.by_place.items():
        if len(own) == 0:
            raise RunError(f"{series} fold {fold}: no calibration row is common to all runs")
        hits = rows.hits(own)
        equal = np.full(len(hits), 1 / len(hits))
        weights[series, fold] = calibration.fit_mixture(hits) if fitted else equal
    return weights


def mixed_predictions(
    rows: CommonRows, weights: Mapping[Place, FloatArray], classes: Sequence[str]
) -> pl.DataFrame:
    """Return the rows of `predictions.parquet`: the mean of the models by the weights."""
    mixed = np.empty(rows.probabilities.shape[1:])
    for place, own in rows.by_place.items():
        mixed[own] = calibration.mixture(rows.probabilities[:, own], weights[place])
    logits = calibration.log_of_mixture(mixed)
    return rows.table.with_columns(
        *(pl.Series(f"logit_{name}", logits[:, c]) for c, name in enumerate(classes)),
        *(pl.Series(f"p_{name}", mixed[:, c]) for c, name in enumerate(classes)),
    )


def mixed_forecasts(
    runs: Sequence[JoinedRun], predictions: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Return forecasts and their baselines of the predicted rows, None where no run forecasts.

    A forecast is the median over all networks of all runs that forecast, whatever their weights;
    the baselines are those of the first of these runs.
    """
    told = [run.folder.read_table("forecasts.parquet") for run in runs if _forecasts(run)]
    if not told:
        return None
    tables = [table.partition_by("seed", maintain_order=True) for table in told]
    networks = [one for table in tables for one in table]
    numbered = [
        one.with_columns(seed=pl.lit(number, dtype=pl.Int32)) for number, one in enumerate(networks)
    ]
    together = pl.concat(numbered).join(predictions, on=KEY, how="semi")
    first = next(run for run in runs if _forecasts(run))
    beside = first.folder.read_table("baseline_forecasts.parquet")
    return evaluation.ensemble_forecast(together), beside.join(predictions, on=KEY, how="semi")


def _forecasts(run: JoinedRun) -> bool:
    return run.study.model.forecasts


def _by_seed(table: pl.DataFrame) -> list[pl.DataFrame]:
    return table.partition_by("seed", maintain_order=True)


def _mean(
    common: pl.DataFrame, seeds: Sequence[pl.DataFrame], classes: Sequence[str]
) -> FloatArray:
    """Return the mean (n, C) of the seeds' probabilities at the common rows."""
    names = [f"p_{name}" for name in classes]
    keys = common.select(KEY)
    each = [
        keys.join(one.select(*KEY, *names), on=KEY, how="left", maintain_order="left")
        .select(names)
        .to_numpy()
        for one in seeds
    ]
    return calibration.mixture(np.stack(each), np.full(len(each), 1 / len(each)))


def _by_place(common: pl.DataFrame, folds: Mapping[Place, Mapping]) -> dict[Place, IntArray]:
    """Return the rows of every series and fold."""
    on = ["symbol", "timeframe", "fold"]
    known = pl.DataFrame(
        {name: [one[name] for one in folds.values()] for name in on},
        schema_overrides={"fold": pl.Int32},
    ).with_row_index("place")
    places = common.select(on).join(known, on=on, how="left", maintain_order="left")["place"]
    order = np.argsort(places.to_numpy(), kind="stable")
    edges = np.searchsorted(places.to_numpy()[order], np.arange(len(folds) + 1))
    return {
        place: order[start:end]
        for place, start, end in zip(folds, edges[:-1], edges[1:], strict=True)
    }


def _refuse_other_labels(
    common: pl.DataFrame, theirs: pl.DataFrame, first: JoinedRun, run: JoinedRun
) -> None:
    both = common.join(theirs.select(*KEY, "label"), on=KEY, suffix="_theirs")
    n_differ = int((both["label"] != both["label_theirs"]).sum())
    if n_differ > evaluation.LABELS_MAY_DIFFER_FRAC * len(both):
        raise RunError(
            f"{run.title} and {first.title} cannot be joined: {n_differ} of {len(both)} labels "
            f"differ, at most {evaluation.LABELS_MAY_DIFFER_FRAC:.0%} may; their limits were "
            "learned from other training rows"
        )
