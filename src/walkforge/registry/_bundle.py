"""One model as a folder: `bundle.json`, what it learned, and a manifest of their SHA-256.

A network's weights lie in `weights.safetensors`, those of a MarketGPT in `best_model.safetensors`
beside its tokenizer, boosted trees in `trees.txt`, the models of an ensemble as whole bundles in
`members/`. A bundle is written whole or not at all, and read only if every byte is what the
manifest says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walkforge.base import BundleError, read_json, write_json

from ._description import (
    DESCRIPTION,
    KEYS,
    MARKET,
    MARKET_KEYS,
    model_name,
    refuse_lacking,
    refuse_strangers,
    shares_of,
)
from ._manifest import refuse_missing, verified_files, whole_folder
from ._reference import read_reference, write_reference

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS, _TREES = "weights.safetensors", "trees.txt"
_MARKET_WEIGHTS = "best_model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer.safetensors")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was read: the description of `bundle.json`, and what the model learned."""

    folder: Path
    description: dict[str, Any]
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Named weights of a network; empty for anything else."""
    trees: str | None = None
    """Boosted trees in LightGBM's own text; None for anything else."""
    members: tuple[tuple[float, Bundle], ...] = ()
    """The weight and the bundle of every model of an ensemble, none of them an ensemble itself;
    empty for anything else."""
    reference: dict[str, Any] | None = None
    """What later bars and predictions are compared with; None of a bundle that carries none."""


def write_bundle(
    folder: Path,
    description: dict[str, Any],
    weights: dict[str, Tensor],
    *,
    reference: dict[str, Any] | None = None,
) -> None:
    """Write the bundle of a network; an older one in the same place is replaced.

    `reference` is what later predictions will be compared with; prediction itself needs none.
    Raises BundleError where the description lacks a key that prediction needs.
    """
    from safetensors.torch import save_file

    refuse_lacking(folder, description, KEYS)
    with whole_folder(folder) as part:
        write_json(part / DESCRIPTION, description)
        write_reference(part, reference)
        save_file({name: t.contiguous() for name, t in weights.items()}, part / _WEIGHTS)


def write_market(
    folder: Path,
    description: dict[str, Any],
    weights: dict[str, Tensor],
    *,
    beside: Callable[[Path], None],
    reference: dict[str, Any] | None = None,
) -> None:
    """Write the bundle of a MarketGPT, otherwise as `write_bundle`.

    `beside` writes the tokenizer, and what else belongs to the bundle, into the folder that it is
    given. Raises BundleError where it writes no tokenizer.
    """
    from safetensors.torch import save_file

    refuse_lacking(folder, description, MARKET_KEYS)
    with whole_folder(folder) as part:
        beside(part)
        if missing := [name for name in _TOKENIZER if not (part / name).is_file()]:
            raise BundleError(f"{folder}: {', '.join(missing)} is missing; write the tokenizer too")
        write_json(part / DESCRIPTION, description)
        write_reference(part, reference)
        save_file({name: t.contiguous() for name, t in weights.items()}, part / _MARKET_WEIGHTS)


def write_trees(
    folder: Path,
    description: dict[str, Any],
    trees: str,
    *,
    reference: dict[str, Any] | None = None,
) -> None:
    """Write the bundle of boosted trees in LightGBM's own text, otherwise as `write_bundle`."""
    refuse_lacking(folder, description, KEYS)
    with whole_folder(folder) as part:
        write_json(part / DESCRIPTION, description)
        write_reference(part, reference)
        (part / _TREES).write_bytes(trees.encode())


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in `folder`: of a network, a MarketGPT, boosted trees or an ensemble.

    Raises BundleError where it is missing, incomplete, or a file's SHA-256 is not the manifest's;
    for an ensemble also where a member lacks its symbols, timeframe or classes.
    """
    from safetensors.torch import load_file

    files = verified_files(folder)
    refuse_missing(folder, files, DESCRIPTION)
    description = read_json(folder / DESCRIPTION)
    reference = read_reference(folder, files)
    name = model_name(description)
    if name == "ensemble":
        members = _members(folder, description)
        return Bundle(folder, description, members=members, reference=reference)
    if name == "lightgbm":
        refuse_missing(folder, files, _TREES)
        trees = (folder / _TREES).read_bytes().decode()
        return Bundle(folder, description, trees=trees, reference=reference)
    market = name == MARKET
    weights = _MARKET_WEIGHTS if market else _WEIGHTS
    refuse_missing(folder, files, weights, *(_TOKENIZER if market else ()))
    return Bundle(folder, description, load_file(folder / weights), reference=reference)


def _members(folder: Path, description: dict[str, Any]) -> tuple[tuple[float, Bundle], ...]:
    members = []
    for place, weight in shares_of(folder, description):
        member = read_bundle(folder / place)
        if member.members:
            raise BundleError(f"{folder}: its member {place} is an ensemble; expected one model")
        refuse_strangers(folder, description, place, member.description)
        members.append((weight, member))
    return tuple(members)
