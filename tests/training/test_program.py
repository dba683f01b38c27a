"""However a pack's steps are taken - at once, in groups, replayed, in pieces - the numbers stay."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from training.packs import (
    BATCH_NORM,
    DEEP_GRU,
    DROPPED,
    MLP,
    PLAN,
    Log,
    assert_same_members,
    make_member,
    make_table,
    train,
    unlike_members,
)
from walkforge.base import TrainingError
from walkforge.models import Mlp
from walkforge.training import TrainingPlan, _program, _trainer
from walkforge.training._adamw import Moments, adamw_at_once, adamw_by_rows
from walkforge.training._order import draw_order

CPU = torch.device("cpu")
EVERY = pytest.mark.parametrize("architecture", [DROPPED, BATCH_NORM, DEEP_GRU], ids=str)
STOPPING = TrainingPlan(epochs=9, batch_size=32, learning_rate=0.01, patience=2)


@pytest.fixture
def table() -> torch.Tensor:
    return make_table()


@EVERY
@pytest.mark.parametrize("members_at_once", [1, 2, 3])
def test_members_in_groups_train_as_all_at_once(architecture, members_at_once, table):
    members = unlike_members(table)
    whole = train(architecture, table, members, STOPPING, members_at_once=5)
    groups = train(architecture, table, members, STOPPING, members_at_once=members_at_once)
    assert_same_members(whole, groups, rtol=1e-4, atol=1e-5)
    assert min(one.best_epoch for one in whole) < 7, "nobody stopped early"


@pytest.mark.parametrize("members_at_once", [2, 5])
@pytest.mark.parametrize("n_steps", [1, 3])
@EVERY
def test_replayed_steps_train_as_single_steps(
    architecture, n_steps, members_at_once, table, monkeypatch
):
    members = unlike_members(table)
    single = train(architecture, table, members, STOPPING, members_at_once=members_at_once)
    recordings = []

    def replayed(body, *, compiled):
        def capture(work):
            recordings.append(work)
            return work

        steps = _program.ReplayedSteps(
            body, steps_per_replay=n_steps, capture=capture, update=adamw_at_once
        )
        return steps, "replayed"

    monkeypatch.setattr(_trainer, "choose_steps", replayed)
    log = Log()
    together = train(
        architecture, table, members, STOPPING, members_at_once=members_at_once, watcher=log
    )
    assert_same_members(single, together, rtol=1e-3, atol=1e-4)
    assert recordings, "nothing was ever replayed"
    assert [line["name"] for line in log.reports[-1]["members"]] != [m.name for m in members]


def test_a_recording_stays_right_when_members_leave(table, monkeypatch):
    """What was recorded for a width is replayed for other members later: same memory, same work."""
    recorded = {}

    def replayed(body, *, compiled):
        def capture(work):
            memory = body.pack.weights_MP.data_ptr(), body.batches.rows_MR.data_ptr()
            recorded[work] = memory
            return work

        recorded["body"] = body
        return (
            _program.ReplayedSteps(body, steps_per_replay=2, capture=capture, update=adamw_at_once),
            "replayed",
        )

    monkeypatch.setattr(_trainer, "choose_steps", replayed)
    train(DROPPED, table, unlike_members(table), STOPPING)
    body = recorded.pop("body")
    now = body.pack.weights_MP.data_ptr(), body.batches.rows_MR.data_ptr()
    assert recorded
    assert set(recorded.values()) == {now}


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
    members = unlike_members(table)
    whole = train(architecture, table, members, STOPPING, members_at_once=5)
    short = _ShortOfMemory(monkeypatch, most_rows=2 * 32)
    log = Log()
    split = train(architecture, table, members, STOPPING, members_at_once=5, watcher=log)
    assert short.failures >= 2
    assert_same_members(whole, split, rtol=1e-4, atol=1e-5)
    assert any("out of memory with 5 members a step; going on with 3" in n for n in log.notes)
    assert any("changes no number" in note for note in log.notes)


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
    assert _trainer.is_out_of_memory(caught.value)
    assert not _trainer.is_out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiled_steps_train_as_plain_ones(table):
    members = unlike_members(table)[:3]
    plain = train(MLP, table, members, PLAN)
    compiled = train(MLP, table, members, PLAN, compiled=True)
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
        adamw_by_rows(rows, rates, decays, clip_norm)
        adamw_at_once(once, torch.tensor(rates), torch.tensor(decays), torch.ones(3), clip_norm)
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
    adamw_at_once(moments, rate, rate, torch.tensor([1.0, 0.0]), 1.0)
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
