"""Losses summed per block of time, and measures with intervals drawn from the sums.

Shapes: n rows, K blocks, G groups (such as steps ahead), M measures, R resamples
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from walkforge.base import FloatArray, IntArray

from ._blocks import BlockPlan
from ._bootstrap import measured, resample
from ._forecast_quantiles import BELOW
from ._forecast_rows import Forecasts

UNITS = {
    "mae_bps": "bps",
    "rmse_bps": "bps",
    "ohlc_mae_bps": "bps",
    "range_mae_bps": "bps",
    "direction_accuracy": "fraction",
    "pinball_bps": "bps",
    "crps_bps": "bps",
    "coverage_90": "fraction",
    "coverage_80": "fraction",
    "band_mae_bps": "bps",
    "volatility_mae_log": "log ratio",
    "qlike": "dimensionless",
}

_MISSING = {
    "ohlc_mae_bps": "no forecast of open, high and low",
    "range_mae_bps": "no forecast of high and low",
    "direction_accuracy": "no close moved",
    "pinball_bps": "no quantiles",
    "coverage_90": "no quantiles q_05 and q_95",
    "coverage_80": "no quantiles q_10 and q_90",
    "band_mae_bps": "no band, or no forecast of it",
    "volatility_mae_log": "no volatility above 0, or no forecast of it",
    "qlike": "no volatility above 0, or no forecast of it",
}
"""Why a measure may be without a number on some rows."""


class GroupSums:
    """Sums of losses, and of rows that have one, per block and group (K, G)."""

    def __init__(
        self, block: Int[np.ndarray, " n"], group: Int[np.ndarray, " n"], n_blocks: int
    ) -> None:
        self.groups = np.unique(group)
        """What the groups are called, rising."""
        self._shape = (n_blocks, len(self.groups))
        self._cell = block * len(self.groups) + np.searchsorted(self.groups, group)
        self.n_rows = self._sum(None)
        self.sums: dict[str, FloatArray] = {}
        self.counts: dict[str, FloatArray] = {}

    def add(self, name: str, losses: Float[np.ndarray, " n"]) -> None:
        """Add the losses of a measure; NaN marks a row without one."""
        lacks = np.isnan(losses)
        if lacks.any():
            self.sums[name] = self._sum(np.where(lacks, 0.0, losses))
            self.counts[name] = self._sum(1.0 - lacks)
        else:
            self.sums[name], self.counts[name] = self._sum(losses), self.n_rows

    def _sum(self, values: FloatArray | None) -> FloatArray:
        n_cells = self._shape[0] * self._shape[1]
        summed = np.bincount(self._cell, values, minlength=n_cells)
        return summed.astype(np.float64).reshape(self._shape)


def sums_by_way(rows: Forecasts, plan: BlockPlan) -> dict[str, GroupSums]:
    """Return empty sums of all rows, and apart by series, step and fold."""
    starts = rows.row_starts
    n_rows = np.diff(np.append(starts, len(rows)))
    block = np.repeat(plan.block_of(rows.time_ms[starts]), n_rows)
    ways: Mapping[str, IntArray] = {
        "pooled": np.zeros(len(rows), dtype=np.int64),
        "by_symbol": rows.series,
        "by_step": rows.step,
        "by_fold": rows.fold,
    }
    return {way: GroupSums(block, group, plan.n_blocks) for way, group in ways.items()}


def block_of_forecast_measures(
    sums: GroupSums, group: int, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return every measure of a group (its place in `groups`), `n` rows and `n_blocks`."""
    names = [name for name in sums.sums if not name.startswith(BELOW)]
    entries = _entries(sums, group, names, n_resamples=n_resamples, seed=seed)
    n_rows = sums.n_rows[:, group]
    block = {name: entries.get(name) or _absent(name) for name in UNITS}
    return block | {"n": int(n_rows.sum()), "n_blocks": int((n_rows > 0).sum())}


def shares_below(sums: GroupSums, *, n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return the share of all closes at or below each quantile, by its column's name."""
    names = [name for name in sums.sums if name.startswith(BELOW)]
    entries = _entries(sums, 0, names, n_resamples=n_resamples, seed=seed)
    return {
        f"q_{name.removeprefix(BELOW)}": entry | {"level": int(name.removeprefix(BELOW)) / 100}
        for name, entry in entries.items()
    }


def _entries(
    sums: GroupSums, group: int, names: list[str], *, n_resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    if not names:
        return {}
    losses, counts = (
        np.column_stack([of[name][:, group] for name in names]) for of in (sums.sums, sums.counts)
    )
    present = sums.n_rows[:, group] > 0
    both = np.concatenate([losses, counts], axis=1)[present]
    points = _values(both.sum(axis=0, keepdims=True), names)
    drawn = _values(resample(both, n_resamples=n_resamples, seed=seed), names)
    return {
        name: measured(
            float(points[0, column]),
            drawn[:, column],
            n=int(counts[:, column].sum()),
            n_blocks=int((counts[:, column] > 0).sum()),
            unit=UNITS.get(name, "fraction"),
            undefined=_MISSING.get(name, ""),
        )
        for column, name in enumerate(names)
    }


def _values(both: Float[np.ndarray, "lead S"], names: list[str]) -> Float[np.ndarray, "lead M"]:
    """Return the mean loss of each measure from sums and counts side by side; NaN for none."""
    sums, counts = both[:, : len(names)], both[:, len(names) :]
    means = np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)
    roots = [column for column, name in enumerate(names) if name == "rmse_bps"]
    means[:, roots] = np.sqrt(means[:, roots])
    return means


def _absent(name: str) -> dict[str, Any]:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    return nothing | {"unit": UNITS[name], "reason": _MISSING[name]}
