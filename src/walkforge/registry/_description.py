"""What `bundle.json` must say, of one model and of an ensemble."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from walkforge.base import BundleError

DESCRIPTION = "bundle.json"
MEMBERS = "members"
"""Folder of an ensemble's bundles, and the key of its model that lists them."""

ENSEMBLE_KEYS = ("label", "classes", "symbols", "timeframe", "calendar", "trained")
KEYS = (
    "model",
    "features",
    "feature_set",
    "window_bars",
    "scaler",
    "calibrator",
    *ENSEMBLE_KEYS,
)
_COMMON = ("symbols", "timeframe", "classes", "calendar")
_ROUNDING = 1e-9


def refuse_lacking(folder: Path, description: dict[str, Any], keys: Sequence[str]) -> None:
    """Raise BundleError naming the keys that a description lacks."""
    missing = [key for key in keys if key not in description]
    if missing:
        raise BundleError(f"{folder}: the description lacks {', '.join(missing)}")


def refuse_strangers(
    folder: Path, description: dict[str, Any], name: str, member: dict[str, Any]
) -> None:
    """Raise BundleError for a member of other symbols, timeframe, classes or calendar."""
    for key in _COMMON:
        if member.get(key) != description[key]:
            raise BundleError(
                f"{folder}: its member {name} has the {key} {_listed(member.get(key))}, the "
                f"ensemble {_listed(description[key])}; their mean would mean nothing"
            )


def refuse_weights(folder: Path, weights: Sequence[float], n_members: int) -> None:
    """Raise BundleError for weights that are not one per member, at least 0, with the sum 1."""
    sound = all(math.isfinite(weight) and weight >= 0 for weight in weights)
    if not sound or len(weights) != n_members or abs(sum(weights) - 1) > _ROUNDING:
        raise BundleError(
            f"{folder}: the weights are {', '.join(f'{weight:g}' for weight in weights) or 'none'} "
            f"for {n_members} members; expected one each, at least 0, with the sum 1"
        )


def model_name(description: dict[str, Any]) -> str:
    """Return the name of the model: ensemble, lightgbm, or that of a network."""
    model = description.get("model")
    return str(model.get("name")) if isinstance(model, dict) else ""


def shares_of(folder: Path, description: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the place within the folder and the weight of each member of an ensemble.

    Raises BundleError where the list is damaged, or leads out of the folder.
    """
    refuse_lacking(folder, description, ENSEMBLE_KEYS)
    try:
        listed = description["model"][MEMBERS]
        shares = [(str(one["bundle"]), float(one["weight"])) for one in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / DESCRIPTION}: its members cannot be read ({error!r})"
        ) from None
    for place, _ in shares:
        parent, _, name = place.partition("/")
        if parent != MEMBERS or "/" in name or name in ("", ".", ".."):
            raise BundleError(
                f"{folder / DESCRIPTION}: a member lies in {place!r}, expected members/"
            )
    refuse_weights(folder, [weight for _, weight in shares], len(shares))
    return shares


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
