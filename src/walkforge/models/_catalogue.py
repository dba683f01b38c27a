"""The models that a study can name."""

from collections.abc import Callable
from typing import Any

from walkforge.base import TrainingError, one_of

from ._architecture import Architecture
from ._gru import Gru
from ._mlp import Mlp

MODELS: dict[str, Callable[..., Architecture]] = {"mlp": Mlp, "gru": Gru}


def build_architecture(
    name: str, *, n_features: int, window_bars: int, n_classes: int, **options: Any
) -> Architecture:
    """Return the named architecture; raise UsageError or TrainingError for what it cannot be."""
    if name == "mlp":
        options["widths"] = tuple(options.get("widths", Mlp.__dataclass_fields__["widths"].default))
    try:
        return MODELS[one_of("model", name, MODELS)](
            n_features=n_features, window_bars=window_bars, n_classes=n_classes, **options
        )
    except TypeError as error:
        raise TrainingError(f"model {name!r}: {error}") from None
