"""Packed convolutions against `nn.Conv1d`.

Shapes: M members, T bars, B rows, I channels in, O channels out
"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from walkforge.models._convolution import packed_convolution

M, T, B, I, O = 3, 6, 4, 5, 7  # noqa: E741
KERNELS = pytest.mark.parametrize("kernel_bars", [1, 3, 5, 11])


def _modules(kernel_bars):
    torch.manual_seed(kernel_bars)
    padding = kernel_bars // 2
    return [nn.Conv1d(I, O, kernel_bars, padding=padding).double() for _ in range(M)]


def _state(modules):
    named = [dict(module.named_parameters()) for module in modules]
    return {
        f"one.{name}": torch.stack([own[name].detach() for own in named]).requires_grad_()
        for name in named[0]
    }


@KERNELS
def test_every_member_convolves_as_nn_conv1d_there_and_back(kernel_bars):
    modules = _modules(kernel_bars)
    state, x_MTBI = _state(modules), torch.randn(M, T, B, I, dtype=torch.float64).requires_grad_()
    y_MTBO = packed_convolution(state, "one", x_MTBI)
    towards = torch.randn_like(y_MTBO)
    (y_MTBO * towards).sum().backward()
    for m, module in enumerate(modules):
        x_BIT = x_MTBI.detach()[m].permute(1, 2, 0).requires_grad_()
        y_TBO = module(x_BIT).permute(2, 0, 1)
        assert_close(y_MTBO[m], y_TBO, rtol=0, atol=1e-12)
        (y_TBO * towards[m]).sum().backward()
        assert_close(x_MTBI.grad[m], x_BIT.grad.permute(2, 0, 1), rtol=0, atol=1e-12)
        for name, parameter in module.named_parameters():
            assert_close(state[f"one.{name}"].grad[m], parameter.grad, rtol=0, atol=1e-12)


@KERNELS
def test_a_bar_is_seen_by_the_bars_around_it_and_by_its_own_row(kernel_bars):
    state = _state(_modules(kernel_bars))
    x_MTBI = torch.randn(M, T, B, I, dtype=torch.float64)
    changed = x_MTBI.clone()
    changed[1, 3, 2] += 1.0
    y, other = (packed_convolution(state, "one", x) for x in (x_MTBI, changed))
    differs_MTB = (y != other).any(-1)
    expected_MTB = torch.zeros(M, T, B, dtype=torch.bool)
    reach = kernel_bars // 2
    expected_MTB[1, max(0, 3 - reach) : 3 + reach + 1, 2] = True
    assert torch.equal(differs_MTB, expected_MTB)
