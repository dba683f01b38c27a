"""The user's own parts that a bundle was made with: the same file, byte for byte, or none.

A bundle names them and holds no code; the file lies where it was, or in the working directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from walkforge.base import (
    BundleError,
    FeatureError,
    OwnPart,
    TrainingError,
    UsageError,
    WalkforgeError,
    digest_of_file,
    load_own,
    split_own,
)
from walkforge.registry import Bundle

_ERRORS: dict[str, type[WalkforgeError]] = {"features": FeatureError, "model": TrainingError}


@dataclass(frozen=True, slots=True)
class OwnFeatures:
    """A user's features, their columns in order, and how many bars they need to settle."""

    part: OwnPart
    columns: tuple[str, ...]
    look_back_bars: int


def own_features(bundle: Bundle) -> OwnFeatures | None:
    """Return the user's own features that a bundle was trained on; None of a named set.

    Raises BundleError where their file is not there, or is another one than in training.
    """
    described = _described(bundle, "features")
    if described is None:
        return None
    columns = tuple(bundle.description["features"])
    return OwnFeatures(_own(bundle, "features"), columns, int(described["look_back_bars"]))


def own_model(bundle: Bundle) -> OwnPart:
    """Return the user's own model of a bundle; raises BundleError like `own_features`."""
    return _own(bundle, "model")


def _described(bundle: Bundle, name: str) -> dict[str, str] | None:
    return (bundle.description.get("own") or {}).get(name)


def _own(bundle: Bundle, name: str) -> OwnPart:
    try:
        described = _described(bundle, name) or {}
        path, function = split_own(described["own"], f"own.{name}")
        expected = described["sha256"]
    except (KeyError, UsageError) as error:
        raise BundleError(f"{bundle.folder}: its own {name} cannot be read ({error})") from None
    there = [place for place in (path, Path(path.name)) if place.is_file()]
    for place in there:
        if digest_of_file(place) == expected:
            return load_own(f"{place}:{function}", f"own.{name}", _ERRORS[name])
    if not there:
        raise BundleError(
            f"{bundle.folder}: its {name} needs {path.name}:{function}, and {path} is not there; "
            "bring the file back, or put it into the working directory"
        )
    raise BundleError(
        f"{there[0]}: has changed since {bundle.folder} was trained (SHA-256 {expected[:12]} then, "
        f"{digest_of_file(there[0])[:12]} now); predict with the file of then"
    )
