"""All seeds of a model as one: the mean of their calibrated probabilities."""

import dataclasses

import numpy as np

from ._rows import Rows, new_keys


def seeds_together(rows: Rows) -> Rows:
    """Return one row per time, symbol and fold, with the mean probabilities of its seeds.

    Its seed is 0. A decision that one seed has no finite probability for has none.
    """
    first = np.flatnonzero(new_keys(rows, with_seed=False))
    n_seeds = np.diff(np.append(first, len(rows)))
    together = rows.take(first)
    return dataclasses.replace(
        together,
        p=np.add.reduceat(rows.p, first, axis=0) / n_seeds[:, None],
        seed=np.zeros_like(together.seed),
    )
