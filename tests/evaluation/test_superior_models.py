"""Several models against a reference at once: by plain code, where the truth is known, and odd."""

import numpy as np
import polars as pl
import pytest

from evaluation.tables import TWO, calibrated_rows, skilled, softmax, table_of
from walkforge.base import EvaluationError
from walkforge.evaluation import _superior_models, paired_test, superior_models
from walkforge.statistics import superior_trials

P = ["p_down", "p_hold", "p_up"]


def _shaken(table, seed, spread=0.1):
    """Return the table with other probabilities, neither better nor worse than a twin's."""
    p = table.select(P).to_numpy()
    # 7: without it the noise of a small seed is that which the true logits were drawn from.
    random = np.random.default_rng([7, *np.atleast_1d(seed)])
    own = softmax(np.log(p) + random.normal(0, spread, p.shape))
    return table.with_columns(pl.Series(name, own[:, k]) for k, name in enumerate(P))


def _blurred(table, share):
    """Return the table with probabilities moved towards a shrug."""
    return table.with_columns((pl.col(c) * (1 - share) + share / 3).alias(c) for c in P)


def test_worthless_twins_are_not_called_better():
    truth = skilled(600, n_seeds=1)
    twins = [(f"twin {k}", _shaken(truth, k)) for k in range(6)]
    found = superior_models(_shaken(truth, 99), twins, n_resamples=500)
    assert found["comparable"]
    assert found["superior"] == []
    assert found["p_value"] > 0.1
    assert found["p_lower"] <= found["p_value"] <= found["p_upper"]


def test_the_model_that_knows_more_is_always_named_and_worthless_ones_beside_it_rarely():
    wrong = 0
    for world in range(20):
        truth = skilled(300, n_seeds=1, skill=1.0, seed=world)
        others = [(f"twin {k}", _blurred(_shaken(truth, [world, k]), 0.5)) for k in range(5)]
        others.insert(2, ("wise", _blurred(truth, 0.1)))
        reference = _blurred(_shaken(truth, [world, 9]), 0.5)
        found = superior_models(reference, iter(others), n_resamples=199, seed=world)
        assert "wise" in found["superior"]
        assert found["p_value"] < 0.05
        assert found["log_loss_saved"]["wise"] == max(found["log_loss_saved"].values()) > 0
        wrong += found["superior"] != ["wise"]
    # 1 of 20 is meant; 5 would come by chance three times in a thousand.
    assert wrong <= 4


def test_what_is_tested_are_the_losses_by_decision_time_of_the_rows_that_all_share():
    base = skilled(300, n_seeds=2, seed=3)
    step = pl.int_range(pl.len())
    early = _shaken(base, 1).filter(pl.col("timestamp") < base["timestamp"].unique().sort()[250])
    late = _shaken(base, 2).filter(pl.col("timestamp") >= base["timestamp"].unique().sort()[20])
    late = late.with_columns(
        label=pl.when(step % 40 < 2).then((pl.col("label") + 1) % 3).otherwise(pl.col("label")),
        p_up=pl.when(step % 50 == 7).then(float("nan")).otherwise(pl.col("p_up")),
    ).sample(fraction=1.0, shuffle=True, seed=4)
    foreign = late.filter(pl.col("symbol") == "S0").with_columns(symbol=pl.lit("OTHER"))
    elsewhere = pl.concat([late, foreign])
    found = superior_models(base, [("B", early), ("C", elsewhere)], n_resamples=300, seed=5)

    key = ["timestamp", "symbol"]
    slow = _slow_losses(base).rename({"loss": "A"})
    for name, table in (("B", early), ("C", late)):
        slow = slow.join(_slow_losses(table).rename({"loss": name}), on=[*key, "label"])
    slow = slow.filter(pl.all_horizontal(pl.col("A", "B", "C").is_finite()))
    sums = slow.group_by("timestamp").agg(pl.col("A", "B", "C").sum()).sort("timestamp")
    losses = sums.select("A", "B", "C").to_numpy() * len(sums) / len(slow)
    trials = superior_trials(losses[:, 0], losses[:, 1:], ["B", "C"], n_resamples=300, seed=5)
    assert (found["n"], found["n_times"]) == (len(slow), len(sums))
    assert 0 < len(slow) < 460
    assert found["p_value"] == trials.p_value
    assert found["bootstrap"]["block_times"] == trials.block_length
    saved = {name: (slow["A"] - slow[name]).mean() for name in ("B", "C")}
    assert found["log_loss_saved"] == pytest.approx(saved)


def _slow_losses(table):
    """Return the mean loss of each decision over its seeds, and its label where they agree."""
    p, label = table.select(P).to_numpy(), table["label"].to_numpy()
    rows = table.select("timestamp", "symbol", pl.col("label").cast(pl.Int64)).with_columns(
        loss=pl.Series(-np.log(p[np.arange(len(p)), label]))
    )
    # A NaN beside the class that came true leaves no distribution either.
    rows = rows.with_columns(
        loss=pl.when(pl.Series(np.isfinite(p).all(axis=1))).then("loss").otherwise(float("nan"))
    )
    decisions = rows.group_by("timestamp", "symbol").agg(
        pl.col("loss").mean(), pl.col("label").min(), highest=pl.col("label").max()
    )
    return decisions.filter(pl.col("label") == pl.col("highest")).drop("highest")


def test_of_very_many_times_cells_keep_the_whole_loss(monkeypatch):
    base = skilled(500, n_seeds=1, seed=6)
    other = [("B", _shaken(base, 1)), ("C", _blurred(base, 0.1))]
    whole = superior_models(base, other, n_resamples=400)
    seen = []

    def watched(reference, losses, names, **more):
        seen.append((reference, losses))
        return superior_trials(reference, losses, names, **more)

    monkeypatch.setattr(_superior_models, "superior_trials", watched)
    monkeypatch.setattr(_superior_models, "MOST_CELLS", 150)
    cells = superior_models(base, other, n_resamples=400)
    ((reference, losses),) = seen
    assert losses.shape == (150, 2)
    saved = (reference[:, None] - losses).mean(axis=0)
    np.testing.assert_allclose(saved, list(cells["log_loss_saved"].values()))
    assert cells["log_loss_saved"] == whole["log_loss_saved"]
    assert cells["p_value"] == pytest.approx(whole["p_value"], abs=0.06)


def test_a_block_is_at_least_twice_the_longest_label_and_too_few_of_them_tell_nothing():
    p, label = calibrated_rows(900)
    base = table_of(p, label, span_bars=10)
    others = [("B", _shaken(table_of(p, label, span_bars=11), 1))]
    found = superior_models(base, others, n_resamples=100)
    assert found["bootstrap"]["label_span_times"] == 10.0
    assert found["bootstrap"]["block_times"] >= 20
    few = superior_models(base[:700], others, n_resamples=100)
    assert not few["comparable"]
    assert few["reason"] == (
        "35 stretches of twice the longest label in common, at least 40 needed"
    )
    assert "p_value" not in few


def test_worthless_models_are_called_better_in_about_five_of_a_hundred_worlds():
    below, half = 0, 0
    for world in range(60):
        truth = skilled(200, n_seeds=1, seed=world)
        twins = [(str(k), _shaken(truth, [world, k], 0.3)) for k in range(4)]
        found = superior_models(_shaken(truth, [world, 9], 0.3), twins, n_resamples=99, seed=world)
        below += bool(found["superior"])
        half += found["p_value"] < 0.5
    # 3 of 60 are meant; 11 would come by chance once in ten thousand times.
    assert below <= 10
    assert 16 <= half <= 44


def test_one_other_model_is_asked_one_sided_and_agrees_with_the_paired_test():
    truth = skilled(600, n_seeds=1, seed=8)
    better, worse = _blurred(truth, 0.1), _blurred(truth, 0.4)
    there = superior_models(worse, [("B", better)])
    back = superior_models(better, [("B", worse)])
    paired = paired_test(worse, better)["log_loss"]
    assert there["log_loss_saved"]["B"] == pytest.approx(paired["value"])
    assert there["superior"] == ["B"]
    assert there["p_value"] < paired["p_value"] < 0.05
    assert back["superior"] == []
    assert back["p_value"] > 0.3


def test_a_model_beside_itself_is_set_aside():
    table = skilled(100)
    found = superior_models(table, [("copy", table), ("twin", _shaken(table, 1))], n_resamples=50)
    assert found["untested"] == ["copy"]
    assert found["log_loss_saved"]["copy"] == 0.0
    alone = superior_models(table, [("copy", table)], n_resamples=50)
    assert (alone["p_value"], alone["superior"]) == (1.0, [])


def test_tables_without_a_row_in_common_say_so_and_other_classes_are_refused():
    table = skilled(100)
    later = table.with_columns(pl.col("timestamp").dt.offset_by("900d"))
    nothing = superior_models(table, [("later", later)])
    assert (nothing["comparable"], nothing["n"]) == (False, 0)
    assert nothing["reason"] == "no row is common to all of them"
    p, label = calibrated_rows(100, n_classes=2)
    with pytest.raises(EvaluationError, match="B: the classes are down, up, those of the ref"):
        superior_models(table, [("B", table_of(p, label))])
    assert TWO == ("down", "up")
