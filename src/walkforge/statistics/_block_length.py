"""How long the blocks of a bootstrap should be, as the series itself says."""

from typing import Literal

import numpy as np

from walkforge.base import FloatArray

BlockKind = Literal["circular", "stationary"]

# The estimate reads about sqrt(n) lags of n values: a fraction of a second at this length.
_MOST_CELLS = 4000
_FEWEST_CELLS = 20


def optimal_block_length(values: FloatArray, *, kind: BlockKind) -> float:
    """Return the best block length for the mean of `values` (n,), finite and in time order.

    In values, at least 1: the rule of Politis and White (2004, Automatic Block-Length Selection
    for the Dependent Bootstrap, Econometric Reviews 23(1)) as corrected by Patton, Politis and
    White (2009, Econometric Reviews 28(4)), for the circular or, as the mean length, the
    stationary bootstrap. It is never above 3 sqrt(n) or n / 3, rounded up.

    More than 4000 values are first averaged in cells of equal length; a block is then no shorter
    than a cell, and values that do not fill the last one are left aside. 1, as for independent
    values, is the answer where nothing can be told: below 20 values, and without variation.
    """
    from arch.bootstrap import optimal_block_length as politis_white

    step = -(-len(values) // _MOST_CELLS)
    n_cells = len(values) // step if step else 0
    cells = values[: n_cells * step].reshape(n_cells, max(step, 1)).mean(axis=1)
    if n_cells < _FEWEST_CELLS or np.ptp(cells) <= 1e-12 * np.abs(cells).max():
        return 1.0
    # A series that ends in equal values divides 0 by 0 there: no length, and so the fallback.
    with np.errstate(all="ignore"):
        found = float(politis_white(cells)[kind].iloc[0])
    return max(1.0, found) * step if np.isfinite(found) else 1.0
