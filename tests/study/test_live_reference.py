"""What bundles carry to be compared with is learned from the slices that it says, and no others."""

import numpy as np
import pytest

from study.test_poison import _folds, _poison_after, _poisoned
from study_runs import small_bars, small_study
from walkforge import evaluation
from walkforge.base import Silent, parse_utc_ms
from walkforge.folds import Fold, Slice
from walkforge.registry import read_bundle
from walkforge.study._learn import Learning
from walkforge.study._live_reference import References, good_together, good_until, rows_reference
from walkforge.study._prepare import prepare

MINUTE_MS = 60_000


def _first_fold(prepared):
    return [part for part in prepared.parts if part.fold.index == 0]


def test_what_inputs_and_labels_were_like_is_learned_from_training_rows_alone():
    study, bars = small_study(), small_bars()
    clean = prepare(bars, study)
    dirty = prepare(_poison_after(bars, clean, "train"), study)
    for before, after in zip(_first_fold(clean), _first_fold(dirty), strict=True):
        assert rows_reference(clean, before) == rows_reference(dirty, after)


def test_the_poison_would_be_noticed():
    study, bars = small_study(), small_bars()
    clean = prepare(bars, study)
    edge = _folds(clean)[0].train.to_ms - 200 * MINUTE_MS
    dirty = prepare({symbol: _poisoned(one, edge) for symbol, one in bars.items()}, study)
    before, after = (rows_reference(one, one.parts[0]) for one in (clean, dirty))
    assert before["inputs"] != after["inputs"]


def test_the_state_of_the_calibration_slice_knows_nothing_after_it():
    study, bars = small_study("seeds=[0]"), small_bars()
    poisoned = _poison_after(bars, prepare(bars, study), "calibration")
    told = []
    for some in (bars, poisoned):
        learning = Learning(study, prepare(some, study), Silent())
        found = learning.run(None)
        references = References(learning.prepared, found.calibration_predictions, found.predictions)
        told.append([references.of_member([part], 0) for part in _first_fold(learning.prepared)])
    for before, after in zip(*told, strict=True):
        assert before["calibration"] == after["calibration"]
        assert before["test"] != after["test"]


def test_the_states_are_those_of_the_tables_of_the_run(small_run):
    import polars as pl

    own = (pl.col("symbol") == "BBB") & (pl.col("fold") == 1) & (pl.col("seed") == 1)
    bundle = read_bundle(small_run / "models" / "BBB_fold1_seed1")
    for name, table in (("calibration", "calibration_predictions"), ("test", "predictions")):
        rows = pl.read_parquet(small_run / f"{table}.parquet").filter(own)
        expected = evaluation.calibration_state(rows)
        assert bundle.reference[name]["n"] == len(rows)
        for measure in ("log_loss", "ece", "excess_log_loss"):
            assert bundle.reference[name][measure]["value"] == expected[measure]["value"]
    predicted = bundle.reference["series"]["BBB"]["answers"]["predicted"]
    p = rows.select("p_down", "p_hold", "p_up").to_numpy()
    assert predicted["counts"] == np.bincount(p.argmax(axis=1), minlength=3).tolist()


@pytest.mark.parametrize("kind", ["ensemble", "lightgbm"])
def test_ensembles_and_trees_carry_a_reference_too(small_run, kind):
    bundle = read_bundle(small_run / "models" / f"AAA_fold0_{kind}")
    assert set(bundle.reference["series"]["AAA"]["answers"]) >= {"predicted", "confidence"}
    assert bundle.reference["test"]["n"] > 200
    # What inputs were like is told once, by the models that read them.
    models = [member for _, member in bundle.members] or [bundle]
    for model in models:
        assert list(model.reference["series"]["AAA"]["inputs"]) == model.description["features"]


def test_a_bundle_is_good_for_as_long_after_its_test_as_that_was():
    day_ms = 86_400_000
    start = parse_utc_ms("2024-03-01")
    slices = [Slice(start + k * day_ms, start + (k + 1) * day_ms) for k in range(3)]
    told = good_until(Fold(0, *slices, Slice(start + 3 * day_ms, start + 10 * day_ms)))
    assert told == {
        "tested": ["2024-03-04 00:00", "2024-03-11 00:00"], "expires_at": "2024-03-18 00:00"
    }  # fmt: skip
    other = {"tested": ["2024-03-05 00:00", "2024-03-09 00:00"], "expires_at": "2024-03-13 00:00"}
    assert good_together([told, other]) == {
        "tested": ["2024-03-05 00:00", "2024-03-09 00:00"], "expires_at": "2024-03-13 00:00"
    }  # fmt: skip
    assert good_together([told, {}]) == {}
