"""Has a column of numbers drifted away from those that taught the model?

    reference = column_reference(training_values)
    column_drift(reference, later_values)

The rows of a market hang together: a quiet month looks like no other month, and still nothing has
changed. So later rows are not set against the chance of independent draws, but against how far
stretches of the training rows, as long as the later rows, lie from the rest of them.

Shapes: n rows, B bins, K stretches
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from walkforge.base import FloatArray, IntArray

BINS = 20
"""Bins of equal mass. Siddiqi (2006) takes ten; twenty let Kolmogorov and Smirnov see more."""

STRETCHES = (256, 128, 64, 32, 16, 8, 4)
"""How often the training rows are cut, each time into stretches of equally many rows."""

FEWEST_ROWS = 10
"""A shorter stretch fills no bins."""

LITTLE_PSI = 0.1
"""Siddiqi (2006): below it a shift is too small to matter, however sure it is."""

# Fewer stretches than this do not tell how the distances of stretches scatter.
_STRETCHES_THAT_SCATTER = 16
# Half a row in every bin (Jeffreys): an empty one would make the index infinite.
_HALF = 0.5
# Kolmogorov's distribution: the mean of its square, and how few degrees of freedom a chi-square
# must have so that its tail is no lighter.
_KOLMOGOROV_SQUARE = np.pi**2 / 12
_KOLMOGOROV_DEGREES = 3.0
_DIGITS = 6


def column_reference(values: np.ndarray, edges: FloatArray | None = None) -> dict[str, Any]:
    """Return what a column of training rows (n,), in order of time, was like, as plain data.

    `edges` (B - 1,) and `counts` (B,): bins of equal mass where no edges are handed over; a bin
    begins at its edge. Of a column that is (nearly) constant three: below, at and above it.
    `stretches`: per number of cuts the `rows` of a stretch and the mean over stretches of the
    distance from all other rows, `psi` and `ks_squared`. `psi_degrees`, `ks_degrees`: degrees of
    freedom of the chi-square distribution with the mean and the variance of these distances
    (Satterthwaite 1946), at least 1. A column of fewer than 40 rows cannot be compared.
    """
    edges = _edges(values) if edges is None else edges
    bins = np.searchsorted(edges, values.astype(np.float64), side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    cuts = [k for k in STRETCHES if len(values) // k >= FEWEST_ROWS]
    apart = [_of_stretches(bins, counts, k) for k in cuts]
    scattering = [found for found in apart if len(found) >= _STRETCHES_THAT_SCATTER]
    most = (float(len(counts) - 1), _KOLMOGOROV_DEGREES)
    degrees = [
        min((_degrees(found[:, kind] ** power, most[kind]) for found in scattering), default=1.0)
        for kind, power in ((0, 1), (1, 2))
    ]
    return {
        "n": len(values),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "stretches": [
            {
                "n_stretches": len(found),
                "rows": len(values) // len(found),
                "psi": float(found[:, 0].mean()),
                "ks_squared": float((found[:, 1] ** 2).mean()),
            }
            for found in apart
        ],
        "psi_degrees": degrees[0],
        "ks_degrees": degrees[1],
    }


def fewest_rows(reference: Mapping[str, Any]) -> int | None:
    """Return how many rows can be compared with a reference; None where none can."""
    return min((one["rows"] for one in reference["stretches"]), default=None)


def column_drift(reference: Mapping[str, Any], values: np.ndarray) -> dict[str, Any]:
    """Return how far later values (n,), finite and in order of time, lie from a reference.

    `psi`: the population stability index, sum of (q - p) log(q / p) over bins (Siddiqi 2006), with
    half a row added to every bin; `psi_expected`: what stretches of the training rows of this
    length have, at least (B - 1) (1 / n + 1 / m), the mean for independent rows (Yurdakul
    2018). `ks`: the largest distance of the distribution functions at the bins' edges;
    `ks_expected` likewise, root mean square. `p_value` of both together, the smaller one doubled:
    the chance of as much where nothing has changed. `p_value` is None, with `reason`, where the
    rows are too few. `n` rows.
    """
    counts = np.asarray(reference["counts"])
    edges = np.asarray(reference["edges"])
    bins = np.searchsorted(edges, values.astype(np.float64), side="right")
    later = np.bincount(bins, minlength=len(counts))
    n, least = len(values), fewest_rows(reference)
    if least is None or n < least:
        needed = "a longer training slice" if least is None else f"at least {least} needed"
        return {"n": n, "p_value": None, "reason": f"{n} rows, {needed}"}
    psi, ks = _distances(later[None], counts[None])[0]
    expected_psi, expected_square, n_stretches = _expected(reference, n)
    p_values = (
        _tail(psi / expected_psi, reference["psi_degrees"], n_stretches),
        _tail(ks**2 / expected_square, reference["ks_degrees"], n_stretches),
    )
    return {
        "n": n,
        "psi": float(psi),
        "psi_expected": float(expected_psi),
        "ks": float(ks),
        "ks_expected": float(np.sqrt(expected_square)),
        "p_value": min(1.0, 2.0 * min(p_values)),
    }


def _edges(values: np.ndarray) -> FloatArray:
    """Return the inner edges (B - 1,), rising and distinct, with so many digits as files hold."""
    if len(values) == 0:
        return np.array([0.0, 1.0])  # of no row: nothing can be compared with it
    ordered = np.sort(values.astype(np.float64))
    starts = ordered[(np.arange(1, BINS) * len(ordered)) // BINS]
    edges = np.unique([float(f"{edge:.{_DIGITS}g}") for edge in starts])
    edges = edges[(edges > ordered[0]) & (edges <= ordered[-1])]
    if len(edges):
        return edges
    middle = np.float32(ordered[len(ordered) // 2])
    return np.array([middle, np.nextafter(middle, np.float32(np.inf))], dtype=np.float64)


def _of_stretches(
    bins: Int[np.ndarray, " n"], counts: Int[np.ndarray, " B"], n_stretches: int
) -> Float[np.ndarray, "K 2"]:
    """Return index and distance of every stretch to all other rows."""
    length = len(bins) // n_stretches
    used = bins[: length * n_stretches]
    cell = np.repeat(np.arange(n_stretches), length) * len(counts) + used
    inside = np.bincount(cell, minlength=n_stretches * len(counts)).reshape(n_stretches, -1)
    return _distances(inside, counts - inside)


def _distances(
    one: Int[np.ndarray, "K B"], other: Int[np.ndarray, "#K B"]
) -> Float[np.ndarray, "K 2"]:
    """Return the population stability index and the distance of Kolmogorov and Smirnov."""
    sides = (one, other)
    q, p = ((side + _HALF) / (side + _HALF).sum(axis=1, keepdims=True) for side in sides)
    psi = ((q - p) * np.log(q / p)).sum(axis=1)
    below = [np.cumsum(side, axis=1) / side.sum(axis=1, keepdims=True) for side in sides]
    return np.stack([psi, np.abs(below[0] - below[1]).max(axis=1)], axis=1)


def _degrees(distances: FloatArray, most: float) -> float:
    """Return the degrees of freedom of a chi-square with the same mean over deviation."""
    variance = float(distances.var(ddof=1))
    return float(np.clip(2.0 * distances.mean() ** 2 / max(variance, 1e-300), 1.0, most))


def _expected(reference: Mapping[str, Any], n: int) -> tuple[float, float, int]:
    """Return what an index and a squared distance of n rows are without drift, from K stretches.

    Between two lengths the logarithms of the means are joined by a straight line. Rows that are
    more than the longest stretch are taken as no more than it: whether longer ones differ less,
    the training rows are too few to tell.
    """
    known = reference["stretches"]
    rows = np.array([one["rows"] for one in known])
    place = float(np.interp(np.log(n), np.log(rows), np.arange(len(rows))))
    told = (np.array([one[key] for one in known]) for key in ("psi", "ks_squared"))
    logs = (np.log(np.maximum(_no_faster(one, rows), 1e-12)) for one in told)
    means = [np.exp(np.interp(place, np.arange(len(rows)), one)) for one in logs]
    fewest = known[int(np.ceil(place))]["n_stretches"]
    independent = 1.0 / n + 1.0 / reference["n"]
    degrees = len(reference["counts"]) - 1
    return (
        max(float(means[0]), degrees * independent),
        max(float(means[1]), _KOLMOGOROV_SQUARE * independent),
        fewest,
    )


def _no_faster(means: FloatArray, rows: IntArray) -> FloatArray:
    """Return mean distances (L,) of rising numbers of rows that fall no faster than their inverse.

    So they fall where rows are independent, and slower where they hang together. The few long
    stretches may happen to lie nearer to each other than the many short ones let expect.
    """
    return np.maximum.accumulate(means * rows) / rows


def _tail(ratio: float, degrees: float, n_stretches: int) -> float:
    """Return the chance of a distance so many times as large as expected.

    A mean over K stretches is itself uncertain: the ratio of two chi-squares over their degrees
    has Fisher's F distribution.
    """
    from scipy.stats import f

    return float(f.sf(ratio, degrees, degrees * n_stretches))
