"""The guard of the universe: whether the choice of symbols knew who would live."""

from collections.abc import Iterator

from walkforge.study import survivorship_told

from ._specimen import Specimen


def only_survivors(specimen: Specimen) -> Iterator[str]:
    """Yield what a run warns of in a line; nothing of a study that draws from no universe."""
    symbols = {one.symbol for one in specimen.source.values()}
    if told := survivorship_told(specimen.study.data, specimen.source, symbols):
        yield told
