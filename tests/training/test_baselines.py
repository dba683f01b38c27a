"""Baselines learn from the training rows alone, and say what they say they say."""

import dataclasses

import numpy as np
import pytest

from walkforge.training import BASELINES, BaselineRows

MINUTE_MS = 60_000
N = 1200


def _rows(**changes) -> BaselineRows:
    random = np.random.default_rng(3)
    table = random.normal(size=(N, 4)).astype(np.float32)
    labels = np.digitize(table[:, 0] + random.normal(size=N), [-0.7, 0.7]).astype(np.int8)
    decided_at = MINUTE_MS * np.arange(N)
    settings = {
        "table": table,
        "labels": labels,
        "decided_at": decided_at,
        "resolved_at": decided_at + 3 * MINUTE_MS,
        "train": np.arange(50, 600),
        "validation": np.arange(610, 800),
        "asked": np.arange(810, N),
        "scale": lambda table: table,
        "window_bars": 1,
        "n_classes": 3,
    }
    return BaselineRows(**(settings | changes))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_probabilities(name):
    probabilities = BASELINES[name](_rows())
    assert probabilities.shape == (N - 810, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert probabilities.min() > 0


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_learns_from_the_rows_it_is_asked_about(name):
    rows = _rows()
    poisoned = rows.labels.copy()
    poisoned[810:] = (poisoned[810:] + 1) % 3
    # Persistence may use a label once it is resolved, so only the first answers must agree.
    n = 3 if name == "persistence" else None
    clean = BASELINES[name](rows)[:n]
    again = BASELINES[name](dataclasses.replace(rows, labels=poisoned))[:n]
    np.testing.assert_array_equal(clean, again)


@pytest.mark.parametrize("name", ["logistic", "lightgbm"])
def test_learned_baselines_find_a_signal_that_is_there(name):
    rows = _rows()
    hits = BASELINES[name](rows).argmax(axis=1) == rows.labels[rows.asked]
    assert hits.mean() > 0.45


def test_prior_is_the_share_of_each_class_in_training():
    rows = _rows()
    expected = np.bincount(rows.labels[rows.train], minlength=3) / len(rows.train)
    np.testing.assert_allclose(BASELINES["prior"](rows)[7], expected)


def test_majority_names_the_most_frequent_class_of_training():
    rows = _rows()
    most = np.bincount(rows.labels[rows.train]).argmax()
    assert (BASELINES["majority"](rows).argmax(axis=1) == most).all()


def test_persistence_names_the_last_label_resolved_at_the_decision_and_none_later():
    rows = _rows()
    named = BASELINES["persistence"](rows).argmax(axis=1)
    # A label resolves three bars after its decision.
    np.testing.assert_array_equal(named, rows.labels[rows.asked - 3])


def test_windows_are_seen_at_a_few_lags():
    rows = _rows(window_bars=6)
    inputs = rows.inputs(rows.asked[:2])
    assert inputs.shape == (2, 4 * 4)
    np.testing.assert_allclose(inputs[0, 4:8], rows.table[809])
    np.testing.assert_allclose(inputs[0, 12:16], rows.table[806])


@pytest.mark.parametrize("name", BASELINES)
def test_a_class_that_training_never_met_gets_a_small_probability(name):
    rows = _rows()
    labels = np.where(rows.labels == 1, np.int8(0), rows.labels)
    labels[810:] = 1
    probabilities = BASELINES[name](dataclasses.replace(rows, labels=labels))
    assert np.isfinite(np.log(probabilities)).all()


def test_inputs_made_in_chunks_are_those_made_at_once(monkeypatch):
    rows = _rows(window_bars=6, scale=lambda table: table / np.float32(1.7))
    at_once = rows.inputs(rows.train)
    monkeypatch.setattr("walkforge.models._boosted_trees._CHUNK_ROWS", 7)
    np.testing.assert_array_equal(rows.inputs(rows.train), at_once)


def test_trees_learn_the_same_from_batches_as_from_a_whole_matrix(monkeypatch):
    # Every value is met many times over, so that a part of the rows makes the same bins as all.
    table = np.round(_rows().table * 2) / 2
    rows = _rows(table=np.clip(table, -2, 2))
    whole = BASELINES["lightgbm"](rows)
    monkeypatch.setattr("walkforge.training._boosting._MOST_BINNING_ROWS", 300)
    monkeypatch.setattr("walkforge.training._boosting._Rows.batch_size", 64)
    np.testing.assert_array_equal(BASELINES["lightgbm"](rows), whole)
