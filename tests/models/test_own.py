"""A user's own module is a member like any other: packed, isolated, and the module itself alone."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from models.own_modules import DISHONEST, HONEST, part_of, perceptron, recurrent
from walkforge.base import Precision, TrainingError
from walkforge.models import (
    Layout,
    MemberDropout,
    OwnNetwork,
    check_own_model,
    extract_twin,
    initial_state,
    step_keys,
)
from walkforge.training import Member, TrainingPlan, train_pack

SIZES = {"n_features": 4, "window_bars": 3}
ALL = pytest.mark.parametrize("make", HONEST, ids=lambda make: make.__name__)


def _network(make):
    return OwnNetwork(**SIZES, n_classes=3, part=part_of(make))


def _packed(network, seeds=(3, 4, 5)):
    states = [initial_state(network, seed) for seed in seeds]
    layout = Layout.of(network)
    return states, layout, layout.flatten(states)


def _inputs():
    return torch.randn(3, 13, 3, 4, generator=torch.Generator().manual_seed(1))


def _leaves(layout, flat_MP):
    """Return named tensors; buffers apart from the graph, as the trainer has them."""
    views = layout.views(flat_MP)
    return {n: v if n in layout.parameter_names else v.detach() for n, v in views.items()}


@ALL
def test_honest_modules_pass_the_guard(make):
    check_own_model(part_of(make), **SIZES, n_outputs=3)


@pytest.mark.parametrize("case", DISHONEST)
def test_what_cannot_be_a_member_is_refused_in_one_line(case):
    make, expected = DISHONEST[case]
    with pytest.raises(TrainingError, match=expected) as caught:
        check_own_model(part_of(make), **SIZES, n_outputs=3)
    assert "\n" not in str(caught.value)


@ALL
def test_every_member_predicts_as_its_ordinary_module(make):
    network = _network(make)
    states, layout, flat_MP = _packed(network)
    outputs_MBK = network.forward(layout.views(flat_MP), _inputs(), dropout=None)
    for m, state in enumerate(states):
        twin = extract_twin(network, state)
        assert_close(outputs_MBK[m], twin(_inputs()[m]), rtol=1e-5, atol=1e-6)


@ALL
def test_every_member_trains_as_its_ordinary_module(make):
    network = _network(make)
    states, layout, flat_MP = _packed(network)
    flat_MP.requires_grad_()
    state = _leaves(layout, flat_MP)
    no_dropout = [
        layer for layer in network.twin().modules() if isinstance(layer, nn.Dropout)
    ] == []
    dropout = MemberDropout(0.0, torch.arange(3))
    network.forward(state, _inputs(), dropout=dropout).square().sum().backward()
    if not no_dropout:
        return  # its masks are its own; see the tests of dropout
    for m, alone in enumerate(states):
        twin = extract_twin(network, alone).train()
        twin(_inputs()[m]).square().sum().backward()
        for name, parameter in twin.named_parameters():
            assert_close(layout.views(flat_MP.grad)[name][m], parameter.grad, rtol=2e-4, atol=2e-5)
        for name, buffer in twin.named_buffers():
            if name in state:
                assert_close(state[name][m], buffer, rtol=1e-5, atol=1e-6)


@ALL
def test_nan_in_one_members_rows_leaves_all_others_bit_identical(make):
    network = _network(make)
    _, layout, flat_MP = _packed(network)
    broken_MBTF = _inputs()
    broken_MBTF[1, 2:] = torch.nan

    def there_and_back(x):
        flat = flat_MP.clone().requires_grad_()
        outputs = network.forward(
            _leaves(layout, flat), x, dropout=MemberDropout(0.0, torch.arange(3))
        )
        outputs.square().sum().backward()
        return outputs.detach(), flat.grad

    for whole, broken in zip(there_and_back(_inputs()), there_and_back(broken_MBTF), strict=True):
        assert broken[1].isnan().any()
        assert torch.equal(whole[0], broken[0])
        assert torch.equal(whole[2], broken[2])


def test_layers_without_a_rule_are_computed_one_member_after_the_other():
    assert _network(perceptron).packs
    assert not _network(recurrent).packs
    assert _network(perceptron).bars_in_a_row() == 1
    assert _network(recurrent).bars_in_a_row() == 3


@pytest.mark.parametrize("make", [perceptron, recurrent], ids=lambda make: make.__name__)
def test_dropout_belongs_to_a_member_and_its_step(make):
    network = _network(make)
    _, layout, flat_MP = _packed(network, seeds=(3, 3, 3))
    x_MBTF = _inputs()[:1].expand(3, -1, -1, -1)

    def outputs(seeds, steps, own=slice(None)):
        keys_M = step_keys(torch.tensor(seeds), torch.tensor(steps))[own]
        state = layout.views(flat_MP[own])
        return network.forward(state, x_MBTF[own], dropout=MemberDropout(0.0, keys_M))

    first = outputs([1, 2, 1], [5, 5, 6])
    assert torch.equal(first, outputs([1, 2, 1], [5, 5, 6]))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(first[one], first[other])
    for m in range(3):
        alone = outputs([1, 2, 1], [5, 5, 6], slice(m, m + 1))
        assert_close(alone[0], first[m], rtol=1e-5, atol=1e-6)


def test_dropout_drops_the_asked_share_and_keeps_the_mean():
    def make(n_features, window_bars, n_outputs):
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(2000, 1, bias=False))

    network = OwnNetwork(n_features=2000, window_bars=1, n_classes=1, part=part_of(make))
    twin = network.twin()
    state = {"2.weight": torch.full((2, 1, 2000), 1 / 2000)}
    x_MBTF = torch.ones(2, 100, 1, 2000)
    keys_M = step_keys(torch.tensor([1, 2]), torch.tensor([5, 5]))
    out_MB1 = network.forward(state, x_MBTF, dropout=MemberDropout(0.0, keys_M))
    assert isinstance(twin, nn.Sequential)
    assert_close(out_MB1.mean(), torch.tensor(1.0), atol=0.005, rtol=0)
    # A mean of 2000 numbers that are 0 or 1 / 0.7 has this standard deviation.
    assert_close(out_MB1.std(), torch.tensor((0.3 / 0.7 / 2000) ** 0.5), rtol=0.2, atol=0)
    assert not torch.equal(out_MB1[0], out_MB1[1])


def test_a_batch_in_pieces_drops_what_the_whole_batch_drops():
    network = _network(perceptron)
    _, layout, flat_MP = _packed(network)
    state, keys_M = layout.views(flat_MP), torch.arange(3)
    whole = network.forward(state, _inputs(), dropout=MemberDropout(0.4, keys_M))
    pieces = [
        network.forward(
            state, _inputs()[:, rows], dropout=MemberDropout(0.4, keys_M, rows.start, 13)
        )
        for rows in (slice(0, 5), slice(5, 13))
    ]
    assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)


def _members(n_members):
    random = np.random.default_rng(0)
    return [
        Member(
            symbol=f"S{m}",
            fold=0,
            seed=m,
            train_rows=np.arange(3, 203) + 0 * m,
            train_labels=random.integers(0, 3, 200).astype(np.int8),
            validation_rows=np.arange(220, 290),
            validation_labels=random.integers(0, 3, 70).astype(np.int8),
            center=np.zeros(4),
            scale=np.ones(4),
        )
        for m in range(n_members)
    ]


def _trained(make, members, **more):
    table = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
    return train_pack(
        _network(make),
        table,
        members,
        TrainingPlan(epochs=3, batch_size=32),
        window_bars=3,
        clip=10.0,
        precision=Precision("float32", autocast=False, tf32=False),
        n_classes=3,
        **more,
    )


@ALL
def test_a_member_trained_alone_and_in_a_pack_agree(make):
    members = _members(3)
    together = _trained(make, members)
    for member, packed in zip(members, together, strict=True):
        (alone,) = _trained(make, [member])
        assert packed.best_epoch == alone.best_epoch
        for name, tensor in alone.state.items():
            assert_close(packed.state[name], tensor, rtol=2e-4, atol=2e-5)


def test_training_that_was_cut_off_goes_on_to_the_same_numbers(tmp_path):
    class CutOffError(Exception):
        pass

    def stop(report):
        if report["epoch"] == 2:
            raise CutOffError
        return ()

    members = _members(2)
    whole = _trained(perceptron, members)
    with pytest.raises(CutOffError):
        _trained(perceptron, members, checkpoints=tmp_path, prune=stop)
    later = _trained(perceptron, members, checkpoints=tmp_path)
    for one, other in zip(whole, later, strict=True):
        for name, tensor in one.state.items():
            assert torch.equal(tensor, other.state[name]), name


def test_what_no_file_keeps_is_no_part_of_the_state():
    network = _network(HONEST[3])
    assert "positions" not in Layout.of(network).shapes
    assert "positions" not in initial_state(network, 1)


def test_an_error_in_training_names_the_users_file():
    def make(n_features, window_bars, n_outputs):
        return Picky(n_features, n_outputs)

    class Picky(nn.Linear):
        def forward(self, x):
            if len(x) == 32:  # a batch of the training, and no probe
                raise KeyError("thirty-two")
            return super().forward(x[:, -1])

    check_own_model(part_of(make), **SIZES, n_outputs=3)
    with pytest.raises(TrainingError, match=r"make.py:forward failed: KeyError: 'thirty-two'"):
        _trained(make, _members(1))
