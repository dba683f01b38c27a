"""A bundle is whole, or it is refused."""

import json

import pytest
import torch

from walkforge.base import BundleError
from walkforge.registry import KnownSeries, known_series, read_bundle, write_bundle, write_market

KEYS = ("model", "features", "feature_set", "window_bars", "scaler", "calibrator", "label",
        "classes", "symbols", "timeframe", "calendar", "trained")  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    weights = {"1.weight": torch.randn(3, 4), "1.bias": torch.zeros(3)}
    write_bundle(tmp_path / "b", dict.fromkeys(KEYS, 1), weights)
    return tmp_path / "b"


def test_a_bundle_comes_back_as_it_was_written(bundle):
    read = read_bundle(bundle)
    assert read.description == dict.fromkeys(KEYS, 1)
    assert sorted(read.weights) == ["1.bias", "1.weight"]
    assert read.weights["1.weight"].shape == (3, 4)


@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
def test_a_changed_byte_is_refused(bundle, name):
    whole = bytearray((bundle / name).read_bytes())
    whole[-3] ^= 1
    (bundle / name).write_bytes(whole)
    with pytest.raises(BundleError, match=f"{name}.*was changed or cut off"):
        read_bundle(bundle)


def test_a_truncated_bundle_is_refused(bundle):
    weights = bundle / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(BundleError, match="was changed or cut off"):
        read_bundle(bundle)


def test_a_missing_file_is_refused(bundle):
    (bundle / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match="missing, though the manifest names it"):
        read_bundle(bundle)


def test_a_damaged_manifest_is_refused(bundle):
    (bundle / "manifest.json").write_text(json.dumps({"sha256": {}}))
    with pytest.raises(BundleError, match="not a manifest"):
        read_bundle(bundle)


def test_a_folder_without_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no bundle here"):
        read_bundle(tmp_path)


def test_a_description_that_cannot_predict_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(BundleError, match="lacks model"):
        write_bundle(tmp_path / "b", {}, {})
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces_the_whole_bundle(bundle):
    write_bundle(bundle, dict.fromkeys(KEYS, 2), {"w": torch.ones(1)})
    assert read_bundle(bundle).description["model"] == 2
    assert [item.name for item in bundle.parent.iterdir()] == ["b"]


# A MarketGPT's bundle: one model for many series.

MARKET_KEYS = ("model", "tokenizer", "sampling", "prompt_tokens", "horizon_bars", "label",
               "classes", "symbols", "timeframe", "calendar", "trained", "series")  # fmt: skip
MARKET = dict.fromkeys(MARKET_KEYS, 1) | {"model": {"name": "marketgpt"}}


def _beside(*names):
    def write(folder):
        for name in names:
            (folder / name).write_text("x")

    return write


@pytest.fixture
def market(tmp_path):
    files = _beside("tokenizer.json", "tokenizer.safetensors", "config.json")
    write_market(tmp_path / "m", MARKET, {"tokens.weight": torch.ones(3, 4)}, beside=files)
    return tmp_path / "m"


def test_a_market_comes_back_with_its_weights_and_files_in_the_manifest(market):
    read = read_bundle(market)
    assert read.description == MARKET
    assert read.weights["tokens.weight"].shape == (3, 4)
    named = json.loads((market / "manifest.json").read_text())["sha256"]
    assert sorted(named) == [
        "best_model.safetensors", "bundle.json", "config.json", "tokenizer.json",
        "tokenizer.safetensors",
    ]  # fmt: skip
    (market / "tokenizer.json").write_text("y")
    with pytest.raises(BundleError, match=r"tokenizer\.json.*was changed or cut off"):
        read_bundle(market)


def test_a_market_without_a_tokenizer_or_a_key_is_not_written(tmp_path):
    with pytest.raises(BundleError, match=r"tokenizer\.safetensors is missing"):
        write_market(tmp_path / "m", MARKET, {}, beside=_beside("tokenizer.json"))
    lacking = {key: 1 for key in MARKET if key != "series"}
    with pytest.raises(BundleError, match="the description lacks series"):
        write_market(tmp_path / "m", lacking, {}, beside=_beside())
    assert list(tmp_path.iterdir()) == []


def test_the_series_that_a_bundle_knows_are_listed_whatever_its_kind():
    alone = {"symbols": ["AAA"], "timeframe": "1m", "calendar": "24/7"}
    assert known_series(alone) == [KnownSeries("AAA", "AAA", "1m", "24/7", judged=True)]
    one = {"symbol": "B", "timeframe": "1h", "calendar": "24/5", "judged": False}
    listed = known_series({**alone, "series": {"B/1h": one}})
    assert listed == [KnownSeries("B/1h", "B", "1h", "24/5", judged=False)]
