"""`walkforge tune`, as a user types it."""

import json
import re

import pytest

from command import call
from walkforge import study

SMALL = [
    "--set", "folds.count=2", "--set", "training.epochs=2", "--set", "data.start=2010-01-01",
    "--set", "folds.test=300", "--set", "tune.at_once=4", "--set", "model.widths=[8]",
]  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the folder of a search, and what was printed meanwhile."""
    folder = tmp_path_factory.mktemp("cli") / "mine"
    return folder, call("tune", "demo", "--trials", "4", "--out", str(folder), *SMALL)


def test_a_search_prints_its_trials_best_first_and_the_best_study_last(found):
    folder, (status, out, err) = found
    assert status == 0, err
    lines = out.splitlines()
    assert lines[-1] == str(folder / "best.yaml")
    assert lines[-2].startswith("4 trials: 4 complete, 0 pruned, 0 failed")
    ranks = [line.split() for line in lines if re.match(r" +\d ", line)]
    assert [row[0] for row in ranks] == ["1", "2", "3", "4"]
    losses = [float(row[2]) for row in ranks]
    assert losses == sorted(losses)
    assert int(ranks[0][1]) == json.loads((folder / "tune.json").read_text())["best"]["number"]
    assert study.load(folder / "best.yaml").judge.n_trials == 4


def test_progress_is_plain_and_the_sampler_says_nothing(found):
    _, (_, out, err) = found
    assert "== trials 1, 3 of 4" in err
    assert re.search(r"trial 3 complete after 2 epochs, validation loss \d\.\d{5}", err)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x1b]", out + err), "control characters in a file"
    assert "Warning" not in err
    assert "[I 2" not in err


def test_more_trials_go_on_and_json_is_the_summary(found):
    folder, _ = found
    words = ["tune", "--resume", str(folder), "--trials", "5", "--json"]
    status, out, err = call(*words)
    assert status == 0, err
    printed = json.loads(out)
    assert printed["n_trials"] == 5
    assert printed["tune"] == str(folder)
    assert {**json.loads((folder / "tune.json").read_text()), "tune": str(folder)} == printed
    again = call(*words)
    assert again[:2] == (0, out)
    assert "== trial" not in again[2]


def test_many_settings_share_a_column(tmp_path):
    status, out, err = call(
        "tune", "demo", "--trials", "2", "--out", str(tmp_path / "t"), *SMALL,
        "--set", "tune.space.training={batch_size: {choices: [128, 256]}, "
        "clip_norm: {low: 0.5, high: 2}, patience: {low: 1, high: 3}}",
        "--set", "tune.space.model={dropout: {low: 0, high: 0.5}, norm: {choices: [layer, none]}}",
    )  # fmt: skip
    assert status == 0, err
    words = " ".join(out.split())
    assert "validation loss settings epochs" in words
    assert "batch size 128, clip norm" in words


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "name a study to tune, as in `walkforge tune demo`, or --resume DIR"),
        (["demoo"], 2, "no preset and no file named 'demoo' (did you mean 'demo'"),
        (["demo", "--resume", "x"], 2, "beside it stand only --trials and --json"),
        (["--resume", "x", "--set", "a=1"], 2, "beside it stand only --trials and --json"),
        (["--resume", "nowhere"], 1, "nowhere: no search here"),
        (["demo", "--set", "tune.space.training.epoch={low: 1, high: 3}"], 2,
         "unknown key 'training.epoch' (did you mean 'training.epochs'?)"),
        (["demo", "--set", "tune.space.labels.horizon_bars={low: 1, high: 3}"], 2,
         "labels.horizon_bars may not be tuned: it changes the question, not the answer"),
        (["gru"], 2, "no bars: name a venue's folder with --bars FOLDER"),
        (["demo", "--trials", "0"], 2, "--trials"),
    ],
)  # fmt: skip
def test_wrong_words_are_answered_in_one_line(words, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = call("tune", *words)
    assert (found, out) == (status, "")
    assert message in err
    assert not list(tmp_path.rglob("study.yaml"))


def test_a_folder_in_use_is_refused(found):
    status, _, err = call("tune", "demo", "--out", str(found[0]))
    assert status == 1
    assert "not empty" in err
    assert f"walkforge tune --resume {found[0]}" in err


def test_an_interrupted_search_names_the_command_that_continues_it(tmp_path, monkeypatch):
    def interrupted(plan, folder, watcher):
        folder.mkdir()
        (folder / "study.yaml").write_text(study.as_yaml(plan))
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "tune", interrupted)
    status, _, err = call("tune", "demo", "--out", str(tmp_path / "a b"))
    assert status == 130
    assert f"interrupted; continue with: walkforge tune --resume '{tmp_path / 'a b'}'" in err
