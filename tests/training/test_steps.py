"""However a pack's steps are taken - at once, in groups, replayed, in pieces - the numbers stay."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from training.packs import (
    BATCH_NORM,
    BILSTM,
    CNN_LSTM,
    DEEP_BATCH_NORM,
    DEEP_GRU,
    DROPPED,
    MLP,
    N_ROWS,
    PLAN,
    Log,
    assert_same_members,
    make_member,
    make_table,
    many_members,
    train,
    unlike_members,
)
from training.tape import tape_capture
from walkforge.base import TrainingError
from walkforge.models import Mlp, _lstm
from walkforge.training import TrainingPlan, _room, _steps, _trainer
from walkforge.training._adamw import Moments, adamw_at_once, adamw_by_rows
from walkforge.training._order import draw_order

CPU = torch.device("cpu")
EVERY = pytest.mark.parametrize(
    "architecture",
    [DROPPED, DEEP_BATCH_NORM, DEEP_GRU, CNN_LSTM, BILSTM],
    ids=["mlp", "batch norm", "gru", "cnn_lstm", "bilstm"],
)
STOPPING = TrainingPlan(epochs=9, batch_size=32, learning_rate=0.01, patience=2)


@pytest.fixture
def table() -> torch.Tensor:
    return make_table()


@pytest.fixture(autouse=True)
def walks_as_on_a_gpu(monkeypatch):
    """LSTM layers go as they do where oneDNN does not take them over."""
    monkeypatch.setattr(_lstm, "_fused_on_cpu", lambda x: False)


@functools.cache
def _unlike_at_once(architecture):
    """Return unlike members, and what they come to in steps of all of them; made once."""
    table = make_table()
    members = unlike_members(table)
    return members, train(architecture, table, members, STOPPING, members_at_once=5)


@EVERY
@pytest.mark.parametrize("members_at_once", [1, 2, 3])
def test_members_in_groups_train_as_all_at_once(architecture, members_at_once, table):
    members, whole = _unlike_at_once(architecture)
    groups = train(architecture, table, members, STOPPING, members_at_once=members_at_once)
    assert_same_members(whole, groups, rtol=1e-4, atol=1e-5)
    assert min(one.best_epoch for one in whole) < 7, "nobody stopped early"


def _replay(monkeypatch, n_steps):
    """Let training replay recorded steps; return the list of recordings, and of the steps made."""
    recordings, made = [], []

    def replayed(body, *, compiled):
        capture = tape_capture(lambda: made[-1], recordings)
        made.append(
            _steps.ReplayedSteps(
                body, steps_per_replay=n_steps, capture=capture, update=adamw_at_once
            )
        )
        return made[-1], "replayed"

    monkeypatch.setattr(_trainer, "choose_steps", replayed)
    return recordings, made


BALANCED = dataclasses.replace(STOPPING, class_weights="balanced")


@functools.cache
def _many_in_single_steps(architecture, members_at_once):
    """Return many members, and what they come to in steps that are not replayed; made once."""
    table = make_table()
    members = many_members(table)
    return members, train(architecture, table, members, BALANCED, members_at_once=members_at_once)


@pytest.mark.parametrize("members_at_once", [6, 20])
@pytest.mark.parametrize("n_steps", [1, 3])
@EVERY
def test_replayed_steps_train_as_single_steps(
    architecture, n_steps, members_at_once, table, monkeypatch
):
    members, single = _many_in_single_steps(architecture, members_at_once)
    recordings, _ = _replay(monkeypatch, n_steps)
    log = Log()
    together = train(
        architecture, table, members, BALANCED, members_at_once=members_at_once, watcher=log
    )
    assert_same_members(single, together, rtol=2e-3, atol=2e-4)
    assert len(recordings) > 1, "hardly anything was ever replayed"
    assert len(log.reports[-1]["members"]) < len(members), "nobody left the pack"


@pytest.mark.parametrize("architecture", [DEEP_BATCH_NORM, DEEP_GRU], ids=str)
def test_replayed_steps_go_on_from_a_checkpoint_without_the_members_that_left(
    architecture, table, tmp_path, monkeypatch
):
    members = many_members(table)
    _replay(monkeypatch, 2)
    whole = train(architecture, table, members, STOPPING)
    stopped = sorted(max(one.best_epoch + STOPPING.patience, 1) for one in whole)

    class CutOff(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == stopped[4] + 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(architecture, table, members, STOPPING, watcher=CutOff(), checkpoints=tmp_path / "c")
    resumed = train(architecture, table, members, STOPPING, checkpoints=tmp_path / "c")
    assert_same_members(whole, resumed, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("architecture", [DEEP_BATCH_NORM, DEEP_GRU], ids=str)
def test_nan_in_one_member_leaves_the_others_alone_in_replayed_steps(
    architecture, table, monkeypatch
):
    both = torch.cat([table, table])
    rows = np.arange(N_ROWS + 10, N_ROWS + 310)
    members = many_members(both, 4)
    members.insert(2, make_member(both, "NAN", train_rows=rows, validation_rows=rows[:150]))
    _replay(monkeypatch, 3)
    clean = train(architecture, both, members, PLAN)
    both[N_ROWS:] = torch.nan
    poisoned = train(architecture, both, members, PLAN)
    assert poisoned[2].best_epoch == 0
    del clean[2], poisoned[2]
    assert_same_members(clean, poisoned)


def test_a_step_too_many_does_nothing_even_if_it_blows_up():
    moments = _moments(torch.full((2, 7), torch.inf), 2)
    before = moments.weights_MQ.clone()
    ones = torch.ones(2)
    adamw_at_once(
        moments, rate_M=ones, decay_M=ones, active_M=torch.tensor([True, False]), clip_norm=1.0
    )
    assert torch.equal(moments.weights_MQ[1], before[1])
    assert moments.first_MQ[1].count_nonzero() == 0


@pytest.mark.parametrize(
    ("n_steps", "expected"), [(1, 1), (8, 8), (9, 5), (17, 6), (33, 7), (2900, 8)]
)
def test_the_last_replay_of_an_epoch_overshoots_little(n_steps, expected):
    assert _steps.steps_per_replay(MLP, n_steps) == expected
    assert _steps.steps_per_replay(DEEP_GRU, n_steps) <= 8
    assert -(-n_steps // expected) * expected - n_steps <= 7


class _ShortOfMemory:
    """Makes a model fail as PyTorch does when a step asks for more rows than there is room for."""

    def __init__(self, monkeypatch, most_rows):
        self.most_rows, self.failures = most_rows, 0
        plain = Mlp.forward

        def forward(model, state, x_MBTF, *, dropout):
            logits = plain(model, state, x_MBTF, dropout=dropout)
            if x_MBTF.shape[0] * x_MBTF.shape[1] > self.most_rows:
                self.failures += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return logits

        monkeypatch.setattr(Mlp, "forward", forward)


@pytest.mark.parametrize("architecture", [DROPPED, BATCH_NORM], ids=str)
def test_out_of_memory_splits_the_pack_and_changes_no_number(architecture, table, monkeypatch):
    members, whole = _unlike_at_once(architecture)
    short = _ShortOfMemory(monkeypatch, most_rows=2 * 32)
    log = Log()
    split = train(architecture, table, members, STOPPING, members_at_once=5, watcher=log)
    assert short.failures >= 2
    assert_same_members(whole, split, rtol=1e-4, atol=1e-5)
    warnings = [note for note in log.notes if "members a step" in note]
    assert len(warnings) == 2, "once split, a pack stays split"
    assert "out of memory with 5 members a step; going on with 3" in warnings[0]
    assert "by rounding only" in warnings[0]


@pytest.mark.parametrize("architecture", [DROPPED, DEEP_BATCH_NORM], ids=str)
def test_out_of_memory_splits_a_pack_of_replayed_steps(architecture, table, monkeypatch):
    members = many_members(table)
    whole = train(architecture, table, members, STOPPING)
    _replay(monkeypatch, 2)
    _ShortOfMemory(monkeypatch, most_rows=3 * 32)
    log = Log()
    split = train(architecture, table, members, STOPPING, members_at_once=20, watcher=log)
    assert_same_members(whole, split, rtol=2e-3, atol=2e-4)
    sizes = [note for note in log.notes if "members a step; going on with" in note]
    assert len(sizes) == 3, sizes  # 20, 10, 5, 3
    assert not any("batches in" in note for note in log.notes)


def test_out_of_memory_with_one_member_splits_the_batch(table, monkeypatch):
    members = unlike_members(table)
    whole = train(DROPPED, table, members, STOPPING)
    _ShortOfMemory(monkeypatch, most_rows=8)
    log = Log()
    split = train(DROPPED, table, members, STOPPING, watcher=log)
    assert_same_members(whole, split, rtol=1e-3, atol=1e-4)
    assert any("going on with batches in 4 parts" in note for note in log.notes)
    assert any("while validating" in note for note in log.notes)


def test_a_batch_that_normalises_over_itself_is_not_split_but_refused(table, monkeypatch):
    _ShortOfMemory(monkeypatch, most_rows=8)
    with pytest.raises(TrainingError, match=r"not enough memory for one member and a batch of 32"):
        train(BATCH_NORM, table, [make_member(table)])


def test_other_errors_are_no_lack_of_memory(table, monkeypatch):
    def broken(model, state, x_MBTF, *, dropout):
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(Mlp, "forward", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        train(MLP, table, [make_member(table)])


def test_the_hosts_own_lack_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert _room.is_out_of_memory(caught.value)
    assert not _room.is_out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("architecture", [MLP, BATCH_NORM], ids=str)
def test_compiled_steps_train_as_plain_ones(architecture, table):
    members = unlike_members(table)[:3]
    plain = train(architecture, table, members, PLAN)
    compiled = train(architecture, table, members, PLAN, compiled=True)
    assert_same_members(plain, compiled, rtol=1e-3, atol=1e-4)


def _moments(gradient, n_members):
    random = torch.Generator().manual_seed(3)
    return Moments(
        weights_MQ=torch.randn(n_members, 7, generator=random),
        gradient_MQ=gradient.clone(),
        first_MQ=torch.zeros(n_members, 7),
        second_MQ=torch.zeros(n_members, 7),
        steps_M=torch.zeros(n_members),
    )


def test_both_updates_are_adamw_with_clipping_as_pytorch_has_it():
    rates, decays, clip_norm = [0.1, 0.02, 0.003], [0.0, 0.1, 0.5], 0.7
    random = torch.Generator().manual_seed(4)
    gradients = [torch.randn(3, 7, generator=random) * scale for scale in (0.1, 10.0, 1.0)]
    rows, once = _moments(gradients[0], 3), _moments(gradients[0], 3)
    plain = [torch.nn.Parameter(weights.clone()) for weights in rows.weights_MQ]
    optimizers = [
        torch.optim.AdamW([p], lr=rate, weight_decay=decay)
        for p, rate, decay in zip(plain, rates, decays, strict=True)
    ]
    for gradient in gradients:
        rows.gradient_MQ.copy_(gradient)
        once.gradient_MQ.copy_(gradient)
        adamw_by_rows(rows, rates=rates, decays=decays, clip_norm=clip_norm)
        adamw_at_once(
            once,
            rate_M=torch.tensor(rates),
            decay_M=torch.tensor(decays),
            active_M=torch.ones(3, dtype=torch.bool),
            clip_norm=clip_norm,
        )
        for m, (parameter, optimizer) in enumerate(zip(plain, optimizers, strict=True)):
            parameter.grad = gradient[m].clone()
            torch.nn.utils.clip_grad_norm_([parameter], clip_norm)
            optimizer.step()
    expected = torch.stack([p.detach() for p in plain])
    assert_close(rows.weights_MQ, expected, rtol=1e-5, atol=1e-6)
    assert_close(once.weights_MQ, expected, rtol=1e-5, atol=1e-6)


def test_an_update_leaves_members_without_a_batch_untouched():
    moments = _moments(torch.ones(2, 7), 2)
    before = {name: getattr(moments, name).clone() for name in ("weights_MQ", "first_MQ")}
    rate = torch.full((2,), 0.1)
    adamw_at_once(
        moments, rate_M=rate, decay_M=rate, active_M=torch.tensor([True, False]), clip_norm=1.0
    )
    for name, value in before.items():
        assert torch.equal(getattr(moments, name)[1], value[1])
        assert not torch.equal(getattr(moments, name)[0], value[0])
    assert moments.steps_M.tolist() == [1.0, 0.0]


def test_an_order_holds_every_row_once_and_then_begins_again():
    order = draw_order(12345, 100, 130, CPU)
    assert torch.equal(order[:100].sort().values, torch.arange(100))
    assert torch.equal(order[100:], order[:30])
    assert torch.equal(order, draw_order(12345, 100, 130, CPU))


def test_orders_of_other_keys_and_neighbouring_rows_have_nothing_in_common():
    n = 20_000
    first, second = (draw_order(key, n, n, CPU).numpy() for key in (1, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first, np.arange(n))[0, 1]) < 0.03
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
    # The mean gap of a uniform order; a weak hash would leave runs of neighbours.
    assert np.abs(np.diff(first)).mean() == pytest.approx(n / 3, rel=0.02)
