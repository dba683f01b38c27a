"""The LSTM by hand against `nn.LSTM`, lane by lane, one way and both ways through time.

In float32 a CPU leaves layers to oneDNN; in float64, or asked directly, the walk by hand is taken.

Shapes: M members, T steps, B rows, I inputs, H hidden, L lanes, S = T + 1 states, G gates (4 H)
"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from walkforge.models import _lstm_layer
from walkforge.models._gru_layer import gru_walk, gru_walk_back
from walkforge.models._lstm import packed_lstm
from walkforge.models._lstm_layer import LstmWeights, lstm_layer, lstm_walk, lstm_walk_back

M, B, I, H = 3, 4, 5, 6  # noqa: E741
SEEDS = pytest.mark.parametrize("seed", range(3))
EXACT = {"rtol": 0, "atol": 1e-10}


def _modules(seed, dtype=torch.float64, **changes):
    """Return the LSTM of every member, with numbers of its own."""
    torch.manual_seed(seed)
    return [nn.LSTM(I, H, batch_first=True, **changes).to(dtype) for _ in range(M)]


def _state(modules):
    named = [dict(module.named_parameters()) for module in modules]
    return {
        f"lstm.{name}": torch.stack([one[name].detach() for one in named]).requires_grad_()
        for name in named[0]
    }


def _weights(modules):
    state = _state(modules)
    return LstmWeights(
        input_LIG=state["lstm.weight_ih_l0"].transpose(1, 2),
        bias_L1G=(state["lstm.bias_ih_l0"] + state["lstm.bias_hh_l0"])[:, None],
        hidden_LHG=state["lstm.weight_hh_l0"].transpose(1, 2),
    )


def _draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(100 + seed))


def _walked(seed, steps=7, lanes=M, dtype=torch.float64):
    """Return gates, states and cells of a walk, and its recurrent weights."""
    gates = _draw(seed, lanes, steps, B, 4 * H, dtype=dtype)
    hidden = _draw(seed + 1, lanes, H, 4 * H, dtype=dtype)
    states, cells = lstm_walk(gates, hidden)
    return gates, states, cells, hidden


@SEEDS
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 11])
def test_outputs_last_states_and_gradients_are_those_of_nn_lstm(seed, bidirectional, steps):
    modules = _modules(seed, bidirectional=bidirectional)
    state = _state(modules)
    x_MTBI = _draw(seed, M, steps, B, I).requires_grad_()
    outputs, last = packed_lstm(state, "lstm", x_MTBI, bidirectional=bidirectional)
    to_outputs, to_last = _draw(seed + 1, *outputs.shape), _draw(seed + 2, *last.shape)
    ((outputs * to_outputs).sum() + (last * to_last).sum()).backward()
    for m, module in enumerate(modules):
        x_BTI = x_MTBI.detach()[m].transpose(0, 1).requires_grad_()
        alone_BTD, (last_WBH, _) = module(x_BTI)
        alone_last = torch.cat(list(last_WBH), dim=-1)
        alone = alone_BTD.transpose(0, 1)
        assert_close(outputs[m], alone, **EXACT)
        assert_close(last[m], alone_last, **EXACT)
        ((alone * to_outputs[m]).sum() + (alone_last * to_last[m]).sum()).backward()
        assert_close(x_MTBI.grad[m], x_BTI.grad.transpose(0, 1), **EXACT)
        for name, parameter in module.named_parameters():
            assert_close(state[f"lstm.{name}"].grad[m], parameter.grad, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_second_layer_is_named_as_nn_lstm_names_it(dtype, bidirectional):
    modules = _modules(0, dtype, num_layers=2, bidirectional=bidirectional)
    state, x_MTBX = _state(modules), _draw(0, M, 5, B, I, dtype=dtype)
    for layer in range(2):
        x_MTBX, _ = packed_lstm(state, "lstm", x_MTBX, layer=layer, bidirectional=bidirectional)
    x_MBTI = _draw(0, M, 5, B, I, dtype=dtype).transpose(1, 2)
    for m, module in enumerate(modules):
        assert_close(x_MTBX[m], module(x_MBTI[m])[0].transpose(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_first_half_has_read_what_came_before_and_the_second_what_came_after(dtype):
    state = _state(_modules(0, dtype, bidirectional=True))
    x_MTBI = _draw(0, M, 6, B, I, dtype=dtype)
    changed = x_MTBI.clone()
    changed[:, 2] += 1.0
    before, last = packed_lstm(state, "lstm", x_MTBI, bidirectional=True)
    after, _ = packed_lstm(state, "lstm", changed, bidirectional=True)
    differs_T2 = (before != after).unflatten(-1, (2, H)).any(-1).any(2).any(0)
    assert differs_T2[:, 0].tolist() == [False, False, True, True, True, True]
    assert differs_T2[:, 1].tolist() == [True, True, True, False, False, False]
    assert torch.equal(last[..., :H], before[:, -1, :, :H]), "forwards ends at the last bar"
    assert torch.equal(last[..., H:], before[:, 0, :, H:]), "backwards ends at the first"


def test_in_float32_both_ways_of_computing_agree():
    modules = _modules(0, torch.float32)
    x_MTBI = _draw(0, M, 30, B, I, dtype=torch.float32)
    by_hand = lstm_layer(x_MTBI, _weights(modules))
    for one, other in zip(by_hand, packed_lstm(_state(modules), "lstm", x_MTBI), strict=True):
        assert_close(one, other, rtol=0, atol=2e-6)


def test_gradients_are_the_slopes_that_small_steps_show():
    weights = [t.requires_grad_() for t in _weights(_modules(0)[:1]).tensors(torch.float64)]
    leaves = [t.detach().clone().requires_grad_() for t in weights]
    x_LTBI = _draw(0, 1, 3, 2, I).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, *own: lstm_layer(x, LstmWeights(*own)), (x_LTBI, *leaves)
    )


def test_a_lane_computes_the_same_alone():
    gates, states, cells, hidden = _walked(0)
    d_states, d_last = _draw(3, M, 7, B, H), _draw(4, M, B, H)
    d_gates = lstm_walk_back(gates, cells, hidden, d_states, d_last)
    alone = _draw(0, M, 7, B, 4 * H)[1:2]
    own_states, own_cells = lstm_walk(alone, hidden[1:2])
    back = lstm_walk_back(alone, own_cells, hidden[1:2], d_states[1:2], d_last[1:2])
    for one, other in ((states, own_states), (cells, own_cells), (gates, alone), (d_gates, back)):
        assert_close(one[1:2], other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nan_in_one_lane_leaves_the_others_bit_identical(dtype):
    weights = _weights(_modules(0, dtype))
    x_LTBI = _draw(0, M, 6, B, I, dtype=dtype)
    broken = x_LTBI.clone()
    broken[1, 3, 2] = torch.nan

    def there_and_back(x):
        x = x.clone().requires_grad_()
        outputs = lstm_layer(x, weights)
        gradient = torch.autograd.grad(outputs[0].sum() + outputs[1].sum(), x)
        return [*outputs, *gradient]

    for one, other in zip(there_and_back(x_LTBI), there_and_back(broken), strict=True):
        assert other[1].isnan().any()
        assert torch.equal(one[[0, 2]], other[[0, 2]])


def test_a_gradient_that_is_missing_counts_as_zero():
    gates, _, cells, hidden = _walked(0)
    d_states, d_last = _draw(3, M, 7, B, H), _draw(4, M, B, H)

    def back(*given):
        return lstm_walk_back(gates.clone(), cells, hidden, *given)

    no_states, no_last = torch.zeros_like(d_states), torch.zeros_like(d_last)
    assert torch.equal(back(None, d_last), back(no_states, d_last))
    assert torch.equal(back(d_states, None), back(d_states, no_last))
    assert back(None, None).eq(0).all()


@pytest.mark.parametrize("block_bytes", [1, 2 * M * B * 4 * H * 8, 2**30])
def test_the_way_back_is_the_same_however_many_steps_it_prepares_at_once(monkeypatch, block_bytes):
    gates, _, cells, hidden = _walked(0)
    d_states = _draw(3, M, 7, B, H)
    expected = lstm_walk_back(gates.clone(), cells, hidden, d_states, None)
    monkeypatch.setattr(_lstm_layer, "_CPU_BLOCK_BYTES", block_bytes)
    found = lstm_walk_back(gates.clone(), cells, hidden, d_states, None)
    assert_close(found, expected, rtol=0, atol=1e-13)


def test_the_walk_back_leaves_what_it_is_given():
    gates, _, cells, hidden = _walked(0)
    given = [cells, hidden, _draw(3, M, 7, B, H), _draw(4, M, B, H)]
    copies = [tensor.clone() for tensor in given]
    lstm_walk_back(gates, *given)
    assert all(map(torch.equal, given, copies))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_under_autocast_states_have_16_bits_and_stay_near(dtype):
    modules, x_LTBI = _modules(0, torch.float32), _draw(0, M, 20, B, I, dtype=torch.float32)
    expected, _ = lstm_layer(x_LTBI, _weights(modules))
    with torch.autocast("cpu", dtype=dtype):
        states, last = packed_lstm(_state(modules), "lstm", x_LTBI)
    assert states.dtype == last.dtype == dtype
    assert_close(states.float(), expected, rtol=0, atol=0.02)


def test_cells_keep_what_16_bits_would_lose():
    steps = 600
    gates = torch.zeros(1, steps, 1, 4, dtype=torch.bfloat16)
    gates[..., 0], gates[..., 1], gates[..., 2] = -5.0, 30.0, 30.0  # remember all, add 0.0067
    _, cells = lstm_walk(gates, torch.zeros(1, 1, 4, dtype=torch.bfloat16))
    assert cells.dtype == torch.float32
    assert cells[0, -1].item() == pytest.approx(steps * gates[0, 0, 0, 0].item(), rel=1e-4)


@SEEDS
def test_the_walks_of_the_gru_are_those_of_nn_gru(seed):
    torch.manual_seed(seed)
    module = nn.GRU(I, H, batch_first=True).double()
    x_BTI = _draw(seed, B, 7, I)
    weight, bias = module.weight_hh_l0.detach(), module.bias_hh_l0.detach()
    products = (x_BTI @ module.weight_ih_l0.T + module.bias_ih_l0).detach().transpose(0, 1)[None]
    gates = (products[..., : 2 * H] + bias[: 2 * H]).contiguous()
    news = products[..., 2 * H :].contiguous()
    hidden = weight.T[None].split([2 * H, H], dim=2)
    states, recalled = gru_walk(gates, news, *hidden, bias[None, None, 2 * H :])
    expected, _ = module(x_BTI)
    assert_close(states[0, 1:], expected.transpose(0, 1), **EXACT)
    d_states, d_last = _draw(seed, 1, 7, B, H), _draw(seed + 1, 1, B, H)
    back = gru_walk_back(gates, news, recalled, states, *hidden, d_states, d_last)
    d_gates, d_news, d_recalled = back
    (
        (expected.transpose(0, 1) * d_states[0]).sum() + (expected[:, -1] * d_last[0]).sum()
    ).backward()
    d_inputs = torch.cat([d_gates, d_news], dim=-1).sum((0, 1, 2))
    assert_close(d_inputs, module.bias_ih_l0.grad, **EXACT)
    assert_close(d_recalled.sum((0, 1, 2)), module.bias_hh_l0.grad[2 * H :], **EXACT)
