"""A bundle per member of a run, and of several seeds one of all of them together."""

from pathlib import Path

from walkforge import registry

from ._describe import describe, describe_ensemble
from ._folder import RunFolder
from ._learn import Learned, Learning


def write_bundles(folder: RunFolder, learning: Learning, learned: list[Learned]) -> None:
    """Write a bundle per member, and of several seeds one of all of them together."""
    for one in learned:
        described = describe(learning.study, learning.prepared, one)
        registry.write_bundle(_place(folder, one), described, one.trained.state)
    n_seeds = len(learning.study.seeds)
    if n_seeds == 1:
        return
    for first in range(0, len(learned), n_seeds):
        seeds = learned[first : first + n_seeds]
        described = describe_ensemble(
            learning.study.name,
            [describe(learning.study, learning.prepared, one) for one in seeds],
        )
        part = seeds[0].part
        registry.write_ensemble(
            folder.bundle(part.series, part.fold.index, "ensemble"),
            described,
            [_place(folder, one) for one in seeds],
            [1 / n_seeds] * n_seeds,
        )


def _place(folder: RunFolder, one: Learned) -> Path:
    member = one.trained.member
    return folder.bundle(member.symbol, member.fold, f"seed{member.seed}")
