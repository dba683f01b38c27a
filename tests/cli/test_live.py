"""`judge --live` and the note of an expired bundle, as a user types and reads them."""

import json

import polars as pl
import pytest

from command import call
from drawn import random_bars
from going_on import going_on, write_venue
from study_runs import small_bars

LATER = 320


@pytest.fixture(scope="module")
def bars():
    later = {"AAA": random_bars(LATER, seed=11), "BBB": random_bars(LATER, seed=12)}
    return {name: going_on(one, later[name]) for name, one in small_bars().items()}


@pytest.fixture(scope="module")
def venue(bars, tmp_path_factory):
    return write_venue(tmp_path_factory.mktemp("bars") / "venue", bars)


@pytest.fixture(scope="module")
def said(small_run, venue, tmp_path_factory):
    """Return what `walkforge predict` printed of the newest bars of AAA, as a file."""
    bundle = small_run / "models" / "AAA_fold1_ensemble"
    status, out, err = call("predict", str(bundle), str(venue), "--last", "250")
    assert status == 0
    assert err.startswith("walkforge: ")
    assert "expired at" in err, "the newest bars come later than the test was long"
    assert len(err.splitlines()) == 1
    path = tmp_path_factory.mktemp("said") / "p.csv"
    lines = out.splitlines()
    path.write_text("\n".join(lines[: 1 + 200]))  # the last of these are before the expiry
    return path


def _words(run, said, venue, *more):
    return ["judge", str(run), "--live", str(said), "--bars", str(venue), *more]


def test_a_table_of_what_moved_and_a_sentence_at_the_end(small_run, said, venue, tmp_path):
    place = tmp_path / "live.json"
    status, out, err = call(*_words(small_run, said, venue, "--out", str(place), "--strict"))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("200 predictions from ")
    assert "AAA_fold1_ensemble expires at " in lines[1]
    assert "log loss" in out
    assert "decisions without overlap hit" in out
    found = json.loads(place.read_text())
    most = min(found["inputs"], key=lambda one: one["p_value"])
    assert most["name"] in out
    assert lines[-1] == found["sentence"]
    assert found["stands"] is True, found["sentence"]
    assert lines[-1].startswith("The verdict (not fit) still stands: none of 17 inputs drifted")
    assert all(len(line) <= 80 for line in lines if " stays " in line)


def test_json_is_what_the_file_holds(small_run, said, venue, tmp_path):
    place = tmp_path / "live.json"
    _, out, _ = call(*_words(small_run, said, venue, "--out", str(place), "--json"))
    assert json.loads(out) == json.loads(place.read_text())


def test_strict_exits_1_where_the_verdict_no_longer_stands(small_run, said, venue, tmp_path):
    sure = pl.read_csv(said).with_columns(p_down=0.98, p_hold=0.01, p_up=0.01)
    sure.write_csv(tmp_path / "sure.csv")
    words = _words(small_run, tmp_path / "sure.csv", venue, "--out", str(tmp_path / "live.json"))
    status, out, _ = call(*words)
    assert status == 0
    assert "no longer stands, because " in out.splitlines()[-1]
    assert "drifted" in out
    assert call(*words, "--strict")[0] == 1


def test_predict_says_nothing_of_a_bundle_that_is_still_good(small_run, bars, tmp_path):
    early = {name: one.take(slice(0, 2200)) for name, one in bars.items()}
    venue = write_venue(tmp_path / "venue", early)
    bundle = small_run / "models" / "AAA_fold1_seed0"
    status, _, err = call("predict", str(bundle), str(venue), "--last", "1")
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["judge", "--live", "p.csv"], 2, ["--live", "RUN", "--bars"]),
        (["judge", "RUN", "--live", "p.csv"], 2, ["--bars"]),
        (["judge", "RUN", "--live", "p.csv", "--bars", ".", "--profile", "v8"], 2, ["--profile"]),
        (["judge", "RUN", "--live", "p.csv", "--bars", "."], 1, ["p.csv", "no such file"]),
        (["judge", "nowhere", "--live", "SAID", "--bars", "."], 1, ["nowhere", "no bundle here"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_words(small_run, said, words, status, expected):
    real = {"RUN": str(small_run), "SAID": str(said)}
    found, out, err = call(*(real.get(word, word) for word in words))
    assert (found, out) == (status, "")
    assert len(err.strip().splitlines()) == 1
    assert all(word in err for word in expected), err
    assert not (small_run / "live.json").exists()
