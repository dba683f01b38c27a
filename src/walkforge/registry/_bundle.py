"""One model as a folder: `bundle.json`, `weights.safetensors` and a manifest of their SHA-256.

A bundle is written whole or not at all, and read only if every byte is what the manifest says.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walkforge.base import BundleError, RunError, digest_of_file, read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

_DESCRIPTION, _WEIGHTS, _MANIFEST = "bundle.json", "weights.safetensors", "manifest.json"
_KEYS = (
    "model",
    "features",
    "feature_set",
    "window_bars",
    "scaler",
    "calibrator",
    "label",
    "classes",
    "symbols",
    "timeframe",
    "calendar",
    "trained",
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was read: the description of `bundle.json` and the named weights of one member."""

    folder: Path
    description: dict[str, Any]
    weights: "dict[str, Tensor]"


def write_bundle(folder: Path, description: dict[str, Any], weights: "dict[str, Tensor]") -> None:
    """Write a bundle; an older one in the same place is replaced.

    Raises BundleError where the description lacks a key that prediction needs.
    """
    from safetensors.torch import save_file

    missing = [key for key in _KEYS if key not in description]
    if missing:
        raise BundleError(f"{folder}: the description lacks {', '.join(missing)}")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        write_json(part / _DESCRIPTION, description)
        save_file({name: t.contiguous() for name, t in weights.items()}, part / _WEIGHTS)
        digests = {name: digest_of_file(part / name) for name in (_DESCRIPTION, _WEIGHTS)}
        write_json(part / _MANIFEST, {"sha256": digests})
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in `folder`.

    Raises BundleError where it is missing, incomplete, or a file's SHA-256 is not the manifest's.
    """
    from safetensors.torch import load_file

    if not (folder / _MANIFEST).is_file():
        raise BundleError(
            f"{folder}: no bundle here ({_MANIFEST} is missing). "
            "Bundles of a run lie in RUN/models/."
        )
    for name, expected in _manifest_of(folder).items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing, though the manifest names it")
        found = digest_of_file(path)
        if found != expected:
            raise BundleError(
                f"{path}: its SHA-256 is {found[:12]}..., the manifest says {expected[:12]}...; "
                "the bundle was changed or cut off. Take it again from its run."
            )
    return Bundle(folder, read_json(folder / _DESCRIPTION), load_file(folder / _WEIGHTS))


def _manifest_of(folder: Path) -> dict[str, str]:
    try:
        digests = read_json(folder / _MANIFEST)["sha256"]
        return {name: digests[name] for name in (_DESCRIPTION, _WEIGHTS)}
    except (RunError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / _MANIFEST}: not a manifest ({error})") from None
