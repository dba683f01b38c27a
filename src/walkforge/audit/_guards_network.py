"""The guard of networks: do they learn, and do they say of a row what their twins say?

Shapes: n rows, C classes
"""

from collections.abc import Iterator

import numpy as np

from walkforge.base import FloatArray
from walkforge.study import GptStudy

from ._asked import Asked
from ._specimen import Specimen

# A score of 10 is odds of 22 000 to 1: the `v8` plan's limit, which no honest forecast comes near.
_MOST_LOGIT = 10.0
_LEAST_DISTINCT = 0.5


def strange_networks(specimen: Specimen) -> Iterator[str]:
    """Yield what no network does that has learned, and is asked as it was taught.

    Of a MarketGPT, whose twin does not exist, only its predictions are looked at.
    """
    results = specimen.results
    table = results.predictions
    logits = table[[name for name in table.columns if name.startswith("logit_")]].to_numpy()
    yield from _scores(logits, may_be_large=specimen.study.model.forecasts)
    if isinstance(specimen.study, GptStudy):
        return
    for one in results.members:
        asked = Asked(specimen, one)
        for words in (
            *asked.did_not_move(),
            *asked.did_not_learn(),
            *asked.says_otherwise(),
            *asked.taught_otherwise(),
            *asked.off_the_shares(),
            *asked.measured_otherwise(),
        ):
            yield f"{one.trained.member.name}: {words}"


def _scores(logits: FloatArray, *, may_be_large: bool) -> Iterator[str]:
    """Yield what is strange about the scores (n, C) of the test rows.

    Those of a forecaster are logarithms of probabilities, and of a small one as large as they like.
    """
    if not np.isfinite(logits).all():
        yield f"{int((~np.isfinite(logits)).sum())} scores of test rows are NaN or infinite"
    elif (most := float(np.abs(logits).max())) > _MOST_LOGIT and not may_be_large:
        yield f"scores of test rows reach {most:.4g}, expected at most {_MOST_LOGIT:g}"
    n_distinct = len(np.unique(logits, axis=0))
    if n_distinct < _LEAST_DISTINCT * len(logits):
        yield (
            f"{len(logits)} test rows have {n_distinct} different predictions, expected at least "
            f"{_LEAST_DISTINCT:.0%} of them: the network does not look at the bars"
        )
