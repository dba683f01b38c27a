"""Which symbols are better than nothing: their p-values, and their number counted."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import skew, t, ttest_1samp
from statsmodels.stats.multitest import multipletests

from evaluation.tables import THREE, baseline_of, drawn_labels, softmax, table_of
from walkforge.evaluation import metrics
from walkforge.evaluation._bootstrap import p_above, resample
from walkforge.evaluation._measure import plan_of
from walkforge.evaluation._rows import rows_of
from walkforge.evaluation._symbol_tests import sums_tested, symbol_tests

SHRUG = [1 / 3, 1 / 3, 1 / 3]
KEYS = ("p_value", "p_adjusted")


def market(n_symbols: int, *, n_known: int, seed: int, n_times: int = 300) -> pl.DataFrame:
    """Return what a model says of symbols that move together; only of the first it is true.

    What it says lives three bars, as labels do, and half of it is the same for all symbols.
    """
    random = np.random.default_rng(seed)

    def opinion():
        return np.convolve(random.normal(size=n_times + 2), np.ones(3) / np.sqrt(3), "valid")

    said_of_all, came_of_all = opinion(), random.normal(size=n_times)
    tables = []
    for number in range(n_symbols):
        said = (said_of_all + opinion()) / np.sqrt(2)
        p = softmax(0.5 * np.column_stack([-said, np.zeros(n_times), said]))
        came = (came_of_all + random.normal(size=n_times)) / np.sqrt(2)
        label = drawn_labels(p, random) if number < n_known else np.digitize(came, [-0.43, 0.43])
        fold = np.arange(n_times) * 3 // n_times
        tables.append(table_of(p, label, symbol=f"S{number:02d}", fold=fold, span_bars=3))
    return pl.concat(tables)


def found_in(table: pl.DataFrame):
    """Return the tests of a table beside a shrug, without all other measures."""
    names = tuple(sorted(table["symbol"].unique()))
    model = rows_of(table, THREE, symbols=names)
    prior = rows_of(baseline_of(table, "prior", SHRUG), THREE, symbols=names)
    return symbol_tests(model, prior, plan_of(model))


def p_of(test, key="p_value"):
    return [entry[key] for entry in test["by_symbol"].values()]


def test_of_thirty_symbols_that_nobody_knows_hardly_ever_one_is_found():
    worlds = [found_in(market(30, n_known=0, seed=seed))["direction_auc"] for seed in range(40)]
    assert sum(bool(world["discoveries"]) for world in worlds) <= 2
    p = np.array([p_of(world) for world in worlds])
    # By themselves one or two symbols of thirty would have looked good in nearly every world.
    assert 0.035 < (p < 0.05).mean() < 0.07
    assert ((p < 0.05).any(axis=1)).mean() > 0.5


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_five_symbols_that_are_known_are_found_among_thirty(seed):
    found = found_in(market(30, n_known=5, seed=seed, n_times=600))
    known = {"S00", "S01", "S02", "S03", "S04"}
    assert set(found["direction_auc"]["discoveries"]) == known
    # Log loss asks for honest probabilities too, and is the weaker witness.
    assert set(found["log_loss"]["discoveries"]) <= known
    assert len(found["log_loss"]["discoveries"]) >= 3


def test_values_are_those_of_the_measures_and_adjusted_as_statsmodels_does():
    table = market(12, n_known=2, seed=5)
    found = metrics(table, baseline_of(table, "prior", SHRUG), classes=THREE, n_resamples=0)
    tests = found["by_symbol_tests"]
    measured = {name: one["direction_auc"] for name, one in found["model"]["by_symbol"].items()}
    saved = found["improvement"]["prior"]["log_loss"]["by_symbol"]
    for measure, parts in (("direction_auc", measured), ("log_loss", saved)):
        by_symbol = tests[measure]["by_symbol"]
        assert list(by_symbol) == list(parts)
        for name, part in parts.items():
            assert by_symbol[name]["value"] == pytest.approx(part["value"], abs=1e-12)
        p = p_of(tests[measure])
        rejected, adjusted, _, _ = multipletests(p, 0.05, method="fdr_by")
        np.testing.assert_allclose(p_of(tests[measure], "p_adjusted"), adjusted, rtol=1e-12)
        names = np.array(list(by_symbol))
        assert sorted(tests[measure]["discoveries"]) == sorted(names[rejected])
        in_order = [by_symbol[name]["p_adjusted"] for name in tests[measure]["discoveries"]]
        assert in_order == sorted(in_order)
    assert tests["direction_auc"]["discoveries"]


def test_seeds_are_averaged_and_do_not_count_as_more_evidence():
    once = market(2, n_known=1, seed=6)
    twice = pl.concat([once.with_columns(pl.lit(s, dtype=pl.Int32).alias("seed")) for s in (0, 1)])
    for measure in ("direction_auc", "log_loss"):
        np.testing.assert_allclose(p_of(found_in(twice)[measure]), p_of(found_in(once)[measure]))


def slow_p(sums: np.ndarray, counts: np.ndarray, limit: float) -> float:
    """Return the p-value of one symbol by leaving out one block after the other."""
    blocks = np.flatnonzero(counts)
    k, value = len(blocks), sums.sum() / counts.sum()
    without = np.array([(sums.sum() - sums[b]) / (counts.sum() - counts[b]) for b in blocks])
    distance = (value - limit) / np.sqrt((k - 1) / k * ((without - value) ** 2).sum())
    moves = value - without
    lean = min(0.0, (moves**3).mean() / (moves**2).mean() ** 1.5) / np.sqrt(k)
    corrected = distance + lean * distance**2 / 3 + lean**2 * distance**3 / 27 + lean / 6
    return float(t.sf(corrected, k - 1))


def test_all_symbols_at_once_are_what_one_after_the_other_gives():
    random = np.random.default_rng(7)
    counts = random.integers(0, 9, (40, 25)).astype(float)
    sums = counts * (0.55 - random.exponential(0.5, counts.shape))
    found = [entry["p_value"] for entry in sums_tested(sums, counts, limit=0.01)]
    slow = [slow_p(sums[:, s], counts[:, s], 0.01) for s in range(25)]
    np.testing.assert_allclose(found, slow, rtol=1e-9)


def test_blocks_of_one_length_that_lean_to_gains_are_tested_as_by_student():
    random = np.random.default_rng(8)
    means = random.exponential(1.0, (30, 20)) - 0.8
    means = means[:, skew(means) > 0]
    found = [e["p_value"] for e in sums_tested(50 * means, np.full_like(means, 50), limit=0.1)]
    student = ttest_1samp(means, 0.1, alternative="greater").pvalue
    np.testing.assert_allclose(found, student, rtol=1e-9)


def test_they_agree_with_the_bootstrap_where_that_can_tell():
    random = np.random.default_rng(9)
    sums, counts = random.normal(0.15, 1.0, (60, 20)), np.ones((60, 20))
    found = np.array([entry["p_value"] for entry in sums_tested(sums, counts, limit=0.0)])
    means = resample(sums, n_resamples=4000, seed=1) / 60
    drawn = np.array([p_above(column, 0.0, 60) for column in means.T])
    assert 0.001 < found.min() < 0.02 < 0.3 < found.max()
    np.testing.assert_allclose(found, drawn, rtol=0.25, atol=0.01)


def test_rare_great_losses_do_not_make_false_findings():
    """A plain t-test finds a symbol in 11 of 100 such worlds without an edge."""
    random = np.random.default_rng(10)
    found = plain = 0
    for _ in range(100):
        both = np.sqrt(0.3) * random.normal(size=(100, 1))
        z = both + np.sqrt(0.7) * random.normal(size=(100, 30))
        means = 1.0 - np.exp(0.7 * z - 0.245)  # mean 0, skewness -2.9
        entries = sums_tested(means, np.ones_like(means), limit=0.0)
        found += multipletests([e["p_value"] for e in entries], 0.05, "fdr_by")[0].any()
        student = ttest_1samp(means, 0.0, alternative="greater").pvalue
        plain += multipletests(student, 0.05, "fdr_by")[0].any()
    assert found <= 6 < 8 <= plain


def test_a_symbol_with_too_few_blocks_has_a_reason_and_does_not_count():
    table = market(3, n_known=1, seed=11)
    last = table["timestamp"].max()
    late = (pl.col("symbol") != "S02") | (pl.col("timestamp") > last - pl.duration(minutes=35))
    found = found_in(table.filter(late))
    for measure in ("direction_auc", "log_loss"):
        entry = found[measure]["by_symbol"]["S02"]
        assert (entry["p_value"], entry["p_adjusted"]) == (None, None)
        assert "independent blocks of time, at least 5 needed" in entry["reason"]
        assert found[measure]["n_tested"] == 2
    two, p = found["direction_auc"]["by_symbol"], found["direction_auc"]["by_symbol"]["S00"]
    assert p["p_adjusted"] == pytest.approx(2 * 1.5 * p["p_value"])
    assert two["S00"]["p_adjusted"] < 0.05 < two["S01"]["p_adjusted"]


def test_a_symbol_of_whose_direction_nothing_can_be_said_has_no_value():
    table = market(2, n_known=0, seed=12)
    flat = pl.when(pl.col("symbol") == "S01").then(1).otherwise(pl.col("label")).cast(pl.Int8)
    entry = found_in(table.with_columns(flat.alias("label")))["direction_auc"]["by_symbol"]["S01"]
    assert (entry["value"], entry["n"], entry["p_value"]) == (None, 0, None)
    assert "undefined" in entry["reason"]


def test_who_says_the_same_everywhere_is_never_found():
    table = market(3, n_known=0, seed=13)
    same = table.with_columns(pl.lit(1 / 3).alias(f"p_{name}") for name in THREE)
    for measure in ("direction_auc", "log_loss"):
        assert p_of(found_in(same)[measure]) == [1.0, 1.0, 1.0]


def test_a_constant_gain_is_no_chance_and_not_tested():
    (entry,) = sums_tested(np.full((9, 1), 0.25), np.full((9, 1), 1.0), limit=0.0)
    assert entry["p_value"] is None
    assert "the same in every block" in entry["reason"]


def test_one_symbol_has_nothing_to_adjust():
    found = found_in(market(1, n_known=1, seed=14))
    (entry,) = found["direction_auc"]["by_symbol"].values()
    assert entry["p_adjusted"] == entry["p_value"] < 0.05
    assert found["direction_auc"]["discoveries"] == ["S00"]


def test_without_the_baseline_prior_only_the_direction_is_tested():
    table = market(2, n_known=0, seed=15)
    rival = baseline_of(table, "majority", [0.9, 0.05, 0.05])
    for baselines in (None, rival):
        tests = metrics(table, baselines, classes=THREE, n_resamples=0)["by_symbol_tests"]
        assert set(tests["direction_auc"]["by_symbol"]) == {"S00", "S01"}
        assert "log_loss" not in tests
