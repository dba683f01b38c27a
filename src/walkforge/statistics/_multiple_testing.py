"""Many tests at once: p-values adjusted for how many there are, over symbols, runs or trials.

None, a test that was not made, stays None and does not count.
"""

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted so that any of them below 0.05 is wrong in 5 of 100 cases.

    Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of
    Statistics 6(2). It holds however the tests depend on each other.
    """
    known = _sorted(p_values)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted so that of those below 0.05 no more than 5 in 100 are wrong.

    Benjamini and Hochberg (1995), Controlling the False Discovery Rate, Journal of the Royal
    Statistical Society B 57(1): for tests that are independent or move together.
    """
    return _stepped_up(p_values, 1.0)


def benjamini_yekutieli(p_values: Sequence[float | None]) -> list[float | None]:
    """Return what `benjamini_hochberg` does times 1 + 1/2 + ... + 1/n: for tests of any kind.

    Benjamini and Yekutieli (2001), The Control of the False Discovery Rate in Multiple Testing
    under Dependency, Annals of Statistics 29(4), theorem 1.3.
    """
    n_known = sum(p is not None for p in p_values)
    return _stepped_up(p_values, sum(1.0 / rank for rank in range(1, n_known + 1)))


def _stepped_up(p_values: Sequence[float | None], factor: float) -> list[float | None]:
    known = _sorted(p_values)
    adjusted: list[float | None] = [None] * len(p_values)
    lowest = 1.0
    for rank in range(len(known), 0, -1):
        p, place = known[rank - 1]
        lowest = min(lowest, factor * len(known) / rank * p)
        adjusted[place] = lowest
    return adjusted


def _sorted(p_values: Sequence[float | None]) -> list[tuple[float, int]]:
    return sorted((p, place) for place, p in enumerate(p_values) if p is not None)
