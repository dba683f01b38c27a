"""What several models say together.

Shapes: M models, n rows asked, C classes
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from walkforge.base import BundleError, FloatArray
from walkforge.calibration import log_of_mixture, mixture

from ._model import Answer, Model


def together(answers: Sequence[Answer], weights: FloatArray) -> Answer:
    """Return the mean of calibrated probabilities by weights (M,), and the median of prices.

    The logits are the logarithm of that mean: a softmax gives the mean again. Prices are the
    median over the models that forecast, whatever their weights. It is a possible bar where every
    model's is: if one price is at least another in every model, so is its median, for a median
    never falls when a number rises; likewise quantiles rise.
    """
    probabilities = mixture(np.stack([one.probabilities for one in answers]), weights)
    told = [one.prices for one in answers if one.prices]
    prices = {
        name: np.median(np.stack([own[name] for own in told]), axis=0)
        for name in (told[0] if told else ())
    }
    return Answer(log_of_mixture(probabilities), probabilities, prices)


def refuse_other_prices(models: Sequence[Model]) -> None:
    """Raise BundleError where two models forecast, and not the same prices."""
    forecasters = [one for one in models if one.price_names]
    for one in forecasters[1:]:
        first = forecasters[0]
        if one.price_names != first.price_names:
            raise BundleError(
                f"{one.bundle.folder}: forecasts {', '.join(one.price_names)}, but "
                f"{first.bundle.folder.name} {', '.join(first.price_names)}; an ensemble of "
                "forecasters has one horizon and the same quantiles"
            )
