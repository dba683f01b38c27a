"""`bins`: a token is the bin of every number of a bar, each cut at quantiles of training rows.

The body is not cut itself but the gap = move − body, which is how far a bar opened from the close
before it. Bodies follow moves, so that most pairs of their bins would never occur: with 1024 codes
on hourly coins, cutting the gap raised the perplexity from 410 to 710 and brought the mean error of
the decoded open from 41 to 2 basis points.

Shapes: n rows, V codes, 5 numbers in the order of VECTOR
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ._token_rule import VECTOR, TokenizerRule


@dataclass(frozen=True, slots=True, eq=False)
class TokenBins:
    """Bins of each number: `edges` of k bins are k − 1, rising; `medians` (k,) of their rows.

    A value that equals an edge lies below it, so that bars without a wick, of which there are many,
    have a bin. A token counts the bins, the move's first.
    """

    edges: tuple[NDArray[np.float32], ...]
    medians: tuple[NDArray[np.float32], ...]
    centres: NDArray[np.float32] = field(init=False)
    """The medians of every code (V, 5), as bar vectors."""

    def __post_init__(self) -> None:
        grid = np.meshgrid(*self.medians, indexing="ij")
        cut = np.stack([numbers.ravel() for numbers in grid], axis=1)
        object.__setattr__(self, "centres", _body_for_gap(cut))

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return the code of each row (n, 5)."""
        token = np.zeros(len(values), dtype=np.int64)
        for edges, column in zip(self.edges, _body_for_gap(values).T, strict=True):
            token = token * (len(edges) + 1) + np.searchsorted(edges, column, side="left")
        return token.astype(np.uint16)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return what was learned, by name."""
        return {
            f"{part}_{name}": values
            for part, of_part in (("edges", self.edges), ("medians", self.medians))
            for name, values in zip(VECTOR, of_part, strict=True)
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.float32]]) -> "TokenBins":
        """Return the bins of `arrays`; raise KeyError where a part is missing."""
        return TokenBins(
            tuple(arrays[f"edges_{name}"] for name in VECTOR),
            tuple(arrays[f"medians_{name}"] for name in VECTOR),
        )


def fit_bins(
    rule: TokenizerRule, values: NDArray[np.float32], limits: NDArray[np.float32], *, seed: int
) -> TokenBins:
    """Learn the bins from training rows (n, 5). Quantiles need neither limits nor a seed."""
    columns = _body_for_gap(values).T
    edges = tuple(map(_edges, columns, rule.bin_counts))
    return TokenBins(edges, tuple(map(_medians, columns, edges)))


def _body_for_gap(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows with move − body for the body; twice gives the body again."""
    turned = values.copy()
    with np.errstate(over="ignore"):  # ever so far apart: the outermost bin
        turned[:, 1] = values[:, 0] - values[:, 1]
    return turned


def _edges(column: NDArray[np.float32], n_bins: int) -> NDArray[np.float32]:
    return np.quantile(column, np.arange(1, n_bins) / n_bins).astype(np.float32)


def _medians(column: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median row of every bin; one without rows, between equal edges, is the edge."""
    bins = np.searchsorted(edges, column, side="left")
    medians = [
        np.median(rows) if len(rows := column[bins == number]) else edges[number - 1]
        for number in range(len(edges) + 1)
    ]
    return np.array(medians, dtype=np.float32)
