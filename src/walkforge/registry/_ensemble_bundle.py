"""Several bundles as one: all of their files, and the weight of each."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from walkforge.base import read_json, write_json

from ._description import (
    DESCRIPTION,
    ENSEMBLE_KEYS,
    MEMBERS,
    model_name,
    refuse_lacking,
    refuse_strangers,
    refuse_weights,
    shares_of,
)
from ._manifest import MANIFEST, named_files, refuse_missing, verified_files, whole_folder
from ._reference import write_reference

Share = tuple[Path, float]


def write_ensemble(
    folder: Path,
    description: dict[str, Any],
    members: Sequence[Path],
    weights: Sequence[float],
    *,
    reference: dict[str, Any] | None = None,
) -> None:
    """Write the bundle of an ensemble; an older one in the same place is replaced.

    `members` are folders of bundles, which are copied (as hard links where the file system has
    them: the weights of a whole market would lie there once per series); `weights` are at least 0
    and sum to 1. A member that is an ensemble is taken apart: its models come in with its weight
    times their own.
    The description needs no `model`, it is made here. `reference` is what later predictions of all
    together will be compared with; what features were like the members' own tell. Raises
    BundleError where a key is missing, for weights that are none, a damaged member, and one of
    other timeframe or classes, or that lacks a symbol.
    """
    refuse_lacking(folder, description, ENSEMBLE_KEYS)
    refuse_weights(folder, weights, len(members))
    shares = [
        share
        for member, weight in zip(members, weights, strict=True)
        for share in _taken_apart(folder, description, member, weight)
    ]
    listed = []
    with whole_folder(folder) as part:
        for member, weight in shares:
            place = _free_place(part, member.name)
            _copy(member, part / place)
            listed.append({"bundle": place, "weight": float(weight)})
        write_reference(part, reference)
        model = {"name": "ensemble", MEMBERS: listed}
        write_json(part / DESCRIPTION, {**description, "model": model})


def _taken_apart(
    folder: Path, description: dict[str, Any], member: Path, weight: float
) -> Iterator[Share]:
    """Yield a member, or the models of one that is an ensemble, with their weights."""
    refuse_missing(member, verified_files(member), DESCRIPTION)
    described = read_json(member / DESCRIPTION)
    refuse_strangers(folder, description, member.name, described)
    if model_name(described) != "ensemble":
        yield member, weight
        return
    for place, share in shares_of(member, described):
        yield from _taken_apart(folder, description, member / place, weight * share)


def _free_place(part: Path, name: str) -> str:
    """Return a place for a member: models of several runs may go by one name."""
    names = (name, *(f"{name}_{number}" for number in range(2, 10_000)))
    free = next(one for one in names if not (part / MEMBERS / one).exists())
    return f"{MEMBERS}/{free}"


def _copy(member: Path, place: Path) -> None:
    """Bring in what the member's manifest names, and the manifest; it was verified before."""
    for name in (*named_files(member), MANIFEST):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(member / name, place / name)


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where that cannot be, as on another disk.

    Two bundles may share a file because none is ever changed in place, only replaced whole.
    """
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
