"""The area of up against down: what a network knew beforehand of ups and downs is taken off."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.tables import THREE, TWO, baseline_of, calibrated_rows, table_of
from walkforge.evaluation import metrics
from walkforge.evaluation._scores import area_shares


def _pooled(table, prior, n_resamples=0, classes=TWO):
    found = metrics(table, prior, classes=classes, n_resamples=n_resamples)
    return found["model"]["pooled"]["direction_auc"]


def test_it_is_the_area_of_the_odds_less_those_of_the_training_rows():
    p, label = calibrated_rows(600)
    fold = np.arange(600) // 200
    priors = np.array([[0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])[fold]
    table = table_of(p, label, fold=fold)
    found = _pooled(table, baseline_of(table, "prior", priors), classes=THREE)
    moved = label != 1
    odds = np.log(p[:, 2] / p[:, 0]) - np.log(priors[:, 2] / priors[:, 0])
    area = roc_auc_score(label[moved] == 2, odds[moved])
    assert found["value"] == pytest.approx(area, abs=1e-12)
    plain = _pooled(table, None, classes=THREE)["value"]
    assert plain == pytest.approx(
        roc_auc_score(label[moved] == 2, np.log(p[:, 2] / p[:, 0])[moved]), abs=1e-12
    )


def test_what_a_walk_forward_learned_of_past_shares_is_no_direction_right_or_wrong():
    random = np.random.default_rng(2)
    odds, label, fold = [], [], []
    for window, share_of_ups in enumerate([0.6, 0.4, 0.5, 0.5]):
        said = 0.5 if not label else float(np.mean(np.concatenate(label)))
        label.append((random.random(400) < share_of_ups).astype(int))
        odds.append(np.full(400, said))
        fold.append(np.full(400, window))
    said, came = np.concatenate(odds), np.concatenate(label)
    table = table_of(np.column_stack([1 - said, said]), came, fold=np.concatenate(fold))
    assert roc_auc_score(came, said) < 0.49  # the wrong direction, where there is none
    prior = baseline_of(table, "prior", np.column_stack([1 - said, said]))
    block = _pooled(table, prior, n_resamples=200)
    assert (block["value"], block["low"], block["high"]) == (0.5, 0.5, 0.5)


def test_whoever_bets_against_the_last_bars_of_a_random_walk_knows_no_direction():
    """Ranked within short windows he would: after ups fewer ups are left among the rivals."""
    random = np.random.default_rng(3)
    n_windows, n_rows, ahead = 24, 30, 5
    fold = np.arange(n_windows * n_rows) // n_rows
    areas, within = [], []
    for _ in range(30):
        walk = random.normal(size=len(fold) + 2 * ahead).cumsum()
        now = np.arange(ahead, ahead + len(fold))
        came = (walk[now + ahead] > walk[now]).astype(int)
        up = 1 / (1 + np.exp(0.1 * (walk[now] - walk[now - ahead])))
        table = table_of(np.column_stack([1 - up, up]), came, fold=fold, span_bars=ahead)
        areas.append(_pooled(table, baseline_of(table, "prior", [0.5, 0.5]))["value"])
        within.append(area_shares(up, came > 0, fold).mean())
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)
    assert np.nanmean(within) > 0.55


def test_a_baseline_is_measured_like_the_model():
    p, label = calibrated_rows(400, n_classes=2)
    fold = np.arange(400) // 100
    table = table_of(p, label, fold=fold)
    shares = np.array([[0.7, 0.3], [0.5, 0.5], [0.4, 0.6], [0.2, 0.8]])[fold]
    prior = baseline_of(table, "prior", shares)
    twin = baseline_of(table, "twin", p)
    found = metrics(table, pl.concat([prior, twin]), classes=TWO, n_resamples=0)
    areas = {
        name: one["pooled"]["direction_auc"]["value"] for name, one in found["baselines"].items()
    }
    assert areas["prior"] == 0.5
    assert areas["twin"] == found["model"]["pooled"]["direction_auc"]["value"]


@pytest.mark.parametrize("digits", [1, 12])
def test_shares_of_groups_average_to_the_areas_of_scikit_learn(digits):
    random = np.random.default_rng(4)
    group, hit = random.integers(0, 4, 500), random.random(500) < 0.4
    score = np.round(random.normal(size=500) + hit, digits)
    shares = area_shares(score, hit, group)
    for number in range(4):
        rows = group == number
        area = roc_auc_score(hit[rows], score[rows])
        assert shares[rows].mean() == pytest.approx(area, abs=1e-12)
    hit[group == 3] = True
    assert np.isnan(area_shares(score, hit, group)[group == 3]).all()
