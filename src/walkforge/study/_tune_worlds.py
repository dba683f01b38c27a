"""Prepared bars for the trials of a search, which may see other features.

Other features leave other rows usable, which moves the edges of slices. All trials are therefore
measured on the rows that are validation rows whatever the search may choose.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from walkforge.base import FoldError, IntArray
from walkforge.market import Bars, Instrument

from ._prepare import Part, Prepared, folds_as_plain, prepare
from ._study import FeatureSection, Study
from ._trial_entries import spans_of_folds
from ._tune_space import Range, with_settings

# Fewer make no measure worth the name.
_LEAST_VALIDATION_ROWS = 30
# Tables of features up to so many bytes are kept for later trials.
_MOST_KEPT_BYTES = 4 * 2**30

Place = tuple[str, int]


class Worlds:
    """The prepared bars of a search, once per setting of the features."""

    def __init__(
        self,
        bars: Mapping[str, Bars],
        study: Study,
        ranges: Mapping[str, Range],
        *,
        instruments: Mapping[str, Instrument] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare the study itself; raise what `prepare` raises where it does not fit its bars.

        `instruments` are those of a search that has begun; the labels of all trials are made by
        the same ones.
        """
        self._note = note
        self._folds = study.tune.folds
        self._kept: dict[FeatureSection, Prepared] = {}
        first = prepare(bars, study, instruments=instruments, note=note)
        self.left_out = first.left_out
        self.instruments = {name: one.instrument for name, one in first.series.items()}
        self.bars = {name: bars[name] for name in first.series}
        self.spans = spans_of_folds(folds_as_plain(first), since="validation")
        self._common = _validation_rows(first)
        for corner in _corners(study, ranges):
            found = _validation_rows(self._whole(corner))
            self._common = {
                place: np.intersect1d(rows, found[place])
                for place, rows in self._common.items()
                if place in found
            }
        self._refuse_too_few()
        self._keep(study.features, first)

    def of(self, study: Study) -> Prepared:
        """Return the parts that a trial trains, with the validation rows that all trials share.

        Raises what `prepare` raises, and FoldError where a series would be left out.
        """
        if study.features not in self._kept:
            self._keep(study.features, self._whole(study))
        prepared = self._kept[study.features]
        there = [part for part in prepared.parts if _place_of(part) in self._common]
        parts = [self._narrowed(part) for part in there]
        first = [part for part in parts if self._folds == "all" or part.fold.index == 0]
        return replace(prepared, parts=first)

    def _whole(self, study: Study) -> Prepared:
        prepared = prepare(self.bars, study, instruments=self.instruments, note=self._note)
        for name, reason in prepared.left_out.items():
            if name not in self.left_out:
                raise FoldError(reason)
        return prepared

    def _narrowed(self, part: Part) -> Part:
        rows = part.rows.validation
        common = np.intersect1d(rows, self._common[_place_of(part)])
        return replace(part, rows=replace(part.rows, validation=common.astype(rows.dtype)))

    def _refuse_too_few(self) -> None:
        for (series, fold), rows in self._common.items():
            if len(rows) < _LEAST_VALIDATION_ROWS:
                raise FoldError(
                    f"{series}: fold {fold} has {len(rows)} validation rows that all feature "
                    f"settings of tune.space share, expected at least {_LEAST_VALIDATION_ROWS}; "
                    "narrow the range of features.window_bars"
                )

    def _keep(self, features: FeatureSection, prepared: Prepared) -> None:
        self._kept[features] = prepared
        while len(self._kept) > 1 and self._kept_bytes() > _MOST_KEPT_BYTES:
            del self._kept[next(iter(self._kept))]

    def _kept_bytes(self) -> int:
        return sum(one.table.nbytes for one in self._kept.values())


def _corners(study: Study, ranges: Mapping[str, Range]) -> list[Study]:
    """Return the studies whose features leave the fewest rows: outermost windows, every set."""
    paths = [path for path in ("features.window_bars", "features.set") if path in ranges]
    if not paths:
        return []
    settings = product(*(ranges[path].ends() for path in paths))
    return [with_settings(study, dict(zip(paths, one, strict=True))) for one in settings]


def _place_of(part: Part) -> Place:
    return part.series, part.fold.index


def _validation_rows(prepared: Prepared) -> dict[Place, IntArray]:
    return {_place_of(part): part.rows.validation for part in prepared.parts}
