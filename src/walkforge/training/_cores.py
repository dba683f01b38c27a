"""Groups of members that train at the same time, each on a core of its own.

A step that is split over cores ends with all of them waiting for the slowest, thousands of times a
second; where another program wants a core too, that waiting costs many times the work. Members
share no number, so that whole groups can go their own way instead, until an epoch is over.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import pairwise
from threading import Event
from typing import TypeVar

import torch

from ._room import in_groups

Result = TypeVar("Result")

# With less for a core's share in every kernel, Python's own lock is what the threads wait for.
# Measured with benchmarks/training.py on two cores: shares of 5 to 9 million run at 0.7 to 0.9 of
# the speed of all members together, shares of 13 to 260 million at 1.0 to 1.1.
_LEAST_WORK = 10_000_000
# How often whoever waits has a look around.
_LOOK_S = 0.1


def cut_for_cores(
    lengths: Sequence[int], *, most: int, n_cores: int, work_each: int
) -> tuple[list[slice], list[slice]]:
    """Return groups of neighbours that go side by side, and those that come after, one by one.

    `lengths` are the members' steps, falling; a group has at most `most` members. `work_each` are
    the multiplications of one member for every kernel in a row: weights times rows of a batch.
    """
    n_members = len(lengths)
    everyone = slice(0, n_members)
    if n_cores == 1 or n_members * work_each < n_cores * _LEAST_WORK:
        return [], in_groups(everyone, most)
    if 4 * lengths[-1] < 3 * lengths[0]:
        # Small groups, so that no core runs out of work long before the others.
        size = -(-n_members // (4 * n_cores))
        return in_groups(everyone, min(size, most)), []
    # A few left over would keep all other cores waiting, but together they can have them all.
    over = n_members % n_cores
    n_apart = n_members - over if 2 * over <= n_cores else n_members
    ends = [n_apart * (core + 1) // n_cores for core in range(n_cores)]
    shares = [slice(start, end) for start, end in pairwise([0, *ends])]
    apart = [group for share in shares for group in in_groups(share, most)]
    return apart, in_groups(slice(n_apart, n_members), most)


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
