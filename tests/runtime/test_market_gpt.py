"""A MarketGPT's bundle: what it reads, what it answers of every series, and what it refuses."""

import json

import numpy as np
import polars as pl
import pytest

from command import call
from drawn import random_bars
from runtime.bundles import HORIZON, PROMPT_TOKENS, tiny_bundle, tiny_market
from walkforge import runtime
from walkforge.base import BarsError, BundleError, FeatureError, UsageError, digest_of_file
from walkforge.market import BarStore, bars_to_frame, read_bars
from walkforge.registry import read_bundle, write_ensemble
from walkforge.runtime import _market

BARS = random_bars(260, seed=8, symbol="AAA", holes_at=(120,))
DECIDES = ["paths", "direction_head"]
# Bars before the first token: those behind its mean volume, more than those behind its sigma.
BEFORE = 15


@pytest.fixture(scope="module", params=DECIDES)
def bundle(request, tmp_path_factory):
    return tiny_market(tmp_path_factory.mktemp("market") / "m", decides=request.param)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return tiny_market(tmp_path_factory.mktemp("paths") / "m")


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """Return a folder with bars of AAA, BBB, CCC and one that the bundle does not know."""
    store = BarStore(tmp_path_factory.mktemp("bars"))
    for number, name in enumerate(["AAA", "BBB", "CCC", "XXX"]):
        store.write(random_bars(150, seed=number, symbol=name))
    return store.root / "drawn"


def _numbers(table):
    return table.select(pl.selectors.float()).to_numpy()


def _assert_same(found, expected):
    """Compare numbers that differ by rounding alone."""
    assert found.columns == expected.columns
    np.testing.assert_allclose(_numbers(found), _numbers(expected), rtol=1e-7, atol=1e-7)


def test_an_answer_has_the_columns_of_its_kind(bundle):
    found = runtime.predict(bundle, BARS)
    names = [f"{kind}_{name}" for kind in ("logit", "p") for name in ("down", "hold", "up")]
    assert found.columns[:8] == ["timestamp", "symbol", *names]
    np.testing.assert_allclose(found.select("p_down", "p_hold", "p_up").sum_horizontal(), 1.0)
    assert np.ptp(found["p_up"].to_numpy()) > 0.05
    prices = found.columns[8:]
    if read_bundle(bundle).description["sampling"] is None:
        assert prices == []
        return
    assert {"open_1", f"close_{HORIZON}", "band_mid_1", "q_50_2", "volatility"} <= set(prices)
    for step in range(1, HORIZON + 1):
        body = found.select(f"open_{step}", f"close_{step}")
        assert (found[f"high_{step}"] >= body.max_horizontal()).all()
        assert (found[f"low_{step}"] <= body.min_horizontal()).all()


def test_one_bar_is_predicted_as_among_many(bundle):
    many = runtime.predict(bundle, BARS)
    for last in (1, 7):
        one = runtime.predict(bundle, BARS, last=last)
        assert len(one) == last
        _assert_same(one, many[-last:])


def test_the_newest_prediction_needs_as_many_bars_as_it_says_and_reads_no_more(bundle):
    predictor = runtime.Predictor(read_bundle(bundle))
    by_paths = predictor.models[0].by_paths
    assert predictor.look_back_bars == BEFORE + (20 if by_paths else PROMPT_TOKENS)
    edge = len(BARS) - predictor.look_back_bars
    expected = runtime.predict(bundle, BARS)[-1:]
    _assert_same(predictor.predict(BARS.take(slice(edge, None)))[-1:], expected)
    fewer = BARS.take(slice(edge + 1, None))
    if by_paths:
        with pytest.raises(
            FeatureError, match=r"34 bars give no row .* needs 35 bars without a ho"
        ):
            predictor.predict(fewer)
    else:
        short = predictor.predict(fewer)
        assert abs(short["p_up"][-1] - expected["p_up"][0]) > 1e-4, "its past was a token shorter"


def test_a_prompt_does_not_reach_across_a_hole(bundle):
    """What came before the hole may change without a trace."""
    other = random_bars(260, seed=9, symbol="AAA", holes_at=(120,))
    columns = {
        name: np.concatenate([getattr(other, name)[:120], getattr(BARS, name)[120:]])
        for name in ("open", "high", "low", "close", "volume")
    }
    mixed = type(BARS)(
        **{key: getattr(BARS, key) for key in ("venue", "symbol", "timeframe", "timestamp")},
        **columns,
        provenance="simulated",
        calendar="24/7",
    )
    ours, theirs = (runtime.predict(bundle, bars) for bars in (BARS, mixed))
    after = pl.col("timestamp").dt.epoch("ms") >= int(BARS.timestamp[120])
    _assert_same(theirs.filter(after), ours.filter(after))
    first = int(ours.filter(after)["timestamp"].dt.epoch("ms")[0])
    assert first == BARS.timestamp[120 + BEFORE + (19 if "close_1" in ours.columns else 0)]


def test_every_series_has_its_own_asset_draws_and_calibrator(bundle):
    twin = random_bars(260, seed=8, symbol="BBB", holes_at=(120,))
    ours, theirs = runtime.predict(bundle, BARS), runtime.predict(bundle, twin)
    assert theirs["symbol"].unique().to_list() == ["BBB"]
    assert np.abs(ours["p_up"] - theirs["p_up"]).max() > 0.01


def test_what_is_drawn_is_decided_by_seed_series_and_moment_alone(tmp_path, paths):
    again = runtime.predict(paths, BARS, last=5)
    assert again.equals(runtime.predict(paths, BARS, last=5))
    other = runtime.predict(tiny_market(tmp_path / "other", seed=5), BARS, last=5)
    assert not np.allclose(other["p_up"], again["p_up"], atol=1e-3)


def test_several_seeds_and_another_family_answer_together(tmp_path, paths):
    members = [paths, tiny_market(tmp_path / "second", seed=5), tiny_bundle(tmp_path / "mlp")]
    write_ensemble(tmp_path / "e", read_bundle(members[2]).description, members, [0.4, 0.4, 0.2])
    bars = random_bars(240, seed=8, symbol="AAA")
    found = runtime.predict(tmp_path / "e", bars)
    each = [runtime.predict(one, bars).join(found, on="timestamp", how="semi") for one in members]
    mean = sum(w * one["p_up"] for w, one in zip([0.4, 0.4, 0.2], each, strict=True))
    np.testing.assert_allclose(found["p_up"], mean, atol=1e-6)
    median = (each[0]["close_2"] + each[1]["close_2"]) / 2
    np.testing.assert_allclose(found["close_2"], median, rtol=1e-6)
    assert runtime.Predictor(read_bundle(tmp_path / "e")).look_back_bars >= BEFORE + 20


def test_what_it_does_not_know_or_was_never_judged_on_is_refused_in_one_line(bundle):
    for symbol, words in {
        "CCC": "knows CCC, but was never judged on it, so there is nothing that calibrates",
        "DDD": "was trained on AAA, BBB 1m, but the bars are DDD 1m",
    }.items():
        with pytest.raises(BundleError, match=words) as refused:
            runtime.predict(bundle, random_bars(100, symbol=symbol))
        assert "\n" not in str(refused.value)
    with pytest.raises(BundleError, match="but the bars are AAA 5m"):
        runtime.predict(bundle, random_bars(100, symbol="AAA", timeframe="5m"))


def test_another_models_tokenizer_is_refused(tmp_path):
    bundle = tiny_market(tmp_path / "m")
    forged = {**read_bundle(bundle).description, "tokenizer": {"digest": "0" * 64}}
    path = bundle / "bundle.json"
    path.write_text(json.dumps(forged))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sha256"]["bundle.json"] = digest_of_file(path)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="its tokenizer is not the one"):
        runtime.predict(bundle, BARS)


def test_it_cannot_be_exported_as_one_graph(bundle):
    with pytest.raises(BundleError, match="its model is marketgpt, which reads the tokens of bars"):
        runtime.export_onnx(bundle)


# Which bars are meant.


def _asked(bundle, path, symbol=None):
    return [bars.symbol for bars in runtime.bars_for(read_bundle(bundle), path, symbol)]


def test_a_venues_folder_gives_all_symbols_and_a_file_its_own(paths, venue):
    assert _asked(paths, venue) == ["AAA", "BBB"]
    assert _asked(paths, venue / "BBB") == ["BBB"]
    assert _asked(paths, venue / "BBB" / "1m") == ["BBB"]
    assert _asked(paths, venue, "BBB") == ["BBB"]


def test_a_file_whose_name_tells_nothing_needs_a_symbol(paths, venue, tmp_path):
    plain = tmp_path / "mine.parquet"
    bars = read_bars(venue, symbol="AAA", timeframe="1m")
    bars_to_frame(bars).write_parquet(plain)
    with pytest.raises(UsageError, match=r"does not tell its symbol .* AAA, BBB; .*--symbol"):
        _asked(paths, plain)
    assert _asked(paths, plain, "AAA") == ["AAA"]
    timed = tmp_path / "AAA-5m.parquet"
    timed.write_bytes(plain.read_bytes())
    with pytest.raises(BarsError, match="its name tells 5m, expected 1m"):
        _asked(paths, timed)


@pytest.mark.parametrize(
    ("place", "symbol", "words"),
    [
        (".", "AAB", r"does not know 'AAB' \(did you mean 'AAA'\?\); it was trained on AAA, BBB"),
        (".", "CCC", "knows CCC, but was never judged"),
        ("CCC", None, "knows CCC, but was never judged"),
        ("XXX/1m", None, "does not know 'XXX'"),
        ("XXX", None, "does not know 'XXX'"),
    ],
)
def test_a_symbol_that_cannot_be_predicted_is_refused(paths, venue, place, symbol, words):
    with pytest.raises(BundleError, match=words):
        _asked(paths, venue / place, symbol)


def test_a_folder_without_its_symbols_is_refused(paths, tmp_path):
    with pytest.raises(BarsError, match=r"none of the bundle's symbols is there \(AAA, BBB\)"):
        _asked(paths, tmp_path)


# The command.


def test_the_command_prints_all_symbols_of_a_folder_and_one_that_is_asked_for(paths, venue):
    status, out, err = call("predict", str(paths), str(venue), "--last", "2")
    assert (status, err) == (0, "")
    table = pl.read_csv(out.encode())
    assert table["symbol"].to_list() == ["AAA", "AAA", "BBB", "BBB"]
    words = ["predict", str(paths), str(venue), "--symbol", "BBB", "--last", "1", "--json"]
    one = json.loads(call(*words)[1])
    assert one["symbol"] == "BBB"
    assert one["close_1"] == pytest.approx(table["close_1"][-1], rel=1e-4)
    status, out, err = call("predict", str(paths), str(venue), "--symbol", "CCC")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1


def test_a_symbol_without_enough_bars_is_said_and_left_out(paths, tmp_path):
    store = BarStore(tmp_path)
    store.write(random_bars(60, symbol="AAA"))
    store.write(random_bars(20, symbol="BBB"))
    status, out, err = call("predict", str(paths), str(tmp_path / "drawn"), "--last", "1")
    assert status == 0
    assert pl.read_csv(out.encode())["symbol"].to_list() == ["AAA"]
    assert len(err.splitlines()) == 1
    assert "left out: drawn/BBB/1m: 20 bars give no row" in err


def test_an_interrupted_prediction_says_so_and_leaves_no_file(paths, venue, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_market.MarketModel, "_forecasts", interrupted)
    target = tmp_path / "out.parquet"
    status, out, err = call("predict", str(paths), str(venue), "--out", str(target))
    assert (status, out) == (130, "")
    assert err == "walkforge: interrupted\n"
    assert list(tmp_path.iterdir()) == []
