"""A member of a pack computes what the ordinary module with the same numbers computes."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from walkforge.base import UsageError
from walkforge.models import (
    Bilstm,
    CnnLstm,
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
    CnnLstm(n_features=5, window_bars=9, n_classes=3, channels=(6, 7), hidden=8),
    CnnLstm(n_features=5, window_bars=3, n_classes=2, channels=(4,), kernel_bars=5, layers=2),
    CnnLstm(n_features=5, window_bars=4, n_classes=3, channels=(), kernel_bars=1, hidden=6),
    Bilstm(n_features=5, window_bars=9, encoder=(7, 6, 5), decoder_hidden=8),
    Bilstm(n_features=5, window_bars=4, horizon_bars=3, encoder=(6,), decoder="dense"),
    Bilstm(n_features=5, window_bars=4, horizon_bars=1, encoder=(6, 4), bidirectional=False),
    Bilstm(
        n_features=5, window_bars=4, levels=(0.1, 0.5, 0.6), encoder=(6, 4), bidirectional=False,
        decoder="dense", decoder_hidden=3, learned_weights=True,
    ),
]  # fmt: skip
# Normalisation is always computed in float32; all others can be held to float64.
EXACT = [one for one in ARCHITECTURES if getattr(one, "norm", "none") == "none"]
CASES = pytest.mark.parametrize(
    ("architecture", "dtype"),
    [*((one, torch.float32) for one in ARCHITECTURES), *((one, torch.float64) for one in EXACT)],
    ids=str,
)
FORWARDS = {torch.float32: {"rtol": 1e-5, "atol": 1e-6}, torch.float64: {"rtol": 0, "atol": 1e-12}}
BACKWARDS = {torch.float32: {"rtol": 2e-4, "atol": 2e-5}, torch.float64: {"rtol": 0, "atol": 1e-10}}
# Batch normalisation sees the rows of its own piece only; a perceptron of no layer drops nothing.
DROPPING = [one for one in ARCHITECTURES if one not in ARCHITECTURES[1:3]]


def _packed(architecture, seeds=(3, 4, 5)):
    states = [initial_state(architecture, seed) for seed in seeds]
    layout = Layout.of(architecture)
    return states, layout, layout.flatten(states)


def _inputs(architecture, dtype=torch.float32):
    return torch.randn(3, 13, architecture.window_bars, architecture.n_features, dtype=dtype)


@CASES
def test_every_member_predicts_as_its_ordinary_module(architecture, dtype):
    states, layout, flat_MP = _packed(architecture)
    x_MBTF = _inputs(architecture, dtype)
    outputs_MBK = architecture.forward(layout.views(flat_MP.to(dtype)), x_MBTF, dropout=None)
    for m, state in enumerate(states):
        twin = extract_twin(architecture, state).to(dtype)
        assert_close(outputs_MBK[m], twin(x_MBTF[m]), **FORWARDS[dtype])


@CASES
def test_every_member_trains_as_its_ordinary_module(architecture, dtype):
    states, layout, flat_MP = _packed(architecture)
    x_MBTF, flat_MP = _inputs(architecture, dtype), flat_MP.to(dtype).requires_grad_()
    training = MemberDropout(0.0, torch.zeros(3, dtype=torch.int64))
    views = layout.views(flat_MP)
    buffers = {name: v.detach() for name, v in views.items() if "running" in name}
    architecture.forward(views | buffers, x_MBTF, dropout=training).square().sum().backward()
    for m, state in enumerate(states):
        twin = extract_twin(architecture, state).to(dtype).train()
        twin(x_MBTF[m]).square().sum().backward()
        for name, parameter in twin.named_parameters():
            packed = layout.views(flat_MP.grad)[name][m]
            alone = torch.zeros_like(packed) if parameter.grad is None else parameter.grad
            assert_close(packed, alone, **BACKWARDS[dtype])
        for name, buffer in twin.named_buffers():
            if buffer.is_floating_point():
                assert_close(buffers[name][m], buffer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_nan_in_one_members_rows_leaves_all_others_bit_identical(architecture):
    _, layout, flat_MP = _packed(architecture)
    x_MBTF = _inputs(architecture)
    broken_MBTF = x_MBTF.clone()
    broken_MBTF[1, 2:] = torch.nan

    def there_and_back(x):
        flat = flat_MP.clone().requires_grad_()
        views = layout.views(flat)
        views |= {name: v.detach() for name, v in views.items() if "running" in name}
        training = MemberDropout(0.3, torch.arange(3))
        outputs = architecture.forward(views, x, dropout=training)
        outputs.square().sum().backward()
        return outputs.detach(), flat.grad

    for whole, broken in zip(there_and_back(x_MBTF), there_and_back(broken_MBTF), strict=True):
        assert broken[1].isnan().any()
        assert torch.equal(whole[0], broken[0])
        assert torch.equal(whole[2], broken[2])


@pytest.mark.parametrize("architecture", DROPPING, ids=str)
def test_a_batch_in_pieces_drops_what_the_whole_batch_drops(architecture):
    _, layout, flat_MP = _packed(architecture)
    x_MBTF, keys_M = _inputs(architecture), torch.arange(3)

    def outputs(rows, dropout):
        return architecture.forward(layout.views(flat_MP), rows, dropout=dropout)

    whole = outputs(x_MBTF, MemberDropout(0.4, keys_M))
    pieces = [
        outputs(x_MBTF[:, rows], MemberDropout(0.4, keys_M, rows.start, 13))
        for rows in (slice(0, 5), slice(5, 9), slice(9, 13))
    ]
    assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole, outputs(x_MBTF, None))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_no_two_uses_of_dropout_share_a_mask_and_rows_stand_second_last(architecture):
    _, layout, flat_MP = _packed(architecture)
    layers = []

    def spy(x, layer):
        assert x.shape[0] == 3
        assert x.shape[-2] == 13
        layers.append(layer)
        return x

    architecture.forward(layout.views(flat_MP), _inputs(architecture), dropout=spy)
    assert len(set(layers)) == len(layers)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_equal_shapes_are_one_key_and_know_their_size(architecture):
    assert hash(architecture) == hash(dataclasses.replace(architecture))
    other = dataclasses.replace(architecture, window_bars=architecture.window_bars + 2)
    assert architecture != other
    assert architecture.numbers_per_row() < other.numbers_per_row()
    assert 1 <= architecture.bars_in_a_row() <= other.bars_in_a_row()


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


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_a_member_taken_out_holds_copies_of_its_numbers(architecture):
    state = initial_state(architecture, 7)
    twin = extract_twin(architecture, state)
    assert not twin.training
    assert Layout.of(architecture).shapes.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(twin.state_dict()[name], tensor)
        assert twin.state_dict()[name].data_ptr() != tensor.data_ptr()


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'gru'"):
        build_architecture("grru", n_features=1, window_bars=1, n_classes=3)
