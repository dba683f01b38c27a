"""The guard alone, over all series of a folder."""

import json

import pytest

from command import call
from drawn import random_bars
from own_parts import EXAMPLES, FEATURES, written
from walkforge.audit import audit_features, audit_labels, bars_to_audit
from walkforge.base import FeatureError, UsageError
from walkforge.market import BarStore

MIXED = """
import numpy as np
from own_parts import returns, centred, mean_20, expanding

def make(bars):
    return {**returns(bars), **centred(bars), "mean": mean_20(bars)["mean"], **expanding(bars)}
"""


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """Return a venue's folder with two symbols of minutes."""
    folder = tmp_path_factory.mktemp("bars")
    store = BarStore(folder)
    for seed, symbol in enumerate(("AAA", "BBB")):
        store.write(random_bars(900, seed=seed, symbol=symbol))
    return folder / "drawn"


def test_every_column_is_told_with_its_look_back(venue, tmp_path):
    found = audit_features(written(tmp_path, "mixed.py", MIXED), bars_to_audit(venue), n_cuts=4)
    assert not found.causal
    assert [(c.name, c.look_ahead is not None, c.settles_bars) for c in found.columns] == [
        ("change", False, 2),
        ("smooth", True, found.columns[1].settles_bars),
        ("mean", False, 20),
        ("mean_so_far", False, None),
    ]
    assert found.series == ("drawn/AAA/1m", "drawn/BBB/1m")


def test_a_leak_in_one_series_only_is_found(venue, tmp_path):
    source = FEATURES.replace(
        '"body"', '"late": np.roll(bars.close, -(bars.symbol == "BBB")), "body"'
    )
    found = audit_features(written(tmp_path, "one.py", source), bars_to_audit(venue), n_cuts=2)
    (finding,) = [one.look_ahead for one in found.columns if one.look_ahead]
    assert (finding.column, finding.series) == ("late", "drawn/BBB/1m")


def test_a_file_that_fails_says_where(venue, tmp_path):
    own = written(tmp_path, "bad.py", "def make(bars):\n    return bars.nothing\n")
    with pytest.raises(FeatureError, match=r"bad.py:2: .*AttributeError.*asked for 900 bars of"):
        audit_features(own, bars_to_audit(venue))


def test_labels_are_asked_when_they_are_known(venue, tmp_path):
    bars = bars_to_audit(venue)
    assert audit_labels(f"{EXAMPLES / 'my_labels.py'}:make", bars, n_cuts=3).early is None
    early = written(tmp_path, "early.py", "from own_parts import early_move as make\n")
    assert audit_labels(early, bars, n_cuts=3).early.what == "score"


def test_a_folder_with_several_timeframes_asks_for_one(venue, tmp_path):
    store = BarStore(tmp_path)
    store.write(random_bars(900, symbol="AAA"))
    store.write(random_bars(300, symbol="AAA", timeframe="1h"))
    with pytest.raises(UsageError, match="has 1m, 1h; name one with --timeframe"):
        bars_to_audit(tmp_path / "drawn")
    assert len(bars_to_audit(tmp_path / "drawn", "1h")["AAA"]) == 300


def test_the_command_prints_a_table_and_exits_0_where_nothing_looks_ahead(venue):
    own = f"{EXAMPLES / 'my_features.py'}:make"
    status, out, _ = call("audit", "--features", own, "--bars", str(venue), "--cuts", "3")
    assert status == 0
    assert "trend_50" in out
    assert "50 bars" in out
    assert "none of 5 columns looks ahead at 3 random cuts of drawn/AAA/1m, drawn/BBB/1m" in out


def test_the_command_exits_1_with_column_bar_and_values_where_something_does(venue, tmp_path):
    own = written(tmp_path, "mixed.py", MIXED)
    status, out, _ = call("audit", "--features", own, "--bars", str(venue), "--cuts", "3")
    assert status == 1
    assert "smooth looks ahead: for the bar of 2024-01-01" in out
    assert "1 of 4 columns look ahead" in out


def test_the_command_answers_in_json(venue, tmp_path):
    own = written(tmp_path, "mixed.py", MIXED)
    labels = f"{EXAMPLES / 'my_labels.py'}:make"
    words = ["audit", "--features", own, "--labels", labels, "--bars", str(venue), "--cuts", "2"]
    status, out, _ = call(*words, "--json")
    found = json.loads(out)
    assert status == 1
    assert found["features"]["columns"][0] == {
        "name": "change", "looks_ahead": False, "settles_bars": 2, "finding": None,
    }  # fmt: skip
    assert found["features"]["columns"][1]["finding"]["series"] == "drawn/AAA/1m"
    assert found["labels"]["sound"] is True


def test_the_command_needs_a_part_and_bars(venue):
    asked = {
        ("--bars", str(venue)): "name a STUDY, or --features or --labels PATH.py:NAME",
        ("demo", "--features", "a.py:make"): "name a STUDY, or --features or --labels PATH.py:NAME",
        ("--features", "a.py:make"): "name --bars FOLDER, the bars to ask --features",
    }
    for words, told in asked.items():
        status, _, err = call("audit", *words)
        assert (status, told in err) == (2, True), err


def test_an_error_of_the_user_is_one_line_without_a_traceback(venue, tmp_path):
    own = written(tmp_path, "bad.py", "def make(bars):\n    return 1 / 0\n")
    status, _, err = call("audit", "--features", own, "--bars", str(venue))
    assert status == 1
    assert err.count("\n") == 1
    assert "bad.py:2: bad.py:make failed: ZeroDivisionError: division by zero" in err
    with pytest.raises(FeatureError):
        call("--debug", "audit", "--features", own, "--bars", str(venue))
