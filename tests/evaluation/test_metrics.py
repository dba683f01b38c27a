"""The model beside its baselines, row by row."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.tables import THREE, TWO, baseline_of, calibrated_rows, skilled, table_of
from walkforge.base import EvaluationError, PredictionsError
from walkforge.evaluation import measure, metrics

SHRUG = [1 / 3, 1 / 3, 1 / 3]


def test_every_part_is_measured_as_if_it_stood_alone():
    table = skilled(400)
    result = metrics(table, None, classes=THREE, n_resamples=0)["model"]
    parts = {"by_symbol": "symbol", "by_fold": "fold", "by_seed": "seed"}
    for way, column in parts.items():
        assert list(result[way]) == [str(v) for v in table[column].unique().sort()]
        for key, block in result[way].items():
            chosen = table.filter(pl.col(column).cast(pl.String) == key)
            alone = measure(chosen, classes=THREE, n_resamples=0)
            for name in ("accuracy", "log_loss", "mcc", "ece", "pr_auc"):
                assert block[name]["value"] == pytest.approx(alone[name]["value"], abs=1e-12)
            assert block["confusion_matrix"] == alone["confusion_matrix"]
    assert result["pooled"]["n"] == len(table)


def test_two_decisions_and_two_seeds_by_hand():
    p = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6]])
    model = pl.concat([table_of(p[:2], [0, 1], seed=0), table_of(p[2:], [0, 1], seed=1)])
    rival = baseline_of(model, "prior", [0.6, 0.4])
    gain = metrics(model, rival, classes=TWO, n_resamples=0)["improvement"]["prior"]
    losses = -np.log([[0.5, 0.8], [0.9, 0.6]])  # seed, decision
    saved = -np.log([0.6, 0.4]) - losses
    assert gain["log_loss"]["value"] == pytest.approx(saved.mean())
    assert gain["log_loss"]["n"] == 2
    assert gain["log_loss"]["by_seed"] == {
        "0": {"value": pytest.approx(saved[0].mean()), "n": 2},
        "1": {"value": pytest.approx(saved[1].mean()), "n": 2},
    }
    # Both seeds hit both rows (0.5 to 0.5 goes to the first class); the baseline hits the first.
    assert gain["accuracy"]["value"] == pytest.approx(0.5)
    assert gain["balanced_accuracy"]["value"] == pytest.approx((0.0 + 1.0) / 2)


def test_the_ensemble_is_the_mean_of_the_seeds_probabilities():
    p = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6]])
    model = pl.concat([table_of(p[:2], [0, 1], seed=0), table_of(p[2:], [0, 1], seed=1)])
    found = metrics(model, None, classes=TWO, n_resamples=0)
    block = found["ensemble"]["pooled"]
    assert block["n"] == 2
    assert block["log_loss"]["value"] == pytest.approx(-np.log([0.7, 0.7]).mean())
    assert list(found["ensemble"]["by_fold"]) == ["0"]
    # By convexity no worse than the seeds on average, whatever they say.
    assert block["log_loss"]["value"] < found["model"]["pooled"]["log_loss"]["value"]
    shuffled = metrics(model[[3, 0, 2, 1]], None, classes=TWO, n_resamples=0)
    assert shuffled["ensemble"] == found["ensemble"]


def test_one_seed_is_no_ensemble():
    assert "ensemble" not in metrics(
        table_of(np.array([SHRUG]), [0]), None, classes=THREE, n_resamples=0
    )


def test_a_decision_that_one_seed_cannot_make_is_left_out_of_the_ensemble():
    p = np.array([[0.5, 0.5], [np.nan, np.nan], [0.9, 0.1], [0.4, 0.6]])
    model = pl.concat([table_of(p[:2], [0, 1], seed=0), table_of(p[2:], [0, 1], seed=1)])
    block = metrics(model, None, classes=TWO, n_resamples=0)["ensemble"]["pooled"]
    assert (block["n"], block["n_not_finite"]) == (1, 1)


def test_the_gain_is_the_difference_of_the_two_blocks_and_its_parts_add_up():
    table = skilled(400)
    rivals = pl.concat(
        [baseline_of(table, "prior", SHRUG), baseline_of(table, "majority", [0.9, 0.05, 0.05])]
    )
    result = metrics(table, rivals, classes=THREE, n_resamples=100)
    model = result["model"]["pooled"]
    assert list(result["baselines"]) == list(result["improvement"]) == ["prior", "majority"]
    for name, gain in result["improvement"].items():
        rival = result["baselines"][name]["pooled"]
        assert gain["log_loss"]["value"] == pytest.approx(
            rival["log_loss"]["value"] - model["log_loss"]["value"]
        )
        for kind in ("accuracy", "balanced_accuracy"):
            assert gain[kind]["value"] == pytest.approx(
                model[kind]["value"] - rival[kind]["value"], abs=1e-12
            )
        for way in ("by_fold", "by_symbol", "by_seed"):
            parts = gain["log_loss"][way].values()
            weighted = sum(part["value"] * part["n"] for part in parts)
            total = sum(part["n"] for part in parts)
            assert weighted / total == pytest.approx(gain["log_loss"]["value"])
    assert set(result["improvement"]["prior"]["log_loss"]["by_symbol"]) == {"S0", "S1"}


def test_pairing_makes_the_interval_narrower_than_the_two_apart():
    table = skilled(800, skill=1.0)
    worse = table.filter(pl.col("seed") == 0)
    p = worse.select("p_down", "p_hold", "p_up").to_numpy() * 0.98 + 0.02 / 3
    result = metrics(table, baseline_of(table, "near", p), classes=THREE)
    gain = result["improvement"]["near"]["log_loss"]
    alone = result["model"]["pooled"]["log_loss"]
    assert gain["high"] - gain["low"] < 0.2 * (alone["high"] - alone["low"])


def test_a_model_gains_nothing_over_itself():
    table = skilled(200, n_seeds=1)
    p = table.select("p_down", "p_hold", "p_up").to_numpy()
    gain = metrics(table, baseline_of(table, "self", p), classes=THREE)["improvement"]["self"]
    for kind in ("log_loss", "accuracy", "balanced_accuracy"):
        assert (gain[kind]["value"], gain[kind]["low"], gain[kind]["high"]) == (0.0, 0.0, 0.0)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_nothing_at_all(seed):
    table = skilled(50)
    rival = baseline_of(table, "prior", SHRUG)
    asked = {"classes": THREE, "n_resamples": 30}
    mixed = (one.sample(fraction=1.0, shuffle=True, seed=seed) for one in (table, rival))
    assert metrics(*mixed, **asked) == metrics(table, rival, **asked)


def test_missing_and_strange_rows_are_refused_with_their_number():
    table = skilled(100)
    rival = baseline_of(table, "prior", SHRUG)
    with pytest.raises(EvaluationError, match=r"190 rows where the model has 200 .* 10 of the mod"):
        metrics(table, rival[10:], classes=THREE)
    with pytest.raises(EvaluationError, match=r"baseline 'prior': .* 10 are only there"):
        metrics(
            table.filter(~pl.col("timestamp").is_in(rival[:5]["timestamp"].implode())),
            rival,
            classes=THREE,
        )
    twice = pl.concat([rival, rival.with_columns(pl.lit(1, dtype=pl.Int32).alias("seed"))])
    with pytest.raises(EvaluationError, match="once and not per seed"):
        metrics(table, twice, classes=THREE)


def test_labels_that_differ_are_refused_with_their_number():
    table = skilled(100)
    rival = baseline_of(table, "prior", SHRUG).with_columns((2 - pl.col("label")).alias("label"))
    with pytest.raises(EvaluationError, match="labels differ from the model's, the first for S0"):
        metrics(table, rival, classes=THREE)


def test_a_table_of_baselines_without_names_is_refused():
    table = skilled(20)
    with pytest.raises(PredictionsError, match="no column 'baseline'"):
        metrics(table, baseline_of(table, "prior", SHRUG).drop("baseline"), classes=THREE)


def test_a_seed_that_diverged_is_left_out_and_counted_not_hidden():
    table = skilled(300)
    lost = (pl.col("seed") == 1) & (pl.col("fold") == 3)
    spoiled = table.with_columns(
        pl.when(lost).then(float("nan")).otherwise(pl.col(c)).alias(c)
        for c in ("p_down", "p_hold", "p_up")
    )
    rival = baseline_of(table, "prior", SHRUG)
    result = metrics(spoiled, rival, classes=THREE, n_resamples=50)
    assert result["model"]["pooled"]["n_not_finite"] == 150
    assert result["improvement"]["prior"]["log_loss"]["n"] == 450
    assert set(result["improvement"]["prior"]["log_loss"]["by_fold"]) == {"0", "1", "2"}


def test_a_part_without_any_finite_row_has_no_numbers_but_a_reason():
    table = skilled(200)
    spoiled = table.with_columns(
        pl.when(pl.col("symbol") == "S1").then(float("nan")).otherwise(pl.col(c)).alias(c)
        for c in ("p_down", "p_hold", "p_up")
    )
    part = metrics(spoiled, None, classes=THREE, n_resamples=0)["model"]["by_symbol"]["S1"]
    assert part["accuracy"]["value"] is None
    assert "none of 400 rows" in part["accuracy"]["reason"]


def test_the_result_is_plain_json_and_tells_of_its_blocks():
    table = skilled(300)
    rival = baseline_of(table, "prior", SHRUG)
    result = metrics(table, rival, classes=THREE, n_resamples=20)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["bootstrap"]["level"] == 0.95
    assert result["bootstrap"]["n_times"] == 300
    assert result["bootstrap"]["n_blocks"] == result["model"]["pooled"]["n_blocks"]


def test_two_classes_are_measured_like_three():
    p, label = calibrated_rows(300, n_classes=2)
    table = table_of(p, label)
    rival = baseline_of(table, "prior", [0.5, 0.5])
    result = metrics(table, rival, classes=TWO, n_resamples=50)
    pooled = result["model"]["pooled"]
    assert pooled["direction_auc"]["value"] == pytest.approx(pooled["roc_auc"]["value"], abs=1e-9)
    assert result["improvement"]["prior"]["log_loss"]["low"] > 0


def test_where_one_seed_diverged_everywhere_there_is_no_gain_but_a_reason():
    p, label = calibrated_rows(300)
    sound, lost = table_of(p, label, seed=0), table_of(np.full_like(p, np.nan), label, seed=1)
    found = metrics(
        pl.concat([sound, lost]), baseline_of(sound, "prior", SHRUG), classes=THREE, n_resamples=50
    )
    saved = found["improvement"]["prior"]["log_loss"]
    assert saved["value"] is None
    assert saved["reason"] == "no decision of which all seeds have a finite loss"
    assert found["by_symbol_tests"]["log_loss"]["n_tested"] == 0
