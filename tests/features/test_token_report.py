"""The report of a tokenizer says what decoded bars are worth, on simulated and on real bars."""

import math

import numpy as np
import polars as pl
import pytest

from features.tokenizers import BARS, FITTED, KINDS, VECTORS, fitted, of_centres
from walkforge.base import FeatureError, json_text
from walkforge.features import (
    BarVectors,
    TokenizerRule,
    bar_vectors,
    fit_tokenizer,
    tokenizer_report,
)
from walkforge.market import Bars, simulate

PRICES = ("open", "high", "low", "close")
TRAIN, LATER = VECTORS.take(slice(0, 4000)), VECTORS.take(slice(4000, 6000))


def errors_bps(tokenizer, bars, vectors):
    """Return |decoded / real − 1| of every price (n, 4), from the bars themselves."""
    rows = np.flatnonzero(vectors.valid)
    tokens = tokenizer.encode(vectors.values[rows])
    decoded = tokenizer.decode(tokens, bars.close[rows - 1], vectors.sigma[rows])
    real = np.stack([getattr(bars, name)[rows] for name in PRICES], axis=1)
    assert (decoded[:, 1] >= decoded[:, [0, 3]].max(axis=1)).all()
    assert (decoded[:, 2] <= decoded[:, [0, 3]].min(axis=1)).all()
    return np.abs(decoded / real - 1) * 1e4


def vectors_of(values, sigma=0.01):
    values = np.asarray(values, dtype=np.float32)
    return BarVectors(values, np.full(len(values), sigma), np.ones(len(values), dtype=bool))


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_are_those_of_the_bars_themselves(kind):
    tokenizer = fitted(kind)
    found = tokenizer_report(tokenizer, [VECTORS], [LATER])["train"]
    errors = errors_bps(tokenizer, BARS, VECTORS)
    assert found["rows"] == len(errors) == 6000 - 61
    for number, name in enumerate(PRICES):
        told = found["error_bps"][name]
        assert told["mean"] == pytest.approx(errors[:, number].mean(), rel=1e-4, abs=1e-4)
        assert told["median"] == pytest.approx(np.median(errors[:, number]), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_new_bars_come_back_within_the_error_that_the_report_states(kind):
    rule = TokenizerRule(kind=kind, vocabulary=128)
    market, fresh = (simulate("garch", n_bars=30_000, seed=seed) for seed in (4, 77))
    vectors = bar_vectors(market, rule)
    rows = [vectors.values[vectors.valid]]
    tokenizer = fit_tokenizer(rule, rows, fitted=FITTED, seed=0)
    stated = tokenizer_report(tokenizer, [vectors], [vectors])["train"]["error_bps"]
    found = errors_bps(tokenizer, fresh, bar_vectors(fresh, rule))
    for number, name in enumerate(PRICES):
        assert found[:, number].mean() < 1.15 * stated[name]["mean"] + 0.1
        assert np.median(found[:, number]) < 1.15 * stated[name]["median"] + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_more_codes_lose_less(kind):
    few, many = (fitted(kind, vocabulary=size) for size in (32, 1024))
    reports = [tokenizer_report(one, [TRAIN], [LATER])["later"] for one in (few, many)]
    for name in ("high", "low", "close"):
        assert reports[1]["error_bps"][name]["mean"] < 0.7 * reports[0]["error_bps"][name]["mean"]


def test_use_and_perplexity_are_counted_over_all_codes():
    tokenizer = of_centres([[level, level, 0, 0, 0] for level in (-2, -1, 1, 2)])
    rows = [[level, level, 0, 0, 0] for level in (-2, -2, 1, 1, 1, 1)]
    report = tokenizer_report(tokenizer, [vectors_of(rows[:3]), vectors_of(rows[3:])],
                              [vectors_of(rows[:1])])  # fmt: skip
    assert (report["kind"], report["vocabulary"]) == ("vq", 4)
    assert report["train"]["rows"] == 6
    assert report["train"]["codes_used_frac"] == 0.5
    entropy = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    assert report["train"]["perplexity"] == pytest.approx(math.exp(entropy))
    assert report["later"]["perplexity"] == pytest.approx(1.0)
    assert report["train"]["error_bps"]["close"] == {"mean": 0.0, "median": 0.0}


def test_equally_frequent_codes_have_the_perplexity_of_the_vocabulary():
    tokenizer = fitted("vq")
    report = tokenizer_report(tokenizer, [vectors_of(tokenizer.centres)], [TRAIN])
    assert report["train"]["perplexity"] == pytest.approx(64)
    assert report["train"]["codes_used_frac"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_bars_at_the_edge_are_those_beyond_the_limits(kind):
    tokenizer = fitted(kind)
    inside = np.tile(tokenizer.limits_.mean(axis=0), (10, 1))
    inside[0, 0] = tokenizer.limits_[1, 0] + 1
    inside[1, 4] = tokenizer.limits_[0, 4] - 1
    inside[1, 3] = tokenizer.limits_[1, 3] + 1
    inside[2, 1] = tokenizer.limits_[1, 1]
    found = tokenizer_report(tokenizer, [vectors_of(inside)], [TRAIN])["train"]
    assert found["edge_frac"] == pytest.approx(0.2)
    assert found["edge_frac_by_number"] == pytest.approx(
        {"move": 0.1, "body": 0.0, "upper": 0.0, "lower": 0.1, "volume": 0.1}
    )


def test_a_report_is_plain_data():
    assert json_text(tokenizer_report(fitted("bins"), [TRAIN], [LATER]))


def test_rows_without_a_token_alone_are_refused():
    warm_up = VECTORS.take(slice(0, 30))
    with pytest.raises(FeatureError, match="no row of 'later' has a token"):
        tokenizer_report(fitted("vq"), [TRAIN], [warm_up])


# Real bars

SERIES = {
    "hourly coins": ("binance", ("BTCUSDT", "SOLUSDT", "LUNAUSDT"), "1h"),
    "daily stocks": ("sp500", ("AAPL", "KO", "CVX", "MSFT", "JPM"), "1d"),
    "currencies, without volume": ("oanda", ("NZDUSD",), "1h"),
}


def read(folder, venue, symbol, timeframe):
    table = pl.read_parquet(folder / "bars" / venue / symbol / f"{timeframe}.parquet")[-20_000:]
    return Bars(
        venue=venue,
        symbol=symbol,
        timeframe=timeframe,
        timestamp=table["timestamp"].dt.epoch("ms").to_numpy(),
        provenance="exchange",
        **{
            name: table[name].to_numpy().copy()
            for name in ("open", "high", "low", "close", "volume")
        },
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("series", SERIES)
def test_real_bars_come_back_within_the_error_that_the_report_states(series, kind, shared_data):
    venue, symbols, timeframe = SERIES[series]
    rule = TokenizerRule(kind=kind, vocabulary=256)
    bars = [read(shared_data, venue, symbol, timeframe) for symbol in symbols]
    vectors = [bar_vectors(one, rule) for one in bars]
    train = [one.take(slice(0, int(0.7 * len(one.valid)))) for one in vectors]
    later = [one.take(slice(int(0.7 * len(one.valid)), None)) for one in vectors]
    rows = [one.values[one.valid] for one in train]
    tokenizer = fit_tokenizer(rule, rows, fitted=FITTED, seed=0)
    report = tokenizer_report(tokenizer, train, later)
    pairs = zip(bars, vectors, strict=True)
    errors = np.concatenate([errors_bps(tokenizer, one, known) for one, known in pairs])
    n_train, n_later = report["train"]["rows"], report["later"]["rows"]
    assert n_train + n_later == len(errors)
    for number, name in enumerate(PRICES):
        stated = [report[piece]["error_bps"][name]["mean"] for piece in ("train", "later")]
        whole = (n_train * stated[0] + n_later * stated[1]) / len(errors)
        assert whole == pytest.approx(errors[:, number].mean(), rel=1e-3)
        middle = [report[piece]["error_bps"][name]["median"] for piece in ("train", "later")]
        assert middle[1] < 1.5 * middle[0] + 0.1
    assert report["later"]["perplexity"] > 0.2 * tokenizer.vocabulary
