"""`walkforge doctor`, as a user reads it."""

import builtins
import json
import re
import sys

import pytest

from command import call
from walkforge import study

SPEED = {
    "matmul_gflop_per_s": 80.0,
    "memory_gb_per_s": 20.0,
    "packed_rows_per_s": 1_000_000.0,
    "plain_rows_per_s": 50_000.0,
    "packed_ratio": 20.0,
    "n_members": 45,
    "feature_rows_per_s": 1_000_000.0,
    "backtest_bars_per_s": 50_000_000.0,
}
GPU = {
    "name": "NVIDIA H100 80GB HBM3",
    "memory_bytes": 80 * 2**30,
    "free_bytes": 79 * 2**30,
    "capability": "9.0",
}


@pytest.fixture(scope="module")
def healthy():
    """Return the facts of this machine, without whatever is wrong with it."""
    return study.doctor(speed=False) | {"findings": [], "can_train": True}


@pytest.fixture
def say(healthy, monkeypatch):
    """Return a call of the command on a machine that differs from a healthy one."""

    def run(*words, **changes):
        monkeypatch.setattr(study, "doctor", lambda **options: healthy | changes)
        monkeypatch.setenv("COLUMNS", "80")
        return call("doctor", *words)

    return run


def test_the_answer_is_data_with_json():
    status, out, err = call("doctor", "--no-speed", "--json")
    facts = json.loads(out)
    assert status == 0, facts["findings"]
    assert facts["speed"] is None
    assert facts["path"]["device"]
    assert err == "== looking at the machine\n"


def test_it_reads_as_plain_text_of_eighty_columns(say):
    status, out, _ = say(speed=SPEED, gpus=[GPU])
    assert status == 0
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", out)
    assert not re.search(r" $", out, flags=re.MULTILINE)
    long = [line for line in out.splitlines() if len(line) > 80 and "/" not in line]
    assert long == []
    for title in ("machine", "software", "training takes", "speed"):
        assert title in out.splitlines()
    assert "NVIDIA H100 80GB HBM3, 80.0 GiB, 79.0 GiB free" in out
    assert "1,000,000 rows/s, 45 small models as one pack" in out
    assert out.splitlines()[-1] == "training can run here; nothing looks wrong"


def test_a_warning_is_shown_with_its_hint_and_training_can_run(say):
    finding = {"severity": "warning", "what": "only 1.0 GiB of disk are free", "hint": "go away"}
    status, out, _ = say(findings=[finding])
    assert status == 0
    assert out.splitlines()[-3:] == [
        "look at  only 1.0 GiB of disk are free",
        "         go away",
        "training can run here",
    ]


def test_a_machine_that_cannot_train_makes_the_command_fail(say):
    finding = {"severity": "error", "what": "cuda:0 cannot compute", "hint": "update"}
    for words in ([], ["--json"]):
        status, out, _ = say(*words, findings=[finding], can_train=False)
        assert status == 1
        assert "cuda:0 cannot compute" in out
    assert say(findings=[finding], can_train=False)[1].splitlines()[-1] == (
        "training cannot run here"
    )


def test_a_library_that_cannot_be_loaded_is_one_line(monkeypatch):
    real = builtins.__import__

    def broken(name, *rest):
        if name == "walkforge" and "study" in (rest[2] or ()):
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    status, out, err = call("doctor")
    assert status == 1
    assert "libgomp.so.1" in out
    assert "Traceback" not in out + err
    assert sys.modules["walkforge.cli"]
