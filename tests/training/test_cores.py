"""Groups of members on cores of their own: the same numbers, and errors that come out."""

import dataclasses
import threading

import pytest
import torch

from training.packs import (
    BATCH_NORM,
    DEEP_GRU,
    DROPPED,
    PLAN,
    Log,
    assert_same_members,
    make_member,
    many_members,
    train,
    unlike_members,
)  # fmt: skip
from training.packs import make_table as _table
from walkforge.models import Mlp, initial_state
from walkforge.training import _cores
from walkforge.training._cores import cut_for_cores, side_by_side
from walkforge.training._progress import Progress


@pytest.fixture(scope="module")
def table():
    return _table()


@pytest.fixture
def two_threads(monkeypatch):
    """Two cores, on which the smallest pack goes apart."""
    monkeypatch.setattr(_cores, "_LEAST_WORK", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("architecture", [DROPPED, DEEP_GRU, BATCH_NORM], ids=str)
def test_members_on_two_cores_train_as_on_one(architecture, table, request):
    members = unlike_members(table)
    one = train(architecture, table, members)
    request.getfixturevalue("two_threads")
    log = Log()
    two = train(architecture, table, members, watcher=log)
    assert any("side by side on 2 cores" in note for note in log.notes)
    assert_same_members(one, two, rtol=1e-4, atol=1e-5)


def test_the_same_cores_give_the_same_bits(table, two_threads):
    members = many_members(table)
    assert_same_members(train(DROPPED, table, members), train(DROPPED, table, members))


def test_groups_really_go_at_the_same_time(table, two_threads, monkeypatch):
    """Two groups meet at a barrier, which one thread alone would never pass."""
    meeting = threading.Barrier(2, timeout=30)
    plain, met = Mlp.forward, threading.Event()

    def forward(model, state, x_MBTF, *, dropout):
        if not met.is_set() and dropout is not None:
            meeting.wait()
            met.set()
        return plain(model, state, x_MBTF, dropout=dropout)

    monkeypatch.setattr(Mlp, "forward", forward)
    train(DROPPED, table, [make_member(table, name) for name in "AB"])
    assert met.is_set()


def test_progress_rises_to_the_end_of_every_epoch(table, two_threads):
    class Steps(Log):
        def __init__(self):
            super().__init__()
            self.seen = {}

        def step(self, epoch, step, n_steps):
            self.seen.setdefault(epoch, []).append((step, n_steps))

    log = Steps()
    train(DROPPED, table, many_members(table, 6), watcher=log)
    assert list(log.seen) == [1, 2, 3, 4]
    for told in log.seen.values():
        done = [step for step, _ in told]
        assert done == sorted(done)
        assert told[-1][0] == told[-1][1]


def test_an_error_on_a_core_comes_out_and_the_others_stop(table, two_threads, monkeypatch):
    plain = Mlp.forward

    def broken(model, state, x_MBTF, *, dropout):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("size mismatch")
        return plain(model, state, x_MBTF, dropout=dropout)

    monkeypatch.setattr(Mlp, "forward", broken)
    before = set(threading.enumerate())  # libraries keep threads of their own
    with pytest.raises(RuntimeError, match="size mismatch"):
        train(DROPPED, table, many_members(table, 4))
    assert torch.get_num_threads() == 2
    assert set(threading.enumerate()) <= before


def test_an_error_in_one_group_ends_the_others_at_once(table, two_threads, monkeypatch):
    """The group that is whole would go on for thousands of steps."""
    plain, steps = Mlp.forward, []

    def broken(model, state, x_MBTF, *, dropout):
        steps.append(1)
        if float(state["1.weight"].detach()[0, 0, 0]) == doomed:
            raise RuntimeError("size mismatch")
        return plain(model, state, x_MBTF, dropout=dropout)

    members = [make_member(table, "A", seed=1), make_member(table, "B", seed=2)]
    doomed = float(initial_state(DROPPED, members[0].random_seed)["1.weight"][0, 0])
    many = dataclasses.replace(PLAN, epochs=1, batch_size=1, patience=1)
    monkeypatch.setattr(Mlp, "forward", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        train(DROPPED, table, members, many)
    assert len(steps) < 300


def test_what_is_no_news_is_no_sign_of_life(table):
    log = Log()
    progress = Progress(1, log)
    progress.expect([(slice(0, 2), 0)], [9, 9])
    progress.tell()
    assert log.steps == 0
    progress.note(slice(0, 2), 3)
    progress.tell()
    progress.tell()
    assert log.steps == 1


def test_whoever_watches_can_stop_all_cores(table, two_threads):
    class StopError(Exception):
        pass

    class Stop(Log):
        def step(self, epoch, step, n_steps):
            raise StopError

    before = set(threading.enumerate())
    with pytest.raises(StopError):
        train(DROPPED, table, many_members(table, 8), watcher=Stop())
    assert set(threading.enumerate()) <= before


def test_a_core_without_memory_leaves_its_group_to_smaller_steps(table, two_threads, monkeypatch):
    members = unlike_members(table)
    whole = train(DROPPED, table, members)
    plain, short = Mlp.forward, []

    def forward(model, state, x_MBTF, *, dropout):
        if x_MBTF.shape[0] * x_MBTF.shape[1] > 32:
            short.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return plain(model, state, x_MBTF, dropout=dropout)

    monkeypatch.setattr(Mlp, "forward", forward)
    log = Log()
    split = train(DROPPED, table, members, members_at_once=5, watcher=log)
    assert short
    assert_same_members(whole, split, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("lengths", "most", "n_cores", "expected"),
    [
        # Alike: a share for each core; a few left over come after, with all cores.
        ([9] * 10, 99, 2, ([5, 5], [])),
        ([9] * 3, 99, 2, ([1, 1], [1])),
        ([9] * 45, 8, 2, ([8, 8, 6] * 2, [1])),
        ([9], 99, 2, ([], [1])),
        ([9] * 10, 99, 1, ([], [10])),
        ([9] * 10, 4, 1, ([], [4, 4, 2])),
        ([9] * 17, 99, 4, ([4] * 4, [1])),
        ([9] * 19, 99, 4, ([4, 5, 5, 5], [])),
        ([9] * 3, 99, 16, ([], [3])),
        ([9] * 10, 99, 16, ([1] * 10, [])),
        # Unlike: smaller groups, so that no core runs out of work long before the others.
        ([99, 90, 50, 20, 9, 9, 9, 9], 99, 2, ([1] * 8, [])),
    ],
)
def test_members_are_cut_so_that_all_cores_have_work(lengths, most, n_cores, expected):
    found = cut_for_cores(lengths, most=most, n_cores=n_cores, work_each=_cores._LEAST_WORK * 16)
    assert tuple([own.stop - own.start for own in groups] for groups in found) == expected
    covered = [m for groups in found for own in groups for m in range(own.start, own.stop)]
    assert covered == list(range(len(lengths)))


@pytest.mark.parametrize(("n_members", "is_apart"), [(10, False), (20, True)])
def test_small_packs_stay_together(n_members, is_apart):
    apart, after = cut_for_cores(
        [9] * n_members, most=99, n_cores=2, work_each=_cores._LEAST_WORK // 10
    )
    assert bool(apart) == is_apart
    assert bool(after) != is_apart


def test_results_come_in_the_order_of_the_groups():
    groups = [slice(at, at + 1) for at in range(7)]
    found = side_by_side(
        lambda own: own.start, groups, n_cores=3, look=lambda: None, stop=threading.Event()
    )
    assert found == list(range(7))
