"""The watchdog speaks when nothing comes, says what was going on, and leaves nothing behind."""

import threading

import pytest

from drawn import random_bars
from study_runs import small_study
from walkforge import study
from walkforge.base import FoldError, Silent
from walkforge.study._watchdog import Watchdog

REPORT = {"epoch": 3, "epochs": 100, "members": [], "seconds": 1.0, "rows_per_s": 1.0}


class _Listener(Silent):
    """Keeps what it is told, and lets a test wait for a note."""

    def __init__(self):
        self.notes, self.steps = [], []
        self.spoken = threading.Event()

    def note(self, text):
        self.notes.append(text)
        self.spoken.set()

    def step(self, epoch, step, n_steps):
        self.steps.append((epoch, step, n_steps))


class _Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def listener():
    return _Listener()


@pytest.fixture
def clock():
    return _Clock()


@pytest.fixture
def dog(listener, clock):
    """Return a watchdog whose thread does not run: a test asks it by hand."""
    return Watchdog(listener, clock=clock)


def _after(seconds, dog, clock):
    clock.now_s += seconds
    dog.check()


def _training(dog):
    dog.stage("training")
    dog.step(2, 10, 10)
    dog.epoch(REPORT)
    dog.step(3, 7, 10)


def _then(*calls):
    def act(dog):
        _training(dog)
        for name, *words in calls:
            getattr(dog, name)(*words)

    return act


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda dog: None, "nothing has been heard for 30 s; it is reading the bars"),
        (
            lambda dog: dog.stage("measures"),
            "stage measures has taken 30 s so far; its work shows no steps",
        ),
        (
            _training,
            "no step has finished for 30 s; the last was step 7 of 10 in epoch 3 of 100 "
            "(stage training)",
        ),
        (
            _then(("doing", "validating")),
            "no step has finished for 30 s; it is validating in epoch 3 of 100 (stage training)",
        ),
        (
            _then(("epoch", REPORT)),
            "no step has finished for 30 s; epoch 3 of 100 is done (stage training)",
        ),
        (
            _then(("epoch", REPORT), ("doing", "drawing the order of rows")),
            "no step has finished for 30 s; it is drawing the order of rows in epoch 4 of 100 "
            "(stage training)",
        ),
        (
            _then(("stage", "baselines"), ("item", 3, 10, "lightgbm, BTC fold 3")),
            "lightgbm, BTC fold 3 (4 of 10) has taken 30 s so far; such a piece of work shows no "
            "steps (stage baselines)",
        ),
        (
            _then(("stage", "backtest"), ("doing", "filling orders at random")),
            "it has been filling orders at random for 30 s (stage backtest)",
        ),
        (
            _then(("doing", "validating"), ("note", "by the way")),
            "no step has finished for 30 s; it is validating in epoch 3 of 100 (stage training)",
        ),
    ],
)
def test_it_says_what_was_going_on(act, words, dog, clock, listener):
    act(dog)
    listener.notes.clear()
    _after(29.9, dog, clock)
    assert listener.notes == []
    _after(0.1, dog, clock)
    assert listener.notes == [words]


def test_it_speaks_again_more_and_more_rarely(dog, clock, listener):
    dog.stage("measures")
    spoke_at_s = []
    for second in range(1, 6001):
        _after(1, dog, clock)
        if listener.spoken.is_set():
            spoke_at_s.append(second)
            listener.spoken.clear()
    assert spoke_at_s == [30, 60, 120, 300, 600, 1200, 3000, 6000]
    assert "has taken 20 min so far" in listener.notes[5]


def test_after_a_long_sleep_of_the_machine_it_speaks_once(dog, clock, listener):
    _after(3600, dog, clock)
    dog.check()
    assert len(listener.notes) == 1


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("stage", ("backtest",)),
        ("note", ("hello",)),
        ("doing", ("validating",)),
        ("item", (0, 1, "lightgbm")),
        ("step", (3, 8, 10)),
        ("epoch", (REPORT,)),
    ],
)
def test_every_sign_of_life_ends_the_silence_and_begins_a_new_one(
    sign, words, dog, clock, listener
):
    _training(dog)
    _after(40, dog, clock)
    clock.now_s += 34
    getattr(dog, sign)(*words)
    assert listener.notes[1] == "went on after 74 s"
    listener.notes.clear()
    getattr(dog, sign)(*words)
    _after(29, dog, clock)
    assert "went on" not in " ".join(listener.notes)
    assert len(listener.notes) == (sign == "note")
    _after(1, dog, clock)
    assert "30 s" in listener.notes[-1]


def test_steps_pass_through_unchanged(dog, listener):
    dog.step(1, 2, 3)
    dog.step(1, 3, 3)
    assert listener.steps == [(1, 2, 3), (1, 3, 3)]


def _watchdogs():
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_its_thread_speaks_by_itself_and_ends_with_the_run(listener):
    with Watchdog(listener, limit_s=0.05) as dog:
        dog.stage("measures")
        assert listener.spoken.wait(30)
        assert len(_watchdogs()) == 1
    assert listener.notes[0].startswith("stage measures has taken")
    assert _watchdogs() == []


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_no_thread_is_left_behind_by_an_error_or_ctrl_c(listener, problem):
    with pytest.raises(problem), Watchdog(listener, limit_s=0.05):
        raise problem
    assert _watchdogs() == []


def test_a_run_is_watched_and_leaves_no_thread(listener, tmp_path):
    seen = []
    listener.stage = lambda name: seen.append((name, len(_watchdogs())))
    bars = {"AAA": random_bars(300, seed=1, symbol="AAA")}
    with pytest.raises(FoldError):
        study.run(small_study(), tmp_path / "out", watcher=listener, bars=bars)
    assert seen[0] == ("features, labels and folds", 1)
    assert _watchdogs() == []
