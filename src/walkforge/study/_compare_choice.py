"""Choosing one of several runs: is any better than the reference, and would the best stay so?

Shapes: T days, N runs
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from walkforge import evaluation, statistics
from walkforge.base import FloatArray, IntArray, counted, listed, utc_text

from ._compare_days import DAY_MS, Days
from ._compare_runs import Compared

_LEAST_BLOCK_DAYS = 10
"""A block of time should be longer than what daily profits remember."""

_FEWEST_BLOCKS = 8
"""70 ways to cut time into halves."""

_MOST_BLOCKS = 16
"""12 870 ways, as Bailey and others (2017) take."""


def best_of(
    runs: Sequence[Compared], tests: Sequence[dict[str, Any]], *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return whether any run has a lower log loss than the first, and which, by their letters.

    Asked at once of all runs whose own test against the first was comparable, on the rows that
    these and the first share: `evaluation.superior_models`. The others are `left_out`.
    """
    asked = [runs[test["run"]] for test in tests if test["predictions"]["comparable"]]
    letters = [run.data["letter"] for run in asked]
    left_out = [run.data["letter"] for run in runs[1:] if run not in asked]
    counts = {"tested": letters, "left_out": left_out}
    if not asked:
        reason = "no other run can be set against it by log loss"
        return counts | {"comparable": False, "reason": reason}
    # One table after the other: a large universe's would not all fit at once.
    others = ((run.data["letter"], run.predictions()) for run in asked)
    return counts | evaluation.superior_models(
        runs[0].predictions(), others, n_resamples=n_resamples, seed=seed
    )


def overfitting(days_by_letter: Mapping[str, Days | None]) -> dict[str, Any]:
    """Return the probability of backtest overfitting over the runs, on the days that all share.

    From what each backtest earned by day after costs: a Sharpe ratio is that of the returns on
    any fixed capital. The same account counts once, whatever its size, and one that `never_traded`
    on these days not at all: its ratio of 0 would be the best among losing ones. `comparable` is
    False, with the `reason`, where one left no trades file or they share too few days.
    """
    missing = [letter for letter, one in days_by_letter.items() if one is None]
    if missing:
        return {"comparable": False, "reason": f"trades.parquet is missing in {listed(missing)}"}
    accounts = [one for one in days_by_letter.values() if one is not None]
    if len({one.step_days for one in accounts}) > 1:
        return {"comparable": False, "reason": "their decisions lie differently many days apart"}
    days, earned = _on_shared_days(accounts)
    found: dict[str, Any] = {"n_common_days": len(days)}
    if len(days):
        first, last = (utc_text(int(day) * DAY_MS)[:10] for day in days[[0, -1]])
        found |= {"from": first, "to": last}
    traded = (earned != 0).any(axis=0)
    active = traded.tolist()
    found["never_traded"] = [
        letter for letter, some in zip(days_by_letter, active, strict=True) if not some
    ]
    earned = earned[:, traded]
    n_blocks = min(_MOST_BLOCKS, len(days) // _LEAST_BLOCK_DAYS // 2 * 2)
    reason = _why_not(earned, n_blocks)
    if reason:
        return found | {"comparable": False, "reason": reason}
    return found | {"comparable": True} | _measured(earned, n_blocks)


def _on_shared_days(accounts: Sequence[Days]) -> tuple[IntArray, FloatArray]:
    """Return the days (T,) that all accounts have, and what each earned on them (T, N)."""
    days = reduce(np.intersect1d, [one.day for one in accounts])
    columns = [one.pnl[np.searchsorted(one.day, days)] for one in accounts]
    return days, np.column_stack(columns)


def _why_not(earned: FloatArray, n_blocks: int) -> str:
    """Return why what was earned on shared days (T, N) cannot be judged, or nothing."""
    if n_blocks < _FEWEST_BLOCKS:
        needed = _FEWEST_BLOCKS * _LEAST_BLOCK_DAYS
        return f"{counted(len(earned), 'day')} in common, at least {needed} needed"
    n_accounts = earned.shape[1]
    if n_accounts < 2:
        return f"{n_accounts or 'none'} of them traded on these days, at least 2 needed"
    if _distinct(earned).shape[1] < 2:
        return "all accounts are the same but for their size"
    return ""


def _distinct(earned: FloatArray) -> FloatArray:
    """Return each different account once, of whatever size: a twin's ties would say nothing."""
    unit = earned / np.abs(earned).max(axis=0)
    first = np.unique(unit.round(9), axis=1, return_index=True)[1]
    return unit[:, np.sort(first)]


def _measured(earned: FloatArray, n_blocks: int) -> dict[str, Any]:
    different = _distinct(earned)
    found = statistics.probability_of_backtest_overfitting(different, n_blocks=n_blocks)
    return {
        "pbo": found.pbo,
        "pbo_by_luck": pbo_by_luck(found.n_trials),
        "probability_of_loss": found.probability_of_loss,
        "n_accounts": found.n_trials,
        "n_blocks": n_blocks,
        "n_splits": len(found.logits),
    }


def pbo_by_luck(n_accounts: int) -> float:
    """Return the probability of overfitting among equals, where every rank is equally likely.

    Of an odd number the one in the middle is no better than the median either: 2/3 of three.
    """
    return (n_accounts + 1) // 2 / n_accounts
