"""A member of a pack computes what the ordinary module with the same numbers computes."""

import pytest
import torch
from torch.testing import assert_close

from walkforge.base import UsageError
from walkforge.models import (
    Gru,
    Layout,
    MemberDropout,
    Mlp,
    build_architecture,
    extract_twin,
    initial_state,
    step_keys,
)

ARCHITECTURES = [
    Mlp(n_features=7, window_bars=1, n_classes=3, widths=(16, 8), norm="layer"),
    Mlp(n_features=7, window_bars=3, n_classes=2, widths=(16,), norm="batch"),
    Mlp(n_features=4, window_bars=1, n_classes=3, widths=(), norm="none"),
    Gru(n_features=5, window_bars=9, n_classes=3, hidden=11),
    Gru(n_features=5, window_bars=4, n_classes=3, hidden=6, layers=2),
]


def _packed(architecture, seeds=(3, 4, 5)):
    states = [initial_state(architecture, seed) for seed in seeds]
    layout = Layout.of(architecture)
    return states, layout, layout.flatten(states)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_every_member_predicts_as_its_ordinary_module(architecture):
    states, layout, flat_MP = _packed(architecture)
    x_MBTF = torch.randn(3, 13, architecture.window_bars, architecture.n_features)
    logits_MBC = architecture.forward(layout.views(flat_MP), x_MBTF, dropout=None)
    for m, state in enumerate(states):
        twin = extract_twin(architecture, state)
        assert_close(logits_MBC[m], twin(x_MBTF[m]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_every_member_trains_as_its_ordinary_module(architecture):
    states, layout, flat_MP = _packed(architecture)
    x_MBTF = torch.randn(3, 13, architecture.window_bars, architecture.n_features)
    flat_MP.requires_grad_()
    training = MemberDropout(0.0, torch.zeros(3, dtype=torch.int64))
    views = layout.views(flat_MP)
    buffers = {name: v.detach() for name, v in views.items() if "running" in name}
    architecture.forward(views | buffers, x_MBTF, dropout=training).square().sum().backward()
    for m, state in enumerate(states):
        twin = extract_twin(architecture, state).train()
        twin(x_MBTF[m]).square().sum().backward()
        for name, parameter in twin.named_parameters():
            packed = layout.views(flat_MP.grad)[name][m]
            assert_close(packed, parameter.grad, rtol=2e-4, atol=2e-5)
        for name, buffer in twin.named_buffers():
            if buffer.is_floating_point():
                assert_close(buffers[name][m], buffer, rtol=1e-5, atol=1e-6)


def test_the_plans_mlp_is_the_sequential_of_the_plan():
    architecture = build_architecture("mlp", n_features=72, window_bars=1, n_classes=3)
    widths = [(m.in_features, m.out_features) for m in architecture.twin() if hasattr(m, "weight")
              and m.weight.dim() == 2]  # fmt: skip
    assert widths == [(72, 512), (512, 256), (256, 128), (128, 3)]


def test_a_member_starts_from_its_own_seed_as_pytorch_would():
    architecture = ARCHITECTURES[0]
    torch.manual_seed(42)
    expected = architecture.twin().state_dict()
    state = initial_state(architecture, 42)
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert not torch.equal(state["1.weight"], initial_state(architecture, 43)["1.weight"])


def test_flat_state_and_named_tensors_are_the_same_numbers():
    states, layout, flat_MP = _packed(ARCHITECTURES[1])
    for m, state in enumerate(states):
        member = layout.member(flat_MP, m)
        assert member.keys() == state.keys()
        assert all(torch.equal(member[name], state[name]) for name in state)
    layout.member(flat_MP, 0)["1.weight"].zero_()
    assert flat_MP[0].abs().sum() > 0, "a member taken out must be a copy"


def test_dropout_drops_the_asked_share_and_keeps_the_mean():
    dropout = MemberDropout(0.3, step_keys(torch.tensor([1, 2]), torch.tensor([5, 5])))
    dropped = dropout(torch.ones(2, 500, 200), layer=0)
    share = (dropped == 0).double().mean(dim=(1, 2))
    assert_close(share, torch.full((2,), 0.3, dtype=torch.float64), atol=0.01, rtol=0)
    assert_close(dropped.mean(), torch.tensor(1.0), atol=0.01, rtol=0)


def test_dropout_masks_differ_by_member_step_and_layer_and_repeat_otherwise():
    x = torch.ones(1, 64, 64)

    def mask(seed, step, layer):
        keys = step_keys(torch.tensor([seed]), torch.tensor([step]))
        return MemberDropout(0.5, keys)(x, layer) > 0

    first = mask(1, 1, 0)
    assert torch.equal(first, mask(1, 1, 0))
    for other in (mask(2, 1, 0), mask(1, 2, 0), mask(1, 1, 1)):
        agreement = (first == other).double().mean().item()
        assert 0.45 < agreement < 0.55


def test_a_members_dropout_does_not_depend_on_its_neighbours():
    seeds, steps = torch.tensor([10, 20, 30]), torch.tensor([7, 7, 7])
    x_MBD = torch.randn(3, 8, 16)
    packed = MemberDropout(0.4, step_keys(seeds, steps))(x_MBD, 0)
    alone = MemberDropout(0.4, step_keys(seeds[1:2], steps[1:2]))(x_MBD[1:2], 0)
    assert torch.equal(packed[1:2], alone)


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'gru'"):
        build_architecture("grru", n_features=1, window_bars=1, n_classes=3)
