"""What choosing one of several runs is worth, in sentences."""

from collections.abc import Sequence
from typing import Any

from walkforge.base import counted, listed

from ._compare_runs import Compared
from ._compare_words import p_text


def sentence_of_best(found: dict[str, Any], runs: Sequence[Compared]) -> str:
    """Return which runs are better than the first when all are asked at once."""
    titles = {run.data["letter"]: run.title for run in runs}
    reference = runs[0].title
    if not found["comparable"]:
        return f"Whether any run is better than {reference} cannot be told: {found['reason']}."
    asked = [titles[letter] for letter in found["tested"]]
    best = asked[0] if len(asked) == 1 else f"the best of {len(asked)} other runs"
    rows = f"{counted(found['n'], 'row')} that all share"
    p = p_text(found["p_value"])
    if not found["superior"]:
        return (
            f"No run is surely better than {reference} by log loss: luck alone would make {best} "
            f"look at least this good with {p} (Hansen's SPA on {rows}){_rest(found)}."
        )
    superior = listed([titles[letter] for letter in found["superior"]])
    return (
        f"Surely better than {reference} by log loss: {superior}, of {len(asked)} asked at once "
        f"(StepM: any wrong one in at most 5 of 100 cases; Hansen's SPA that none is better: {p}; "
        f"{rows}){_rest(found)}."
    )


def _rest(found: dict[str, Any]) -> str:
    alike, left_out = found["untested"], found["left_out"]
    told = f"; {listed(alike)} predicted alike" if alike else ""
    return told + (f"; {listed(left_out)} not asked, see above" if left_out else "")


def sentence_of_overfitting(found: dict[str, Any]) -> str:
    """Return what becomes of the best account of one half of the days in the other."""
    name = "probability of backtest overfitting"
    if not found["comparable"]:
        return f"The {name} (PBO) cannot be told: {found['reason']}."
    return (
        f"The {name} (PBO) is {found['pbo']:.2f}: in {100 * found['pbo']:.0f} of 100 of the "
        f"{found['n_splits']:,} ways to split the {found['n_common_days']:,} days that all share "
        f"into halves, the best of {found['n_accounts']} accounts by Sharpe ratio in one half was "
        f"no better than their median in the other; {found['pbo_by_luck']:.2f} is what luck gives "
        "among equals, near 0 means that the best one stays the best. It lost money there in "
        f"{100 * found['probability_of_loss']:.0f} of 100{_idle(found['never_traded'])}."
    )


def _idle(letters: Sequence[str]) -> str:
    """Return who takes no part for want of trades."""
    return f"; {listed(letters)} never traded and takes no part" if letters else ""
