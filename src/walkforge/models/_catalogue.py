"""The models that a study can name."""

from collections.abc import Callable
from typing import Any

from walkforge.base import TrainingError, one_of

from ._architecture import Architecture
from ._bilstm import Bilstm
from ._cnn_lstm import CnnLstm
from ._gru import Gru
from ._mlp import Mlp

MODELS: dict[str, Callable[..., Architecture]] = {
    "mlp": Mlp,
    "gru": Gru,
    "cnn_lstm": CnnLstm,
    "bilstm": Bilstm,
}
FORECASTERS = frozenset({"bilstm"})
"""Models that say a forecast row instead of classes, and know of no classes."""


def build_architecture(
    name: str, *, n_features: int, window_bars: int, n_classes: int | None = None, **options: Any
) -> Architecture:
    """Return the named architecture; raise UsageError or TrainingError for what it cannot be.

    Classifiers need `n_classes`, forecasters refuse it. Lists, as study files and bundles have
    them, count as tuples.
    """
    build = MODELS[one_of("model", name, MODELS)]
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    if n_classes is not None:
        given["n_classes"] = n_classes
    try:
        return build(n_features=n_features, window_bars=window_bars, **given)
    except TypeError as error:
        raise TrainingError(f"model {name!r}: {error}") from None
