"""A bundle may carry what later predictions are compared with, and says when it is too old."""

from pathlib import Path

import pytest
import torch

from walkforge.base import BundleError, parse_utc_ms
from walkforge.registry import expired_words, expires_ms, read_bundle, write_bundle

KEYS = ("model", "features", "feature_set", "window_bars", "scaler", "calibrator", "label",
        "classes", "symbols", "timeframe", "calendar", "trained")  # fmt: skip
DESCRIPTION = dict.fromkeys(KEYS, 1)
REFERENCE = {"series": {"AAA": {"labels": {"edges": [0.5], "counts": [3, 4]}}},
             "calibration": {"n": 0}, "test": {"n": 0}}  # fmt: skip
DATED = {"tested": ["2024-03-01 00:00", "2024-04-01 00:00"], "expires_at": "2024-05-02 00:00"}


def _written(folder, reference):
    write_bundle(folder, DESCRIPTION, {"w": torch.ones(1)}, reference=reference)
    return folder


def test_a_reference_comes_back_as_it_was_written(tmp_path):
    assert read_bundle(_written(tmp_path / "b", REFERENCE)).reference == REFERENCE


def test_a_bundle_without_a_reference_is_read(tmp_path):
    folder = _written(tmp_path / "b", None)
    assert read_bundle(folder).reference is None
    assert not (folder / "reference.json").exists()


def test_a_changed_reference_is_refused(tmp_path):
    folder = _written(tmp_path / "b", REFERENCE)
    path = folder / "reference.json"
    path.write_text(path.read_text().replace("[3, 4]", "[4, 3]"))
    with pytest.raises(BundleError, match=r"reference\.json.*was changed or cut off"):
        read_bundle(folder)


def test_a_reference_that_lacks_a_part_is_not_written(tmp_path):
    with pytest.raises(BundleError, match="the reference lacks calibration, test"):
        _written(tmp_path / "b", {"series": {}})
    assert list(tmp_path.iterdir()) == []


def test_a_decision_after_the_expiry_is_told_in_one_line():
    end_ms = parse_utc_ms("2024-05-02")
    assert expires_ms(DATED) == end_ms
    assert expired_words(Path("b"), DATED, end_ms - 1) == ""
    words = expired_words(Path("b"), DATED, end_ms)
    assert words.startswith("b expired at 2024-05-02 00:00: it was tested for 31 days, up to ")
    assert "\n" not in words
    assert expires_ms({}) is None
    assert expired_words(Path("b"), {}, end_ms) == ""
