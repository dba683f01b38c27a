"""Training in float16: scaled losses, clipped true gradients, and members that overflow alone."""

import dataclasses

import pytest
import torch

from training.packs import (
    CLIP,
    DEEP_GRU,
    FLOAT32,
    GRU,
    MLP,
    PLAN,
    Log,
    assert_same_state,
    make_member,
    train,
)  # fmt: skip
from training.packs import make_table as _table
from walkforge.base import Precision, choose_precision
from walkforge.models import PackedForward, predict_outputs, stack_states
from walkforge.training import _steps
from walkforge.training._loss_scale import scaled, unscale_

HALF = Precision("float16", autocast=True, tf32=False)
BRAIN = Precision("bfloat16", autocast=True, tf32=False)


@pytest.fixture(scope="module")
def table():
    return _table()


def _best(members):
    return torch.tensor([one.best_validation_loss for one in members])


@pytest.mark.parametrize("precision", [HALF, BRAIN], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("architecture", [MLP, GRU, DEEP_GRU], ids=["mlp", "gru", "deep gru"])
def test_half_the_bits_learn_as_well_within_the_spread_of_seeds(table, architecture, precision):
    members = [make_member(table, seed=seed) for seed in range(4)]
    full = _best(train(architecture, table, members))
    half = _best(train(architecture, table, members, precision=precision))
    # The same seeds, so that the difference is the precision's and not the luck of the draw.
    assert (half - full).abs().max() < max(float(full.std()), 0.01)
    assert full.std() > 0


def test_validation_is_in_the_precision_that_predicts(table):
    member = make_member(table)
    one = train(MLP, table, [member], precision=HALF)[0]
    forward = PackedForward.build(
        MLP,
        table,
        window_bars=1,
        centers=[member.center],
        scales=[member.scale],
        clip=CLIP,
        precision=FLOAT32,
    )
    state = stack_states(MLP, [one.state], torch.device("cpu"))
    logits = predict_outputs(forward, state, [member.validation_rows])[0]
    truth = torch.from_numpy(member.validation_labels).long()
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), truth)
    assert one.best_validation_loss == pytest.approx(float(loss), rel=1e-6)


def test_unscaled_gradients_are_those_of_the_loss_itself():
    gradient = torch.randn(3, 5)
    scale, clean = torch.tensor([2.0**16, 2.0**10, 1.0]), torch.zeros(3)
    (inside,) = torch.autograd.grad(
        scaled(weights := torch.ones(3, 5, requires_grad=True) * 1.0, scale).sum(), weights
    )
    assert torch.equal(inside, scale[:, None].expand(3, 5))
    lifted = gradient * scale[:, None]
    assert unscale_(lifted, scale, clean).all()
    assert torch.equal(lifted, gradient)
    assert clean.tolist() == [1.0, 1.0, 1.0]


def test_a_member_that_overflows_waits_with_half_the_scale_and_no_other_does():
    gradient = torch.ones(4, 3)
    gradient[1, 2], gradient[2, 0] = float("inf"), float("nan")
    scale, clean = torch.full((4,), 1024.0), torch.full((4,), 7.0)
    assert unscale_(gradient, scale, clean).tolist() == [True, False, False, True]
    assert scale.tolist() == [1024.0, 512.0, 512.0, 1024.0]
    assert clean.tolist() == [8.0, 0.0, 0.0, 8.0]


def test_a_member_without_a_batch_keeps_its_scale_whatever_its_gradient():
    gradient = torch.full((3, 2), float("inf"))
    gradient[2] = 1.0
    scale, clean = torch.full((3,), 64.0), torch.tensor([5.0, 5.0, 1999.0])
    active = torch.tensor([True, False, False])
    unscale_(gradient, scale, clean, active)
    assert scale.tolist() == [32.0, 64.0, 64.0]
    assert clean.tolist() == [0.0, 5.0, 1999.0]


def test_a_scale_grows_after_many_clean_steps_and_never_dies():
    scale, clean = torch.tensor([8.0, 2.0**-16]), torch.tensor([1998.0, 0.0])
    bad = torch.tensor([[1.0], [float("inf")]])
    unscale_(bad.clone(), scale, clean)
    assert scale.tolist() == [8.0, 2.0**-16]
    unscale_(bad.clone(), scale, clean)
    assert scale.tolist() == [16.0, 2.0**-16]
    assert clean.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("update", ["adamw_by_rows", "adamw_at_once"])
def test_clipping_sees_the_true_gradient(table, update, monkeypatch):
    """A scaled gradient is thousands of times too long: clipped first, all would be as short."""
    seen: list[float] = []

    def spy(moments, **settings):
        seen.append(float(moments.gradient_MQ.norm()))
        return before(moments, **settings)

    before = getattr(_steps, update)
    monkeypatch.setattr(_steps, update, spy)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiled = update == "adamw_at_once"
    member = make_member(table)
    one_epoch = dataclasses.replace(PLAN, epochs=1, patience=1)
    train(MLP, table, [member], one_epoch, compiled=compiled)
    full, seen[:] = list(seen), []
    train(MLP, table, [member], one_epoch, compiled=compiled, precision=HALF)
    assert len(full) == len(seen) > 5
    assert seen == pytest.approx(full, rel=0.05)


def test_an_overflow_leaves_a_member_out_of_a_step_and_the_others_in(table):
    """A member whose features overflow in float16 keeps its weights, beside one that learns."""
    huge = table.clone()
    huge[:, 0] *= 3e5
    broken = make_member(
        table, "BROKEN", center=torch.zeros(5).numpy(), scale=torch.ones(5).numpy()
    )
    whole = make_member(table, "WHOLE", seed=1)
    beside = train(MLP, table, [broken, whole], precision=HALF)[1]
    alone = train(MLP, table, [whole], precision=HALF)[0]
    assert_same_state(beside.state, alone.state, rtol=1e-3, atol=1e-4)


def test_scales_survive_a_checkpoint(table, tmp_path):
    member = make_member(table)
    whole = train(MLP, table, [member], precision=HALF)[0]
    cut = dataclasses.replace(PLAN, epochs=4)

    class Stop(Log):
        def epoch(self, report):
            super().epoch(report)
            if report["epoch"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(MLP, table, [member], cut, precision=HALF, watcher=Stop(), checkpoints=tmp_path)
    again = train(MLP, table, [member], cut, precision=HALF, checkpoints=tmp_path)[0]
    assert_same_state(again.state, whole.state)


def test_a_gpu_without_bfloat16_trains_in_float16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    precision, reason = choose_precision("auto", torch.device("cuda", 0))
    assert (precision.name, precision.scales_losses, precision.tf32) == ("float16", True, True)
    assert "no native bfloat16" in reason
    precision, _ = choose_precision("float16", torch.device("cpu"))
    assert precision == HALF
