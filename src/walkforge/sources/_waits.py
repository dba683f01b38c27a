"""Waiting: as long as a server asks for, no longer than it helps, and with an ear for Ctrl-C."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState

TRIES = 5
LONGEST_WAIT_S = 300.0
"""A server that asks for a longer wait is left alone until the next fetch."""
MOST_WAITING_S = 600.0
"""What all waits for one answer may add up to."""
_LISTEN_EVERY_S = 0.5

Result = TypeVar("Result")


def result_of(future: Future[Result]) -> Result:
    """Return what a thread returns, or raise what it raises; Ctrl-C ends the wait.

    Once polars is imported, no signal ends a wait that has no end of its own, and Python hears of
    Ctrl-C when a wait is over. So this one is many short ones.
    """
    while not future.done():
        wait([future], timeout=_LISTEN_EVERY_S)
    return future.result()


def unless_halted(halt: Event, work: Callable[[], Result]) -> Result | None:
    """Return what `work` returns, or raise what it raises; None soon after `halt` is set.

    It is for work that cannot be told to stop: its thread goes on then, and nobody waits for it,
    not even the end of the program.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again by whoever waits
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    while not (future.done() or halt.is_set()):
        wait([future], timeout=_LISTEN_EVERY_S)
    return future.result() if future.done() else None


def moment_ms(text: str) -> int | None:
    """Return the time that a header such as `Date` tells, UTC, None where it tells none."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def retry_after_s(text: str, now_ms: int) -> float | None:
    """Return the wait that a header `Retry-After` asks for, in seconds or until a moment.

    `now_ms` is the server's time. None where it asks for none.
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    until_ms = moment_ms(text)
    return None if until_ms is None else max(0.0, (until_ms - now_ms) / 1000)


def is_enough(tries: int, waited_s: float, next_wait_s: float) -> bool:
    """Return whether no other try is made after so many tries and waits."""
    return tries >= TRIES or waited_s + next_wait_s > MOST_WAITING_S


def stop_when_enough(state: RetryCallState) -> bool:
    """Return whether tenacity shall stop; see `is_enough`."""
    return is_enough(state.attempt_number, state.idle_for, state.upcoming_sleep)
