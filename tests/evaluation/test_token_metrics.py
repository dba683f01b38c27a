"""Measures of tokens are plain means with honest intervals, and gains are taken in pairs."""

import json

import numpy as np
import pytest

from evaluation.tables import START_MS, STEP_MS
from walkforge.base import EvaluationError
from walkforge.evaluation import TokenRows, TokenScores, token_metrics

SYMBOLS = ("AAA", "BBB", "CCC")
CATEGORIES = ("crypto", "us", "crypto")


def scores(random, n, *, loss=3.0, hits=0.2):
    return TokenScores(loss + random.normal(0.0, 0.5, n), random.random(n) < hits)


def rows_of(n_times=600, *, seed=0, better=0.1, **changed):
    """Return three assets over the same times; the model saves `better` nats, and has more hits."""
    random = np.random.default_rng(seed)
    n = 3 * n_times
    base = scores(random, n)
    model = TokenScores(base.loss - better + random.normal(0.0, 0.3, n), random.random(n) < 0.25)
    columns = {
        "time_ms": START_MS + STEP_MS * np.tile(np.arange(n_times), 3),
        "asset": np.repeat(np.arange(3), n_times),
        "symbols": SYMBOLS,
        "categories": CATEGORIES,
        "model": model,
        "baselines": {"unigram": base, "markov_1": scores(random, n)},
        "constant_hit": random.random(n) < 0.05,
    }
    return TokenRows(**(columns | changed))


def test_values_are_plain_means_and_perplexity_is_the_power_of_the_loss():
    rows = rows_of()
    found = token_metrics(rows, n_resamples=100)
    for scored, block in (
        (rows.model, found["model"]["pooled"]),
        (rows.baselines["unigram"], found["baselines"]["unigram"]["pooled"]),
    ):
        assert block["log_loss"]["value"] == pytest.approx(scored.loss.mean())
        assert block["perplexity"]["value"] == pytest.approx(np.exp(scored.loss.mean()))
        assert block["accuracy"]["value"] == pytest.approx(scored.hit.mean())
        assert block["n"] == block["accuracy"]["n"] == len(rows.time_ms)
    assert block["log_loss"]["unit"] == "nats"


def test_the_best_constant_stands_beside_every_accuracy_of_the_model():
    rows = rows_of()
    model = token_metrics(rows, n_resamples=100)["model"]
    constant = rows.constant_hit
    crypto = rows.asset != 1
    assert model["pooled"]["best_constant"]["value"] == pytest.approx(constant.mean())
    found = model["by_category"]["crypto"]
    assert found["best_constant"]["value"] == pytest.approx(constant[crypto].mean())
    assert found["best_constant"]["low"] < constant[crypto].mean() < found["best_constant"]["high"]


def test_categories_are_measured_apart():
    rows = rows_of()
    model = token_metrics(rows, n_resamples=100)["model"]
    assert set(model["by_category"]) == {"crypto", "us"}
    us = rows.asset == 1
    assert model["by_category"]["us"]["log_loss"]["value"] == pytest.approx(
        rows.model.loss[us].mean()
    )
    assert model["by_category"]["us"]["n"] == us.sum()


def test_without_categories_nothing_is_measured_apart():
    found = token_metrics(rows_of(categories=None), n_resamples=100)
    assert set(found["model"]) == {"pooled"}
    assert "by_category" not in found["improvement"]["unigram"]["log_loss"]


def test_a_gain_is_above_zero_where_the_model_is_better_and_has_its_parts():
    rows = rows_of(better=0.1)
    gains = token_metrics(rows, n_resamples=400)["improvement"]["unigram"]
    saved = rows.baselines["unigram"].loss - rows.model.loss
    assert gains["log_loss"]["value"] == pytest.approx(saved.mean())
    assert 0 < gains["log_loss"]["low"] < saved.mean() < gains["log_loss"]["high"]
    assert gains["log_loss"]["p_value"] < 0.05
    assert gains["log_loss"]["unit"] == "nats"
    gained = rows.model.hit.mean() - rows.baselines["unigram"].hit.mean()
    assert gains["accuracy"]["value"] == pytest.approx(gained)
    ours = rows.asset == 2
    assert gains["log_loss"]["by_symbol"]["CCC"] == {
        "value": pytest.approx(saved[ours].mean()),
        "n": ours.sum(),
    }
    assert list(gains["log_loss"]["by_period"]) == ["0", "1", "2", "3"]
    assert set(gains["accuracy"]["by_category"]) == {"crypto", "us"}


def test_gains_are_paired_so_that_what_both_suffer_leaves_no_doubt():
    random = np.random.default_rng(5)
    rows = rows_of()
    storm = np.tile(10 * random.random(600), 3)
    stormy = rows_of(
        model=TokenScores(rows.model.loss + storm, rows.model.hit),
        baselines={
            name: TokenScores(one.loss + storm, one.hit) for name, one in rows.baselines.items()
        },
    )
    calm, wild = (token_metrics(each, n_resamples=400) for each in (rows, stormy))

    def width(entry):
        return entry["high"] - entry["low"]

    assert width(wild["model"]["pooled"]["log_loss"]) > 5 * width(
        calm["model"]["pooled"]["log_loss"]
    )
    gains = [found["improvement"]["unigram"]["log_loss"] for found in (calm, wild)]
    assert width(gains[1]) == pytest.approx(width(gains[0]), rel=0.01)


def test_a_model_beside_itself_gains_nothing_and_is_not_told_apart():
    rows = rows_of()
    gains = token_metrics(rows_of(baselines={"twin": rows.model}), n_resamples=100)["improvement"]
    assert gains["twin"]["log_loss"]["value"] == 0
    assert gains["twin"]["log_loss"]["p_value"] == 1
    assert gains["twin"]["accuracy"]["p_value"] == 1


def test_assets_of_one_moment_are_drawn_together():
    """Three assets that do the very same are no more evidence than one."""
    random = np.random.default_rng(2)
    one = scores(random, 600)
    three = TokenScores(np.tile(one.loss, 3), np.tile(one.hit, 3))
    alone = TokenRows(
        time_ms=START_MS + STEP_MS * np.arange(600),
        asset=np.zeros(600, dtype=np.int64),
        symbols=SYMBOLS[:1],
        model=one,
        baselines={},
        constant_hit=np.zeros(600, dtype=np.bool_),
    )
    single = token_metrics(alone, n_resamples=300)["model"]["pooled"]["log_loss"]
    triple = token_metrics(rows_of(model=three, baselines={}), n_resamples=300)
    triple = triple["model"]["pooled"]["log_loss"]
    assert triple["n"] == 3 * single["n"]
    assert triple["low"] == pytest.approx(single["low"])
    assert triple["high"] == pytest.approx(single["high"])


def test_the_order_of_tokens_does_not_matter():
    rows = rows_of()
    order = np.random.default_rng(0).permutation(len(rows.time_ms))
    mixed = rows_of(
        time_ms=rows.time_ms[order],
        asset=rows.asset[order],
        model=rows.model.take(order),
        baselines={name: one.take(order) for name, one in rows.baselines.items()},
        constant_hit=rows.constant_hit[order],
    )
    one, other = (token_metrics(each, n_resamples=50) for each in (rows, mixed))
    for name in ("log_loss", "accuracy"):
        for found, again in (
            (one["model"]["pooled"][name], other["model"]["pooled"][name]),
            (one["improvement"]["unigram"][name], other["improvement"]["unigram"][name]),
        ):
            assert found["low"] == pytest.approx(again["low"])
            assert found["high"] == pytest.approx(again["high"])


def test_tokens_without_a_finite_loss_are_left_out_on_every_side_and_counted():
    rows = rows_of()
    broken = rows.model.loss.copy()
    broken[::10] = np.nan
    broken[5] = np.inf
    found = token_metrics(rows_of(model=TokenScores(broken, rows.model.hit)), n_resamples=50)
    kept = np.isfinite(broken)
    assert found["n_not_finite"] == (~kept).sum() == 181
    for block in (found["model"]["pooled"], found["baselines"]["unigram"]["pooled"]):
        assert block["n"] == kept.sum()
    assert found["baselines"]["unigram"]["pooled"]["log_loss"]["value"] == pytest.approx(
        rows.baselines["unigram"].loss[kept].mean()
    )


def test_a_model_whose_losses_are_all_nan_is_refused():
    rows = rows_of()
    lost = TokenScores(np.full(1800, np.nan), rows.model.hit)
    with pytest.raises(EvaluationError, match="none of 1800 tokens has a finite loss"):
        token_metrics(rows_of(model=lost))


def test_few_moments_give_values_without_intervals_and_say_why():
    found = token_metrics(rows_of(n_times=3), n_resamples=50)
    entry = found["model"]["pooled"]["perplexity"]
    assert entry["value"] > 1
    assert entry["low"] is None
    assert "blocks" in entry["reason"]
    assert found["improvement"]["unigram"]["log_loss"]["p_value"] is None


def test_losses_of_a_network_in_single_precision_are_summed_in_double():
    rows = rows_of()
    single = TokenScores(rows.model.loss.astype(np.float32), rows.model.hit)
    found = token_metrics(rows_of(model=single), n_resamples=50)["model"]["pooled"]["log_loss"]
    assert found["value"] == pytest.approx(single.loss.astype(np.float64).mean(), rel=1e-12)


def test_the_result_can_be_written_as_json():
    text = json.dumps(token_metrics(rows_of(), n_resamples=50), allow_nan=False)
    assert json.loads(text)["bootstrap"]["n_resamples"] == 50
