"""A bundle is whole, or it is refused."""

import json

import pytest
import torch

from walkforge.base import BundleError
from walkforge.registry import read_bundle, write_bundle

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
