"""Ctrl-C ends a run between two steps, a second one at once, and the signals are given back."""

import os
import signal
import threading

import pytest

from walkforge.base import Silent
from walkforge.cli._interrupt import Interruptible

REPORT = {"epoch": 1, "epochs": 2}


pytestmark = pytest.mark.usefixtures("in_front")


class _Listener(Silent):
    def __init__(self):
        self.steps, self.notes = [], []
        self.spoken = threading.Event()

    def step(self, epoch, step, n_steps):
        self.steps.append(step)

    def note(self, text):
        self.notes.append(text)
        self.spoken.set()


def _ask_to_stop(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def _interrupted(listener, work):
    """Return whether `work`, done with a watcher that is listening, was stopped."""
    try:
        with Interruptible(listener) as watcher:
            work(watcher)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_step_and_says_so(number):
    listener = _Listener()

    def work(watcher):
        watcher.step(1, 1, 3)
        _ask_to_stop(number)
        assert listener.spoken.wait(30)
        watcher.step(1, 2, 3)

    assert _interrupted(listener, work)
    assert listener.steps == [1]
    assert listener.notes == ["stopping after this step; Ctrl-C again stops at once"]


def test_the_second_signal_stops_at_once():
    before = signal.getsignal(signal.SIGINT)

    def work(watcher):
        _ask_to_stop()
        _ask_to_stop()
        pytest.fail("the second one was not heard")

    assert _interrupted(_Listener(), work)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("sign", "words"),
    [("stage", ("x",)), ("note", ("x",)), ("doing", ("x",)), ("item", (0, 1, "x"))],
)
def test_every_sign_of_life_is_a_place_to_stop(sign, words):
    def work(watcher):
        _ask_to_stop()
        getattr(watcher, sign)(*words)

    assert _interrupted(_Listener(), work)


def test_an_epochs_checkpoint_is_written_before_the_run_stops():
    written = []

    def work(watcher):
        _ask_to_stop()
        watcher.epoch(REPORT)
        watcher.doing("writing the checkpoint")
        written.append(1)
        watcher.doing("drawing the order of rows")
        written.append(2)

    assert _interrupted(_Listener(), work)
    assert written == [1]


def test_asked_in_the_middle_of_an_epoch_it_stops_at_the_next_step():
    listener = _Listener()

    def work(watcher):
        watcher.epoch(REPORT)
        watcher.step(2, 1, 3)
        _ask_to_stop()
        watcher.step(2, 2, 3)

    assert _interrupted(listener, work)
    assert listener.steps == [1]


def test_work_that_shows_no_further_sign_is_finished_in_peace():
    with Interruptible(_Listener()) as watcher:
        watcher.stage("verdict and report")
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_is_ignored_stays_ignored_and_all_are_given_back():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with Interruptible(_Listener()) as watcher:
            os.kill(os.getpid(), signal.SIGTERM)
            watcher.step(1, 1, 1)
            assert signal.getsignal(signal.SIGINT) is not interrupt
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_threads_note_is_passed_on_and_does_not_stop_that_thread():
    listener = _Listener()
    with Interruptible(listener) as watcher:
        os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=watcher.note, args=("from the watchdog",))
        thread.start()
        thread.join()
        assert "from the watchdog" in listener.notes


def test_outside_the_main_thread_it_only_passes_on():
    listener, handlers = _Listener(), []

    def work():
        with Interruptible(listener) as watcher:
            handlers.append(signal.getsignal(signal.SIGINT))
            watcher.step(1, 1, 1)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
    assert listener.steps == [1]
