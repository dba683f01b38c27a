"""Which symbols are better than nothing, once all that were looked at are counted.

Of many symbols one or two look good by luck. Shapes: K blocks of time, S symbols
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from walkforge.base import FloatArray, IntArray
from walkforge.statistics import benjamini_yekutieli

from ._blocks import BlockPlan
from ._bootstrap import FEWEST_BLOCKS
from ._improvement import PRIOR, paired
from ._measure import finite_rows
from ._rows import Rows
from ._scores import ratio
from ._tally import direction_sums, grid_sums

FALSE_DISCOVERY_RATE = 0.05
"""Of the symbols that are named, one in twenty may be there by luck."""


def symbol_tests(model: Rows, rival: Rows | None, plan: BlockPlan) -> dict[str, Any]:
    """Return `by_symbol_tests` of `metrics.json`: `direction_auc` against 0.5, and `log_loss`.

    The latter is what each symbol saves on `rival`, nats, above 0 the model is better; without a
    rival there is no `log_loss`. Per measure `by_symbol` holds `value`, `n`, `n_blocks`, the
    one-sided `p_value` of `sums_tested`, and `p_adjusted` by Benjamini and Yekutieli over all
    symbols with a p-value: symbols move together, and not always the same way.
    """
    tests = {"direction_auc": _direction(model, plan)}
    if rival is not None:
        tests["log_loss"] = _saved(model, rival, plan)
    return {"false_discovery_rate": FALSE_DISCOVERY_RATE, "adjusted_by": "Benjamini-Yekutieli"} | {
        measure: _counted(test) for measure, test in tests.items()
    }


def sums_tested(
    sums: Float[np.ndarray, "K S"], counts: Float[np.ndarray, "K S"], *, limit: float
) -> list[dict[str, Any]]:
    """Return per symbol whether the mean of all rows is above `limit`, from sums over blocks.

    The mean over the standard error of the jackknife that leaves out one block after the other
    (Tukey 1958; the CV3 of MacKinnon, Nielsen and Webb 2023) is set against Student's t with one
    degree of freedom less than there are blocks. Its tail goes as far as many tests ask; that of
    R resamples ends at 1/(2R). Nothing is tested with fewer blocks than an interval needs.
    """
    from scipy.stats import t

    n, n_blocks = counts.sum(axis=0), (counts > 0).sum(axis=0)
    value = ratio(sums.sum(axis=0), n)
    # How far each block moves the mean: up, against the mean without it.
    moves = np.where(counts > 0, value - ratio(sums.sum(axis=0) - sums, n - counts), 0.0)
    squares = (moves**2).sum(axis=0)
    error = np.sqrt((1.0 - 1.0 / np.maximum(n_blocks, 1)) * squares)
    skewness = ratio((moves**3).sum(axis=0) * np.sqrt(n_blocks), squares**1.5)
    distance = _less_skewed(ratio(value - limit, error), skewness, n_blocks)
    p = t.sf(distance, np.maximum(n_blocks - 1, 1))
    # Who says the same everywhere has no error: p is 1, unless he is better, which is no chance.
    p = np.where(error > 0, p, np.where(value > limit, np.nan, 1.0))
    columns = (value, n.astype(np.int64), n_blocks, p)
    return [_entry(*found) for found in zip(*(one.tolist() for one in columns), strict=True)]


def _less_skewed(distance: FloatArray, skewness: FloatArray, n_blocks: IntArray) -> FloatArray:
    """Return t-values (S,) nearer to 0 where single blocks lose much.

    The cubic g of Hall (1992), On the Removal of Skewness by Transformation. Who gains a little
    nearly always and loses much at times looks good as long as the losses have not come: of such
    worlds without an edge a plain t finds several times too many. Only that side is corrected.
    """
    lean = np.minimum(skewness, 0.0) / np.sqrt(np.maximum(n_blocks, 1))
    return distance + lean * (distance**2 / 3.0 + 1.0 / 6.0) + lean**2 * distance**3 / 27.0


def _entry(value: float, n: int, n_blocks: int, p: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"value": None, "n": n, "n_blocks": n_blocks, "p_value": None}
    if n == 0:
        return entry | {"reason": "undefined on these rows"}
    entry["value"] = value
    if n_blocks < FEWEST_BLOCKS:
        few = f"{n_blocks} independent blocks of time, at least {FEWEST_BLOCKS} needed"
        return entry | {"reason": f"no test: {few}"}
    if np.isnan(p):
        return entry | {"reason": "no test: the same in every block of time"}
    return entry | {"p_value": p}


def _counted(test: dict[str, Any]) -> dict[str, Any]:
    """Adjust the p-values of one measure for the number of symbols, and name the discoveries."""
    by_symbol = test["by_symbol"]
    adjusted = benjamini_yekutieli([entry["p_value"] for entry in by_symbol.values()])
    for entry, p in zip(by_symbol.values(), adjusted, strict=True):
        entry["p_adjusted"] = p
    found = [
        (p, name)
        for name, p in zip(by_symbol, adjusted, strict=True)
        if p is not None and p < FALSE_DISCOVERY_RATE
    ]
    n_tested = sum(p is not None for p in adjusted)
    return {"n_tested": n_tested, "discoveries": [name for _, name in sorted(found)]} | test


def _direction(model: Rows, plan: BlockPlan) -> dict[str, Any]:
    rows = finite_rows(model)
    n_symbols = len(model.symbols)
    cell = plan.block_of(rows.time_ms) * n_symbols + rows.symbol
    shares = direction_sums(rows, cell, plan.n_blocks * n_symbols, group=rows.symbol)
    sums, counts = shares.reshape(plan.n_blocks, n_symbols, 2).transpose(2, 0, 1)
    return {"limit": 0.5, "unit": "fraction", "by_symbol": _named(model, sums, counts, 0.5)}


def _saved(model: Rows, rival: Rows, plan: BlockPlan) -> dict[str, Any]:
    _, pairs = paired(model, rival, PRIOR)
    known = pairs.finite
    block: IntArray = plan.block_of(rival.time_ms[known])
    shape = (plan.n_blocks, len(model.symbols))
    saved = pairs.saved[known]
    sums, counts = (
        grid_sums(block, rival.symbol[known], values, shape)
        for values in (saved, np.ones(len(saved)))
    )
    by_symbol = _named(model, sums, counts, 0.0)
    return {"against": PRIOR, "limit": 0.0, "unit": "nats", "by_symbol": by_symbol}


def _named(
    model: Rows, sums: Float[np.ndarray, "K S"], counts: Float[np.ndarray, "K S"], limit: float
) -> dict[str, dict[str, Any]]:
    """Return the tests by name, of the symbols that the model was asked about."""
    asked = set(np.unique(model.symbol).tolist())
    tested = sums_tested(sums, counts, limit=limit)
    return {
        name: entry
        for number, (name, entry) in enumerate(zip(model.symbols, tested, strict=True))
        if number in asked
    }
