"""Groups of members that train at the same time, each on a core of its own.

A step that is split over cores ends with all of them waiting for the slowest, thousands of times a
second; where another program wants a core too, that waiting costs many times the work. Members
share no number, so that whole groups can go their own way instead, until an epoch is over.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

import torch

Result = TypeVar("Result")

# How often whoever waits has a look around.
_LOOK_S = 0.1


def cut_for_cores(
    lengths: Sequence[int], *, most: int, n_cores: int
) -> tuple[list[slice], list[slice]]:
    """Return groups of neighbours that go side by side, and those that come after, one by one.

    `lengths` are the members' steps, falling; a group has at most `most` members. Groups are
    smaller where members differ in length, so that no core is left with nothing to do.
    """
    n_members = len(lengths)
    alike = n_cores == 1 or 4 * lengths[-1] >= 3 * lengths[0]
    n_shares = n_cores if alike else 4 * n_cores
    size = max(1, min(most, -(-n_members // n_shares)))
    groups = [slice(at, min(at + size, n_members)) for at in range(0, n_members, size)]
    if n_cores == 1 or len(groups) == 1:
        return [], groups
    # A last group alone would leave the other cores idle, but by itself it can have them all.
    alone = len(groups) % n_cores if alike else 0
    return groups[: len(groups) - alone], groups[len(groups) - alone :]


def side_by_side(
    work: Callable[[slice], Result],
    groups: Sequence[slice],
    *,
    n_cores: int,
    look: Callable[[], None],
    stop: Event,
) -> list[Result]:
    """Return what `work` gives for each group, in order, on as many cores as there are.

    `look` is called now and then from this thread; where it raises, `stop` is set, which `work`
    must heed, and the error goes on once all have stopped.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(n_cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        under_way = [pool.submit(work, group) for group in groups]
        try:
            left = set(under_way)
            while left:
                done, left = wait(left, _LOOK_S, FIRST_COMPLETED)
                for one in done:
                    one.result()  # an error of one group ends the others too
                look()
            return [done.result() for done in under_way]
        except BaseException:
            stop.set()
            for one in under_way:
                one.cancel()
            raise
        finally:
            # The number is this thread's own, but what new threads begin with is everybody's.
            torch.set_num_threads(threads)
