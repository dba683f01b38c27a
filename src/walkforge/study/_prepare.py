"""Bars to what the trainer needs: features, outcomes, and the rows of every symbol and fold.

All that is learned here (scalers, label limits) is learned from the training rows of its own
symbol and fold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from walkforge import calibration, features, folds, labels
from walkforge.base import (
    BoolArray,
    FoldError,
    Int8Array,
    IntArray,
    LabelError,
    OwnPart,
    StudyError,
    timeframe_ms,
    whole_windows,
)
from walkforge.features import BarVectors, FeatureTable, FeatureTables, Scaler
from walkforge.folds import Fold, FoldRows
from walkforge.labels import Limits, Outcomes, Targets
from walkforge.market import Bars, Instrument, Membership

from ._bars import instrument_before, series_name
from ._fine_tune import BaseRun, read_base
from ._folder import file_name
from ._liquid import currencies_told, members_of
from ._lives import come_and_go, ended_for_good
from ._own import OwnParts, guard_own_labels, guard_own_model, own_features
from ._shared_calendar import cuts_told
from ._study import Study

# Fewer rows than this make no measure, calibrator or stopping rule worth the name.
_LEAST_ROWS = {"train": 100, "validation": 30, "calibration": 30, "test": 30}
# Where series come and go, whoever asked for more test rows would leave out by hindsight what died
# early in a test slice.
_LEAST_TEST_ROWS_PART_TIME = 1

# Columns of which a scaler is learned together.
_SCALED_AT_ONCE = 8

_NOT_LIQUID = "not among the most liquid then"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One symbol and timeframe: features float32 (n, F) and outcomes of its bars (n,)."""

    bars: Bars
    instrument: Instrument
    values: np.ndarray
    """A view into the table of all series."""
    outcomes: Outcomes
    targets: Targets | None
    """What a forecaster learns; None for a model of classes."""
    usable: BoolArray
    """Rows with a whole window of features and an outcome, of times at which it takes part."""
    dropped: dict[str, int]
    vectors: BarVectors | None = None
    """What a tokenizer makes tokens of; None for a model that reads features."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One series in one fold: its rows, and what was learned from the training rows."""

    series: str
    fold: Fold
    rows: FoldRows
    scaler: Scaler
    limits: Limits
    labels: Int8Array
    """Class of every row (n,), -1 where there is no outcome."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything that is known before a network is trained."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    table: np.ndarray
    """Features float32 (N, F) of all series, one after the other."""
    targets: np.ndarray | None
    """What a forecaster learns, float32 (N, T), row by row beside the table."""
    first_row: dict[str, int]
    """Where each series begins in the table."""
    series: dict[str, Series]
    parts: list[Part]
    left_out: dict[str, str]
    """Series that the source had but that are too short for this study, and why; where one model
    learns from all series, they have no part but teach, and where series come and go they are
    among the series, too."""
    base: BaseRun | None = None
    """The run that the study goes on from."""
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    """File, name and SHA-256 of the user's own features, labels and model, where there are any."""


def prepare(
    bars: Mapping[str, Bars],
    study: Study,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    note: Callable[[str], None] | None = None,
) -> Prepared:
    """Compute features and outcomes, cut the folds, and learn scalers and label limits.

    `instruments` are those of a run that has begun; of other series they are what lies beside the
    bars. `note` is told in a line what came from the feature cache, which series cut the calendar
    of the others, and which currencies are compared.

    Raises FoldError where the folds do not fit, or leave a series too few rows in a slice; series
    that nobody named, of a study that cuts each on its own calendar or learns one model from all,
    are left out instead as long as there are others. Where series come and go, each takes part in
    the folds that it has rows for, be it one in the test.
    """
    _refuse_clashes(bars, study)
    base, tell = read_base(study), note or _unheard
    bars = bars if base is None else base.chosen(study.data, bars, tell)
    members = members_of(study.data, bars)
    if told := currencies_told(study.data, bars):
        tell(f"warning: {told}")
    ended = ended_for_good(study.data, bars)
    tables, own_labels, described = _tables(bars, study, tell)
    own = instruments or {}
    series = {
        name: _series(
            one,
            tables.by_symbol[name],
            study,
            members,
            instrument=own.get(name) or instrument_before(one, study.data),
            ends_for_good=name in ended,
            own_labels=own_labels,
        )
        for name, one in bars.items()
    }
    targets = _one_table(series)
    parts, left_out = _cut(series, study, _plans(series, study, base, tell))
    if not parts:
        raise FoldError(next(iter(left_out.values())))
    keeps_all = study.one_for_all or come_and_go(study.data)
    return Prepared(
        tables.columns,
        labels.class_names(study.labels),
        tables.values,
        targets,
        tables.first_row,
        # What is too short to be judged still has tokens to learn from; and where series come and
        # go, a run that is taken up again without it would have other members and other folds.
        series if keeps_all else {n: one for n, one in series.items() if n not in left_out},
        parts,
        left_out,
        base,
        described,
    )


def _tables(
    bars: Mapping[str, Bars], study: Study, note: Callable[[str], None]
) -> tuple[FeatureTables, OwnPart | None, dict[str, dict[str, Any]]]:
    """Return the features, the user's own labels, and what bundles must say of own parts.

    Raises the error of its room where an own part breaks the rules of `docs/own_parts.md`.
    """
    own, seed = OwnParts.of(study), study.seeds[0]
    described: dict[str, dict[str, Any]] = own.as_dict()
    if own.features is None:
        tables = features.build_all(bars, study.features.set, note=note)
    else:
        tables, described["features"] = own_features(own.features, bars, seed=seed, note=note)
    if own.labels is not None:
        guard_own_labels(own.labels, bars, seed=seed, note=note)
    if own.model is not None:
        guard_own_model(
            own.model,
            n_features=len(tables.columns),
            window_bars=study.features.window_bars,
            n_outputs=len(labels.class_names(study.labels)),
            note=note,
        )
    return tables, own.labels, described


def _cut(
    series: Mapping[str, Series], study: Study, plans: Mapping[str, Callable[[], list[Fold]]]
) -> tuple[list[Part], dict[str, str]]:
    """Return the parts of all series, and why some have none."""
    part_time = come_and_go(study.data)
    each_for_itself = study.folds.calendar == "own" or study.one_for_all
    may_leave_out = part_time or (each_for_itself and not study.data.symbols)
    parts: list[Part] = []
    left_out = {}
    for name, plan in plans.items():
        try:
            parts += _parts(name, series[name], plan, study, part_time=part_time)
        except (FoldError, LabelError) as error:
            if not may_leave_out:
                raise
            left_out[name] = str(error)
    return parts, left_out


def _parts(
    name: str, one: Series, plan: Callable[[], list[Fold]], study: Study, *, part_time: bool
) -> list[Part]:
    """Return a series' parts of all folds, or with `part_time` of those that it has rows for.

    Raises FoldError or LabelError where one of all, or every one, lacks rows.
    """
    if one.dropped.get(_NOT_LIQUID) and not one.usable.any():
        raise FoldError(f"{name}: never among the {study.data.most_liquid} most liquid")
    parts: list[Part] = []
    first_problem: FoldError | LabelError | None = None
    for fold in plan():
        try:
            parts.append(_part(name, one, fold, study, part_time=part_time))
        except (FoldError, LabelError) as error:
            first_problem = first_problem or error
    if first_problem is not None and not (part_time and parts):
        raise first_problem
    return parts


def _unheard(text: str) -> None:
    """Nobody listens."""


def _one_table(series: dict[str, Series]) -> np.ndarray | None:
    """Return the targets of all series, one after the other, and let each look into them."""
    found = {name: one.targets for name, one in series.items() if one.targets is not None}
    if not found:
        return None
    table = np.concatenate([targets.values for targets in found.values()])
    first = 0
    for name, targets in found.items():
        own = table[first : first + len(targets.values)]
        series[name] = replace(series[name], targets=replace(targets, values=own))
        first += len(own)
    return table


def _plans(
    series: Mapping[str, Series],
    study: Study,
    base: BaseRun | None,
    note: Callable[[str], None],
) -> dict[str, Callable[[], list[Fold]]]:
    """Return for every series what cuts its folds: its own calendar, or the common one."""
    if study.folds.calendar == "own":
        return {name: partial(_own_folds, name, one, study) for name, one in series.items()}
    if not _has_all_moments(study) and (told := cuts_told(_decided(series))):
        note(f"warning: {told}")
    cut = partial(_folds_of, series, study)
    bars = {name: one.bars for name, one in series.items()}
    shared = cut() if base is None else base.folds_for(study, bars, cut, note)
    return {name: lambda: shared for name in series}


def _own_folds(name: str, one: Series, study: Study) -> list[Fold]:
    try:
        return _folds_of({name: one}, study)
    except FoldError as error:
        raise FoldError(f"{name}: {error}") from None


def _folds_of(series: Mapping[str, Series], study: Study) -> list[Fold]:
    """Return the folds on the calendar that these series share."""
    decided = _decided(series)
    starts = [int(one.bars.timestamp[0]) for one in series.values()]
    ends = [int(one.bars.closes_at[-1]) for one in series.values()]
    if _has_all_moments(study) and any(map(len, decided.values())):
        # Many assets, which begin and end when they like.
        every = np.unique(np.concatenate(list(decided.values())))
        return folds.make_folds(every, study.folds, (min(starts), max(ends)))
    return folds.make_folds(folds.common_calendar(decided), study.folds, (max(starts), min(ends)))


def _has_all_moments(study: Study) -> bool:
    """Return whether the calendar is that of all moments at which any series decides."""
    return study.one_for_all or (study.folds.calendar == "common" and come_and_go(study.data))


def _decided(series: Mapping[str, Series]) -> dict[str, IntArray]:
    return {name: one.outcomes.decided_at[one.usable] for name, one in series.items()}


def folds_as_plain(prepared: Prepared) -> list[dict[str, Any]]:
    """Return what `folds.json` holds: the UTC ranges and row counts of every fold and series."""
    return [
        {
            "fold": part.fold.index,
            "series": part.series,
            "symbol": prepared.series[part.series].bars.symbol,
            "timeframe": prepared.series[part.series].bars.timeframe,
            **{name: getattr(part.fold, name).as_text() for name in folds.SLICES},
            "rows": {name: len(getattr(part.rows, name)) for name in folds.SLICES},
            "purged": part.rows.purged,
            "embargoed": part.rows.embargoed,
            "label_limits": part.limits.as_dict(),
        }
        for part in prepared.parts
    ]


def _refuse_clashes(bars: Mapping[str, Bars], study: Study) -> None:
    """Refuse bars of another timeframe, and series whose bundles would have one name."""
    for name, one in bars.items():
        if one.timeframe not in study.data.timeframes:
            raise StudyError(
                f"{one.name}: the bars are of {one.timeframe}, the study's data.timeframe is "
                f"{study.data.timeframe}; set it to {one.timeframe} or bring other bars"
            )
        expected = series_name(one.symbol, one.timeframe, study.data)
        if name != expected:
            raise StudyError(f"bars of {one.name} go by {name!r}, expected {expected!r}")
        twins = [other for other in bars if file_name(other) == file_name(name)]
        if len(twins) > 1:
            raise StudyError(f"{' and '.join(twins)} would share the name {file_name(name)!r}")


def _series(
    bars: Bars,
    table: FeatureTable,
    study: Study,
    members: Membership | None,
    *,
    instrument: Instrument,
    ends_for_good: bool,
    own_labels: OwnPart | None,
) -> Series:
    if own_labels is not None:
        outcomes = labels.own_outcomes(bars, own_labels)
    else:
        slippage_price = study.backtest.costs.slippage_ticks * instrument.tick_size
        outcomes = labels.outcomes(
            bars, study.labels, slippage_price=slippage_price, ends_for_good=ends_for_good
        )
    targets = labels.forecast_targets(bars, study.labels) if study.model.forecasts else None
    known = outcomes.valid if targets is None else outcomes.valid & targets.valid
    windows = whole_windows(table.valid, study.features.window_bars)
    dropped = dict(table.dropped)
    dropped["window not complete"] = int((table.valid & ~windows).sum())
    dropped["outcome not known"] = int((windows & ~known).sum())
    usable, vectors = windows & known, None
    if study.token_rule is not None:
        vectors = features.bar_vectors(bars, study.token_rule)
        # Paths carry the Bollinger band on, and begin with the closes behind it.
        told = whole_windows(vectors.valid, labels.BAND_BARS if study.model.forecasts else 1)
        dropped["past of tokens too short"] = int((usable & ~told).sum())
        usable = usable & told
    if members is not None:
        member = members.mask(bars)
        dropped[_NOT_LIQUID] = int((usable & ~member).sum())
        usable = usable & member
    return Series(bars, instrument, table.values, outcomes, targets, usable, dropped, vectors)


def _part(name: str, data: Series, fold: Fold, study: Study, *, part_time: bool) -> Part:
    rows = folds.rows_of(
        fold,
        decided_at=data.outcomes.decided_at,
        resolved_at=data.outcomes.resolved_at,
        usable=data.usable,
        embargo_ms=study.folds.embargo_bars * timeframe_ms(data.bars.timeframe),
    )
    every = study.every_bars
    rows = replace(rows, calibration=rows.calibration[::every], test=rows.test[::every])
    least_rows = dict(_LEAST_ROWS)
    least_rows["calibration"] = max(30, calibration.least_rows(study.judge.calibration))
    if part_time:
        least_rows["test"] = _LEAST_TEST_ROWS_PART_TIME
    for piece, least in least_rows.items():
        found = len(getattr(rows, piece))
        if found < least:
            between = " to ".join(getattr(fold, piece).as_text())
            raise FoldError(
                f"{data.bars.name}: fold {fold.index} has {found} {piece} rows between {between}, "
                f"expected at least {least}. Use more bars, longer slices or fewer folds, or leave "
                f"{name} out."
            )
    limits = labels.fit_limits(study.labels, data.outcomes.score[rows.train])
    classes = limits.classify(data.outcomes.score)
    if len(np.unique(classes[rows.train])) < 2:
        raise LabelError(
            f"{data.bars.name}: fold {fold.index} has one class only, "
            f"{limits.classes[classes[rows.train[0]]]!r}, in all {len(rows.train)} training rows; "
            "use labels.kind=quantile, a smaller threshold or more bars"
        )
    scaler = _fit_scaler(study.features.scaler, data.values, rows.train)
    return Part(name, fold, rows, scaler, limits, classes)


def _fit_scaler(kind: str, values: np.ndarray, train: IntArray) -> Scaler:
    """Return the scaler of the training rows of `values` (n, F), learned by blocks of columns.

    All columns at once would copy most of the table.
    """
    blocks = [
        features.fit_scaler(kind, values[train, first : first + _SCALED_AT_ONCE])
        for first in range(0, values.shape[1], _SCALED_AT_ONCE)
    ]
    return Scaler(
        kind=kind,
        center_=np.concatenate([block.center_ for block in blocks]),
        scale_=np.concatenate([block.scale_ for block in blocks]),
    )
