"""Calibration without bias, the parts of the Brier score, and bands that luck alone would fill."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from evaluation.tables import THREE, TWO, calibrated_rows, drawn_labels, softmax, table_of
from walkforge.evaluation import diagnostics, measure, metrics
from walkforge.evaluation._blocks import BlockPlan
from walkforge.evaluation._calibration import noise_of_blocks, noise_of_rows, squared_error
from walkforge.evaluation._calibration_diagram import consistency_band, reliability_diagram
from walkforge.evaluation._tally import bin_sums, equal_mass_bins

PARTS = ("reliability", "resolution", "uncertainty")


def _measured(p, label, **more):
    classes = TWO if np.shape(p)[1] == 2 else THREE
    return measure(table_of(p, label, **more), classes=classes, n_resamples=0)


def _sum_of(parts):
    return parts["reliability"] - parts["resolution"] + parts["uncertainty"]


def _blocks(n_times, n_blocks):
    return BlockPlan(
        times_ms=np.arange(n_times), n_blocks=n_blocks, label_span_times=0.0, memory_times=1.0
    )


# -- the parts of the Brier score ----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    n_classes=st.sampled_from([2, 3]),
    n=st.integers(12, 400),
    digits=st.sampled_from([1, 2, 3, 12]),
    seed=st.integers(0, 10**6),
)
def test_the_parts_add_up_to_the_brier_score(n_classes, n, digits, seed):
    p, label = calibrated_rows(n, skill=1.0, seed=seed, n_classes=n_classes)
    p = np.round(p, digits)
    p[:, -1] = 1.0 - p[:, :-1].sum(axis=1)
    block = _measured(p, label)
    brier, parts = block["brier"]["value"], block["brier_parts"]
    plain = parts["plain"]
    within = plain["within_bin_variance"] - plain["within_bin_covariance"]
    assert _sum_of(plain) + within == pytest.approx(brier, abs=1e-12)
    if parts["reliability"]["value"] is not None:
        assert _sum_of({name: parts[name]["value"] for name in PARTS}) == pytest.approx(
            brier, abs=1e-12
        )


def test_forecasts_of_few_values_leave_nothing_within_the_bins():
    """Murphy's three parts of 1973 are then the whole of the score."""
    random = np.random.default_rng(0)
    said = random.choice([0.1, 0.3, 0.8], size=900)
    p = np.column_stack([1.0 - said, said])
    block = _measured(p, (random.random(900) < said).astype(int))
    plain = block["brier_parts"]["plain"]
    assert plain["within_bin_variance"] == pytest.approx(0.0, abs=1e-12)
    assert plain["within_bin_covariance"] == pytest.approx(0.0, abs=1e-12)
    assert _sum_of(plain) == pytest.approx(block["brier"]["value"], abs=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_plain_parts_are_those_of_a_slow_loop(n_classes):
    p, label = calibrated_rows(500, skill=1.0, seed=3, n_classes=n_classes)
    slow = dict.fromkeys([*PARTS, "within_bin_variance", "within_bin_covariance"], 0.0)
    for k in range(n_classes):
        stated, came = p[:, k], (label == k).astype(float)
        order = np.argsort(stated)
        slow["uncertainty"] += came.mean() * (1 - came.mean())
        for first in range(0, 500, 50):
            f, o = stated[order[first : first + 50]], came[order[first : first + 50]]
            slow["reliability"] += 50 * (f.mean() - o.mean()) ** 2 / 500
            slow["resolution"] += 50 * (o.mean() - came.mean()) ** 2 / 500
            slow["within_bin_variance"] += sum((f - f.mean()) ** 2) / 500
            slow["within_bin_covariance"] += 2 * sum((f - f.mean()) * (o - o.mean())) / 500
    plain = _measured(p, label)["brier_parts"]["plain"]
    scale = 0.5 if n_classes == 2 else 1.0
    assert plain == pytest.approx({name: scale * v for name, v in slow.items()}, abs=1e-12)


def test_the_parts_without_bias_are_those_of_a_slow_loop_over_blocks():
    p, label = calibrated_rows(400, skill=1.0, seed=5)
    block = measure(table_of(p, label, span_bars=10), classes=THREE, n_resamples=0)
    owner = np.arange(400) * block["n_blocks"] // 400

    def variance(values, within):
        share = [(within & (owner == b)).sum() / within.sum() for b in range(block["n_blocks"])]
        left = 1.0 - sum(c**2 for c in share)
        sums = [values[within & (owner == b)].sum() for b in range(block["n_blocks"])]
        off = [(s - c * sum(sums)) ** 2 for s, c in zip(sums, share, strict=True)]
        return sum(off) / left / within.sum() ** 2

    gap_noise = share_noise = 0.0
    for k in range(3):
        came = (label == k).astype(float)
        share_noise += variance(came, np.ones(400, dtype=bool))
        for rows in np.split(np.argsort(p[:, k]), 10):
            within = np.isin(np.arange(400), rows)
            gap_noise += 40 / 400 * variance(p[:, k] - came, within)
    parts = block["brier_parts"]
    assert block["n_blocks"] < 25
    assert parts["reliability"]["value"] == pytest.approx(
        parts["plain"]["reliability"] - gap_noise, abs=1e-12
    )
    assert parts["uncertainty"]["value"] == pytest.approx(
        parts["plain"]["uncertainty"] + share_noise, abs=1e-12
    )


# -- the calibration error without its bias ------------------------------------------------------


def test_the_worked_example_of_kumar_liang_and_ma_with_three_classes():
    """Their library's tests (verified_calibration, test_get_three_label_ce) state these sums."""
    said = [[0.6, 0.3, 0.1]] * 6 + [[0.1, 0.8, 0.1]] * 4 + [[0.1, 0.0, 0.9]] * 4
    label = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    block = _measured(said, label)
    top = 6 / 14 * (5 / 6 - 0.6) ** 2 + 4 / 14 * 0.05**2 + 4 / 14 * 0.1**2
    each = 4 * 0.1**2 + 6 * (5 / 6 - 0.6) ** 2 + 8 * 0.1**2 + 4 * 0.05**2 + 6 * (0.3 - 1 / 6) ** 2
    assert block["ece_squared"]["plain"] == pytest.approx(top)
    # They take the mean over classes, the Brier score their sum.
    assert block["brier_parts"]["plain"]["reliability"] == pytest.approx(3 * each / 42)


def test_the_worked_example_with_two_classes_and_what_they_take_off():
    said = np.array([0.5, 0.5, 0.5, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6])
    label = [0, 1, 0, 1, 0, 1, 1, 1, 0]
    # Of equal classes the first is the likeliest: a hair decides for the second here.
    block = _measured(np.column_stack([1 - said - 1e-12, said + 1e-12]), label)
    plain = 4 / 9 * 0.25**2 + 5 / 9 * 0.2**2
    noise = 4 / 9 * 0.25 * 0.75 / 3 + 5 / 9 * 0.8 * 0.2 / 4
    assert block["ece_squared"]["plain"] == pytest.approx(plain)
    assert block["ece_squared"]["independent"] == pytest.approx(plain - noise)
    assert block["brier_parts"]["plain"]["reliability"] == pytest.approx(plain)


def test_where_every_row_is_a_block_the_noise_is_that_of_kumar_liang_and_ma():
    random = np.random.default_rng(1)
    said = random.choice([0.2, 0.5, 0.7], size=300)
    came = random.random(300) < said
    bins = bin_sums(said, came, np.arange(300), 300)
    assert noise_of_blocks(bins) == pytest.approx(noise_of_rows(bins.sum(axis=0)), abs=1e-12)


@pytest.mark.parametrize("copies", [1, 10])
def test_of_a_calibrated_forecaster_noise_is_all_there_is_and_it_is_taken_off(copies):
    """Rows that come in tens are no ten witnesses: who counts them so keeps most of the noise."""
    plain, off, as_rows = [], [], []
    for seed in range(300):
        p, label = calibrated_rows(1500 // copies, skill=0.7, seed=seed)
        p, label = np.repeat(p, copies, axis=0), np.repeat(label, copies)
        block = np.arange(1500) // 60
        bins = bin_sums(p.max(axis=1), p.argmax(axis=1) == label, block, 25)
        whole = bins.sum(axis=0)
        plain.append(float(squared_error(whole[None])[0]))
        off.append(plain[-1] - noise_of_blocks(bins))
        as_rows.append(plain[-1] - noise_of_rows(whole))
    error = np.std(off) / np.sqrt(len(off))
    assert abs(np.mean(off)) < 3 * error
    assert np.mean(plain) > 10 * error
    kept = np.mean(as_rows) / np.mean(plain)
    assert abs(kept) < 0.1 if copies == 1 else kept > 0.8


def test_the_true_error_of_an_overconfident_model_comes_out_and_lies_in_its_interval():
    def world(n, seed):
        random = np.random.default_rng(seed)
        logits = random.normal(0.0, 0.7, (n, 3))
        return softmax(1.6 * logits), drawn_labels(softmax(logits), random)

    truth = _measured(*world(400_000, 99))
    asked = [("ece_squared",), *(("brier_parts", name) for name in PARTS)]
    held = dict.fromkeys(asked, 0)
    values = {key: [] for key in asked}
    for seed in range(60):
        found = measure(table_of(*world(1500, seed)), classes=THREE, n_resamples=200)
        for key in asked:
            entry, true = found[key[0]], truth[key[0]]
            entry, true = (entry[key[1]], true[key[1]]) if key[1:] else (entry, true)
            values[key].append(entry["value"] - true["value"])
            held[key] += entry["low"] <= true["value"] <= entry["high"]
    for key in asked:
        assert abs(np.mean(values[key])) < 3.5 * np.std(values[key]) / np.sqrt(60), key
        assert held[key] >= 50, key


def test_ten_copies_of_a_network_are_no_more_calibrated_than_one():
    p, label = calibrated_rows(600)
    one = _measured(p, label)
    copies = pl.concat([table_of(p, label, seed=k) for k in range(10)])
    ten = measure(copies, classes=THREE, n_resamples=0)
    assert ten["ece_squared"]["value"] == pytest.approx(one["ece_squared"]["value"], abs=1e-9)
    assert ten["ece_squared"]["independent"] > 2 * one["ece_squared"]["value"]
    for name in PARTS:
        values = [block["brier_parts"][name]["value"] for block in (one, ten)]
        assert values[0] == pytest.approx(values[1], abs=1e-9)


def test_noise_that_cannot_be_told_leaves_no_number_but_a_reason():
    p, label = calibrated_rows(200)
    block = _measured(p, label, span_bars=150)
    assert block["n_blocks"] == 1
    for entry in (block["ece_squared"], *(block["brier_parts"][name] for name in PARTS)):
        assert entry["value"] is None
        assert "a single block of time" in entry["reason"]
    assert block["ece_squared"]["plain"] > 0


def test_a_fold_without_finite_rows_has_the_same_keys_without_numbers():
    p, label = calibrated_rows(200)
    p[100:] = np.nan
    found = metrics(table_of(p, label, fold=np.arange(200) // 100), None, classes=THREE)
    good, empty = (found["model"]["by_fold"][fold] for fold in ("0", "1"))
    assert set(good) == set(empty)
    assert empty["ece_squared"]["value"] is None
    assert set(good["brier_parts"]) - {"bins"} == set(empty["brier_parts"])


# -- reliability diagrams ------------------------------------------------------------------------


def test_the_bins_of_each_class_are_those_of_scikit_learn():
    p, label = calibrated_rows(1000, skill=1.0)
    found = diagnostics(table_of(p, label), classes=THREE, n_resamples=0)["reliability_by_class"]
    assert list(found) == list(THREE)
    for k, name in enumerate(THREE):
        came, stated = calibration_curve(label == k, p[:, k], n_bins=10, strategy="quantile")
        assert [line["frequency"] for line in found[name]] == pytest.approx(came.tolist())
        assert [line["probability"] for line in found[name]] == pytest.approx(stated.tolist())


def test_the_band_is_that_of_forecasts_and_outcomes_drawn_one_by_one():
    """Broecker and Smith (2007), section 3, row by row."""
    p, _ = calibrated_rows(400, skill=1.0, seed=2)
    stated, random = p[:, 0], np.random.default_rng(0)
    bins = equal_mass_bins(stated, 10)
    rates = []
    for _ in range(4000):
        rows = random.integers(0, 400, 400)
        came = random.random(400) < stated[rows]
        rates.append([came[bins[rows] == k].mean() for k in range(10)])
    slow = np.quantile(rates, [0.025, 0.975], axis=0)
    sums = bin_sums(stated, random.random(400) < stated, np.zeros(400, dtype=int), 1)[0]
    band = consistency_band(sums, effect=1.0, n_resamples=4000, seed=0)
    np.testing.assert_allclose(band, slow, atol=0.015)  # a row of 40 is 0.025


@pytest.mark.parametrize("copies", [1, 10])
def test_the_band_holds_95_of_100_calibrated_bins_however_rows_hang_together(copies):
    held, naive, effects = [], [], []
    for seed in range(150):
        p, label = calibrated_rows(1500 // copies, skill=0.7, seed=seed)
        stated, came = np.repeat(p[:, 0], copies), np.repeat(label == 0, copies)
        asked = {"time_ms": np.arange(1500), "plan": _blocks(1500, 25)}
        diagram = reliability_diagram(stated, came, **asked, n_resamples=400, seed=seed)
        sums = bin_sums(stated, came, np.zeros(1500, dtype=int), 1)[0]
        low, high = consistency_band(sums, effect=1.0, n_resamples=400, seed=seed)
        effects.append(diagram.design_effect)
        for k, line in enumerate(diagram.lines):
            held.append(line["band_low"] <= line["came"] <= line["band_high"])
            naive.append(low[k] <= line["came"] <= high[k])
    assert 0.935 < np.mean(held) < 0.97
    assert np.mean(effects) == pytest.approx(copies, rel=0.12)
    assert np.mean(naive) > 0.93 if copies == 1 else np.mean(naive) < 0.6


def test_an_overconfident_model_lies_outside_its_band_at_the_upper_end():
    random = np.random.default_rng(0)
    logits = random.normal(0.0, 0.7, (5000, 3))
    table = table_of(softmax(2.0 * logits), drawn_labels(softmax(logits), random))
    last = diagnostics(table, classes=THREE, n_resamples=200)["reliability"][-1]
    assert last["hit_rate"] < last["band_low"] < last["confidence"] < last["band_high"]


def test_without_blocks_or_resamples_there_is_no_band():
    p, label = calibrated_rows(300)
    for table, n_resamples in ((table_of(p, label), 0), (table_of(p, label, span_bars=90), 200)):
        found = diagnostics(table, classes=THREE, n_resamples=n_resamples)
        assert set(found["design_effects"].values()) == {None}
        for lines in (found["reliability"], *found["reliability_by_class"].values()):
            assert {line["band_low"] for line in lines} == {None}


def test_where_every_gap_is_the_same_rounding_makes_no_design_effect():
    found = diagnostics(table_of([[0.3, 0.7]] * 999, [0] * 999), classes=TWO, n_resamples=400)
    assert set(found["design_effects"].values()) == {1.0}
    (line,) = found["reliability"]
    assert line["hit_rate"] == 0.0
    assert line["band_low"] == pytest.approx(0.7 - 1.96 * np.sqrt(0.21 / 999), abs=0.004)
    assert line["band_high"] == pytest.approx(0.7 + 1.96 * np.sqrt(0.21 / 999), abs=0.004)


def test_certain_forecasts_have_a_band_of_no_width():
    p = np.tile([[1.0, 0.0], [0.0, 1.0]], (100, 1))
    found = diagnostics(table_of(p, np.tile([0, 1], 100)), classes=TWO, n_resamples=50)
    (line,) = found["reliability"]
    assert (line["band_low"], line["band_high"], line["hit_rate"]) == (1.0, 1.0, 1.0)
    assert found["design_effects"]["confidence"] == 1.0
