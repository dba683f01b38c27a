"""Faults of what is known before anything is trained: fits, splits and features."""

from dataclasses import replace
from typing import Any

import numpy as np

from walkforge.base import FloatArray
from walkforge.folds import SLICES, FoldRows
from walkforge.market import Bars
from walkforge.study import GptStudy

from ._plant import Applies, Fault, always, in_room, swapped
from ._specimen import Specimen

_CENTRED_BARS = 11
_LONGER_BARS = 12
_TWIN_EVERY = 20


def _scaler_of_all_rows(real: Any, kind: str, values: np.ndarray, train: np.ndarray) -> Any:
    return real(kind, values, np.arange(train[0], len(values)))


def _limits_of_all_rows(real: Any, name: str, data: Any, *args: Any, **named: Any) -> Any:
    def fit_all(fit: Any, rule: Any, scores: Any) -> Any:
        return fit(rule, data.outcomes.score)

    with swapped({"walkforge.labels.fit_limits": fit_all}):
        return real(name, data, *args, **named)


def _tokenizer_of_all_rows(real: Any, prepared: Any, pieces: Any, name: str) -> Any:
    if name != "train":
        return real(prepared, pieces, name)
    vectors = [one.vectors for one in prepared.series.values()]
    return [one.take(one.valid) for one in vectors]


def _dealt(rows: FoldRows, order: np.ndarray) -> FoldRows:
    """Return the rows of all slices, dealt anew in an order, as many to each slice as before."""
    every = np.sort(np.concatenate([getattr(rows, name) for name in SLICES]))[order]
    edges = np.cumsum([len(getattr(rows, name)) for name in SLICES])[:-1]
    dealt: dict[str, Any] = {
        name: np.sort(own) for name, own in zip(SLICES, np.split(every, edges), strict=True)
    }
    return replace(rows, **dealt)


def _random_split(real: Any, *args: Any, **named: Any) -> FoldRows:
    rows: FoldRows = real(*args, **named)
    n_rows = sum(len(getattr(rows, name)) for name in SLICES)
    return _dealt(rows, np.random.default_rng(0).permutation(n_rows))


def _stratified_split(real: Any, name: str, data: Any, *args: Any, **named: Any) -> Any:
    def split(rows_of: Any, *inner: Any, **words: Any) -> FoldRows:
        rows: FoldRows = rows_of(*inner, **words)
        every = np.sort(np.concatenate([getattr(rows, one) for one in SLICES]))
        # Every class in turn through all slices: so are the shares the same in each of them.
        by_class = np.argsort(np.sign(data.outcomes.score[every]), kind="stable")
        place = np.empty(len(every))
        place[by_class] = np.arange(len(every)) * 0.618034 % 1.0
        return _dealt(rows, np.argsort(place, kind="stable"))

    with swapped({_ROWS_OF: split}):
        return real(name, data, *args, **named)


def _no_purge(real: Any, fold: Any, **named: Any) -> FoldRows:
    rows: FoldRows = real(fold, **(named | {"resolved_at": named["decided_at"]}))
    return rows


def _no_embargo(real: Any, fold: Any, **named: Any) -> FoldRows:
    rows: FoldRows = real(fold, **(named | {"embargo_ms": 0}))
    return rows


def _test_rows_in_training(real: Any, fold: Any, **named: Any) -> FoldRows:
    rows: FoldRows = real(fold, **named)
    return replace(rows, train=np.union1d(rows.train, rows.test[::_TWIN_EVERY]))


def _with_column(make: Any) -> Any:
    """Return what puts `make(values, bars)` (n,) in place of the first column of every series."""

    def faulty(real: Any, bars: Any, *args: Any, **named: Any) -> Any:
        tables = real(bars, *args, **named)
        for name, table in tables.by_symbol.items():
            made = np.clip(make(table.values, bars[name]), -8.0, 8.0)
            table.values[:, 0] = np.where(table.valid, made, 0.0)
        return tables

    return faulty


def _one_bar_ahead(values: np.ndarray, bars: Bars) -> FloatArray:
    return np.append(values[1:, 0], values[-1, 0])


def _centred_mean(values: np.ndarray, bars: Bars) -> FloatArray:
    log_close, half = np.log(bars.close), _CENTRED_BARS // 2
    padded = np.pad(log_close, half, mode="edge")
    mean = np.convolve(padded, np.ones(_CENTRED_BARS) / _CENTRED_BARS, mode="valid")
    return 100.0 * (log_close - mean)


def _longer_bar_too_soon(values: np.ndarray, bars: Bars) -> FloatArray:
    """The close of the longer bar that a bar lies in, as its return so far."""
    longer = np.arange(len(bars)) // _LONGER_BARS
    last = np.minimum((longer + 1) * _LONGER_BARS, len(bars)) - 1
    made: FloatArray = 100.0 * np.log(bars.close[last] / bars.close[longer * _LONGER_BARS])
    return made


def _target_as_feature(real: Any, *args: Any, **named: Any) -> Any:
    data = real(*args, **named)
    score = np.nan_to_num(data.outcomes.score)
    spread = score.std() or 1.0
    data.values[:, 0] = np.where(data.usable, np.clip(score / spread, -8.0, 8.0), 0.0)
    return data


def _has_scaler(specimen: Specimen) -> str | None:
    if isinstance(specimen.study, GptStudy):
        return "the model reads tokens, and no scaled features"
    return "the study's scaler learns nothing" if specimen.study.features.scaler == "none" else None


def _learns_limits(specimen: Specimen) -> str | None:
    kind = specimen.study.labels.kind
    return None if kind == "quantile" else f"labels of kind {kind} learn no limits"


def _has_tokenizer(specimen: Specimen) -> str | None:
    gpt = isinstance(specimen.study, GptStudy)
    return None if gpt else f"{specimen.study.model.name} reads features, not tokens"


def _has_embargo(specimen: Specimen) -> str | None:
    return None if specimen.study.folds.embargo_bars else "the study asks for no embargo"


_ROWS_OF, _BUILD = "walkforge.folds.rows_of", "walkforge.features.build_all"
_PREPARE, _TOKENS = "walkforge.study._prepare", "walkforge.study._token_market"


def _fault(name: str, says: str, place: str, faulty: Any, applies: Applies = always) -> Fault:
    return in_room(name, says, "prepare", {place: faulty}, applies)


ROW_FAULTS: tuple[Fault, ...] = (
    _fault("scaler_all_rows", "the scaler is fitted on all rows",
           f"{_PREPARE}._fit_scaler", _scaler_of_all_rows, _has_scaler),
    _fault("limits_all_rows", "label limits are learned on all rows",
           f"{_PREPARE}._part", _limits_of_all_rows, _learns_limits),
    _fault("tokenizer_all_rows", "the tokenizer is fitted on all rows",
           f"{_TOKENS}._of_piece", _tokenizer_of_all_rows, _has_tokenizer),
    _fault("random_split", "rows are split at random", _ROWS_OF, _random_split),
    _fault("stratified_split", "rows are split at random, each class by itself",
           f"{_PREPARE}._part", _stratified_split),
    _fault("no_purge", "labels that reach into the next slice are not purged",
           _ROWS_OF, _no_purge),
    _fault("no_embargo", "slices begin without an embargo", _ROWS_OF, _no_embargo, _has_embargo),
    _fault("rows_twice", "rows of the test slice are training rows too",
           _ROWS_OF, _test_rows_in_training),
    _fault("feature_one_bar_ahead", "a feature is shifted one bar into the future",
           _BUILD, _with_column(_one_bar_ahead)),
    _fault("centred_mean", "a feature is a centred moving average",
           _BUILD, _with_column(_centred_mean)),
    _fault("longer_bar_too_soon", "a bar of a longer timeframe is joined before it has closed",
           _BUILD, _with_column(_longer_bar_too_soon)),
    _fault("target_as_feature", "the target is among the features",
           f"{_PREPARE}._series", _target_as_feature),
)  # fmt: skip
