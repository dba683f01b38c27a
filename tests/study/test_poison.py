"""No future in the past: noise after a slice leaves what was learned on it bit-identical.

DESIGN of the test: the same study learns twice, on clean bars and on bars of which everything
after a slice's end is replaced by noise. Stamps stay, so the folds stay.
"""

import numpy as np
import pytest

from study_runs import small_bars, small_study
from walkforge import features
from walkforge.base import Silent, parse_utc_ms
from walkforge.market import noise_after
from walkforge.study._baselining import Baselining
from walkforge.study._learn import Learning
from walkforge.study._prepare import prepare
from walkforge.training import BASELINES

MINUTE_MS = 60_000
RULES = {
    "quantile": ["labels.kind=quantile", "labels.horizon_bars=3"],
    "volatility": ["labels.kind=volatility", "labels.horizon_bars=5"],
    "triple_barrier": ["labels.kind=triple_barrier"],
}


def _poisoned(bars, from_ms):
    """Return bars with noise in place of all that are not complete before `from_ms`."""
    return noise_after(bars, int((bars.closes_at < from_ms).sum()), seed=99)


def _folds(prepared):
    """Return the folds of the first series, which all share."""
    return [part.fold for part in prepared.parts if part.series == prepared.parts[0].series]


def _poison_after(bars, prepared, slice_name, fold=0):
    edge = getattr(_folds(prepared)[fold], slice_name).to_ms
    return {symbol: _poisoned(one, edge) for symbol, one in bars.items()}


def _learned(bars, study):
    learning = Learning(study, prepare(bars, study), Silent())
    results = learning.run(None)
    return results.members, results.predictions


def _first_fold(learned):
    return [one for one in learned if one.part.fold.index == 0]


@pytest.mark.parametrize("rule", RULES)
def test_scaler_and_label_limits_learn_nothing_after_train(rule):
    study, bars = small_study(*RULES[rule]), small_bars()
    clean = prepare(bars, study)
    dirty = prepare(_poison_after(bars, clean, "train"), study)
    assert [fold.train for fold in _folds(clean)] == [fold.train for fold in _folds(dirty)]
    for before, after in zip(clean.parts, dirty.parts, strict=True):
        if before.fold.index > 0:
            continue
        assert before.limits == after.limits
        assert before.scaler.as_dict() == after.scaler.as_dict()
        np.testing.assert_array_equal(before.rows.train, after.rows.train)
        train = before.rows.train
        np.testing.assert_array_equal(before.labels[train], after.labels[train])
        np.testing.assert_array_equal(
            clean.series[before.series].values[train], dirty.series[before.series].values[train]
        )


@pytest.mark.parametrize("rule", RULES)
def test_weights_learn_nothing_after_validation(rule):
    study, bars = small_study(*RULES[rule]), small_bars()
    clean, _ = _learned(bars, study)
    dirty, _ = _learned(_poison_after(bars, prepare(bars, study), "validation"), study)
    for before, after in zip(_first_fold(clean), _first_fold(dirty), strict=True):
        assert before.trained.best_epoch == after.trained.best_epoch
        for name, tensor in before.trained.state.items():
            assert tensor.equal(after.trained.state[name]), name


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
def test_the_calibrator_learns_nothing_after_calibration(kind):
    study, bars = small_study(f"judge.calibration={kind}", "folds.calibration=260"), small_bars()
    clean, _ = _learned(bars, study)
    dirty, predictions = _learned(_poison_after(bars, prepare(bars, study), "calibration"), study)
    for before, after in zip(_first_fold(clean), _first_fold(dirty), strict=True):
        assert before.calibrator.as_dict() == after.calibrator.as_dict()
    assert np.isfinite(predictions["p_up"].to_numpy()).all()


def test_run_baselines_learn_nothing_after_validation_and_calibrate_on_calibration():
    study, bars = small_study(), small_bars()
    clean_world = prepare(bars, study)
    clean = Baselining(study, clean_world, Silent())
    dirty_bars = _poison_after(bars, clean_world, "calibration")
    dirty = Baselining(study, prepare(dirty_bars, study), Silent())
    for before, after in zip(clean.prepared.parts, dirty.prepared.parts, strict=True):
        if before.fold.index > 0:
            continue
        rows = before.rows.calibration
        for name, baseline in BASELINES.items():
            asked = [
                baseline(one._rows(part, rows)) for one, part in ((clean, before), (dirty, after))
            ]
            np.testing.assert_array_equal(*asked, err_msg=name)


def test_later_folds_learn_nothing_from_after_their_own_slices():
    study, bars = small_study(), small_bars()
    clean, _ = _learned(bars, study)
    poisoned = _poison_after(bars, prepare(bars, study), "calibration", fold=1)
    dirty, _ = _learned(poisoned, study)
    for before, after in zip(clean, dirty, strict=True):
        assert before.part.limits == after.part.limits
        assert before.calibrator.as_dict() == after.calibrator.as_dict()
        for name, tensor in before.trained.state.items():
            assert tensor.equal(after.trained.state[name]), name


def test_the_poison_would_be_noticed():
    """Guard of the guard: the same noise one slice earlier changes everything that was learned."""
    study, bars = small_study(), small_bars()
    clean = prepare(bars, study)
    edge = _folds(clean)[0].train.to_ms - 200 * MINUTE_MS
    dirty_bars = {symbol: _poisoned(one, edge) for symbol, one in bars.items()}
    dirty = prepare(dirty_bars, study)
    assert clean.parts[0].limits != dirty.parts[0].limits
    assert clean.parts[0].scaler.as_dict() != dirty.parts[0].scaler.as_dict()


def test_a_prediction_depends_on_no_later_bar(small_run):
    from walkforge import runtime

    bars = small_bars()["AAA"]
    cut = parse_utc_ms("2024-01-02T05:00")
    bundle = sorted((small_run / "models").glob("AAA*"))[0]
    clean = runtime.predict(bundle, bars)
    dirty = runtime.predict(bundle, _poisoned(bars, cut))
    early = clean["timestamp"].dt.epoch("ms").to_numpy() + MINUTE_MS < cut
    assert 100 < early.sum() < len(early)
    np.testing.assert_array_equal(clean["p_up"].to_numpy()[early], dirty["p_up"].to_numpy()[early])
    assert not np.array_equal(clean["p_up"].to_numpy()[~early], dirty["p_up"].to_numpy()[~early])


def test_gaps_are_never_crossed_by_a_window_or_a_label():
    study, bars = small_study("features.window_bars=4"), small_bars()
    prepared = prepare(bars, study)
    hole = bars["BBB"].segments[1].start
    data = prepared.series["BBB"]
    look_back = features.feature_set("gru").look_back_bars
    usable = np.flatnonzero(data.usable)
    assert not ((usable >= hole - 3) & (usable < hole + look_back - 1 + 3)).any()
    assert ((usable >= hole - 40) & (usable < hole - 3)).sum() == 37
