"""A bundle per member of a run, and of several seeds one of all of them together."""

from pathlib import Path

import polars as pl

from walkforge import registry

from ._baselining import Baselining, Beside
from ._describe import describe, describe_ensemble, describe_trees
from ._folder import RunFolder
from ._learn import Learned, Learning, Results
from ._live_reference import References


def write_bundles(folder: RunFolder, learning: Learning, results: Results) -> None:
    """Write a bundle per member, and of several seeds one of all of them together."""
    learned = results.members
    references = References(learning.prepared, results.calibration_predictions, results.predictions)
    for one in learned:
        described = describe(learning.study, learning.prepared, one)
        told = references.of_member([one.part], one.trained.member.seed)
        registry.write_bundle(_place(folder, one), described, one.trained.state, reference=told)
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
            reference=references.of_seeds([part], learning.study.seeds),
        )


def write_trees(folder: RunFolder, baselining: Baselining, found: Beside) -> None:
    """Write a bundle of the LightGBM baseline of every series and fold, where a run has one."""
    tables = (found.calibration_predictions, found.predictions)
    references = References(
        baselining.prepared, *(one.filter(pl.col("baseline") == "lightgbm") for one in tables)
    )
    for one in found.trees:
        described = describe_trees(baselining.study, baselining.prepared, one.part, one.calibrator)
        place = folder.bundle(one.part.series, one.part.fold.index, "lightgbm")
        told = references.of_member([one.part], seed=0)
        registry.write_trees(place, described, one.text, reference=told)


def _place(folder: RunFolder, one: Learned) -> Path:
    member = one.trained.member
    return folder.bundle(member.symbol, member.fold, f"seed{member.seed}")
