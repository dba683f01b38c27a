"""A user's own module as a packed model.

All members go through one call of the module (`torch.func.vmap` over their numbers) where PyTorch
has a rule for each of its layers, and through it one after the other where it has none, as for
`nn.GRU` and `nn.LSTM`. Layers of `nn.Dropout` take the mask of the member that they are called for.

Shapes: M members, B rows in a batch, T bars in the window, F features, K outputs of a row
"""

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from walkforge.base import OwnPart, TrainingError

from ._architecture import StateViews
from ._dropout import MemberDropout
from ._own_dropout import KeyedModule
from ._uncompiled import uncompiled

_PROBE_ROWS = 5
# Copies that a thread keeps: one for training, one for prediction, and those of a study before.
_KEPT_COPIES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnNetwork:
    """What `part(n_features, window_bars, n_classes)` returns: a module, [B, T, F] to [B, K]."""

    n_features: int
    window_bars: int
    n_classes: int
    part: OwnPart

    def twin(self) -> nn.Module:
        """Return a fresh module; raise TrainingError where the function returns none."""
        module = self.part(self.n_features, self.window_bars, self.n_classes)
        if not isinstance(module, nn.Module):
            raise TrainingError(
                f"{self.part.title}: returned {type(module).__name__}, expected a torch.nn.Module"
            )
        return module

    # A compiler would look into the user's code, and stop at what it does not know.
    @uncompiled
    def forward(
        self, state: StateViews, x_MBTF: Tensor, *, dropout: MemberDropout | None
    ) -> Tensor:
        """Return logits_MBK."""
        module = _copy_of_thread(self, x_MBTF.device, dropout is not None)
        if dropout is None:
            keys_M, first_row = x_MBTF.new_zeros(len(x_MBTF), dtype=torch.int64), 0
        else:
            keys_M, first_row = dropout.keys_M, dropout.first_row
        compute = all_at_once if self.packs else one_by_one
        try:
            return compute(module, dict(state), x_MBTF, keys_M, first_row)
        except (MemoryError, RuntimeError):
            raise  # where memory was short, the trainer takes smaller parts
        except Exception as problem:
            raise self.part.failure(problem, "forward") from problem

    @property
    def packs(self) -> bool:
        """Return whether all members go through one call."""
        return _measured(self).packs

    def bars_in_a_row(self) -> int:
        """Return how many bars it walks through one after the other, as recurrent layers do."""
        return _measured(self).bars_in_a_row

    def numbers_per_row(self) -> int:
        """Return about how many numbers a prediction of one row holds at once."""
        return _measured(self).numbers_per_row


def all_at_once(
    module: KeyedModule,
    state: dict[str, Tensor],
    x_MBTF: Tensor,
    keys_M: Tensor,
    first_row: int,
) -> Tensor:
    """Return logits_MBK of one call for all members."""
    # A batch normalisation writes its running statistics into what it is given; of members whose
    # numbers lie apart, as those of a flat state do, it would be given a copy.
    kept = {n: state[n] for n, _ in module.module.named_buffers() if n in state}
    own = {n: t.clone(memory_format=torch.contiguous_format) for n, t in kept.items()}

    def one(numbers: dict[str, Tensor], x_BTF: Tensor, key: Tensor) -> Tensor:
        module.begin(key, first_row)
        return functional_call(module.module, numbers, (x_BTF,))

    outputs_MBK = vmap(one, randomness="error")(state | own, x_MBTF, keys_M)
    if module.module.training:
        with torch.no_grad():
            for name, buffer in kept.items():
                buffer.copy_(own[name])
    return outputs_MBK


def one_by_one(
    module: KeyedModule,
    state: dict[str, Tensor],
    x_MBTF: Tensor,
    keys_M: Tensor,
    first_row: int,
) -> Tensor:
    """Return logits_MBK of a call for each member."""
    outputs = []
    for m, x_BTF in enumerate(x_MBTF):
        module.begin(keys_M[m], first_row)
        numbers = {name: tensor[m] for name, tensor in state.items()}
        outputs.append(functional_call(module.module, numbers, (x_BTF,)))
    return torch.stack(outputs)


def numbers_of(twin: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters and floating-point buffers, as a layout has them."""
    kept = twin.state_dict()
    named = [*twin.named_parameters(), *twin.named_buffers()]
    return {n: t.detach().clone() for n, t in named if n in kept and t.is_floating_point()}


@dataclass(frozen=True, slots=True)
class _Measured:
    packs: bool
    bars_in_a_row: int
    numbers_per_row: int


@lru_cache(maxsize=32)
def _twin_of(network: OwnNetwork) -> nn.Module:
    """Return a module to be copied: to make one draws numbers that others may wait for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network.twin()


@lru_cache(maxsize=32)
def _measured(network: OwnNetwork) -> _Measured:
    """Ask the module what nobody can read off its code."""
    twin = _twin_of(network)
    random = torch.Generator().manual_seed(0)
    shape = (_PROBE_ROWS, network.window_bars, network.n_features)
    x_BTF = torch.randn(shape, generator=random)
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in twin.modules())
    return _Measured(
        packs=not recurrent and _can_pack(twin, x_BTF),
        bars_in_a_row=network.window_bars if recurrent else 1,
        numbers_per_row=_numbers_of_row(twin, x_BTF),
    )


def _can_pack(twin: nn.Module, x_BTF: Tensor) -> bool:
    """Return whether one call for two members gives what a call for each does.

    PyTorch has no rule for some layers; outputs, gradients and running statistics are compared.
    """
    x_MBTF = torch.stack([x_BTF, x_BTF.flip(0) + 1.0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a missing rule is a warning that it is slow
            for training in (True, False):
                module = KeyedModule.copy_of(twin, training=training)
                one, other = (
                    _asked(compute, module, twin, x_MBTF) for compute in (all_at_once, one_by_one)
                )
                if not all(_close(*pair) for pair in zip(one, other, strict=True)):
                    return False
    except (RuntimeError, NotImplementedError, ValueError, Warning):
        return False
    return True


def _asked(
    compute: Callable[..., Tensor], module: KeyedModule, twin: nn.Module, x_MBTF: Tensor
) -> list[Tensor]:
    """Return the outputs, what the state has become, and the gradients."""
    # Members' numbers lie apart, as in the flat state of a pack.
    state = {n: torch.stack([t, t], dim=-1).movedim(-1, 0) for n, t in numbers_of(twin).items()}
    leaves = [state[name].requires_grad_() for name, _ in twin.named_parameters()]
    keys_M = torch.arange(len(x_MBTF))
    with torch.no_grad():
        compute(module, dict(state), x_MBTF, keys_M, 0)
    outputs = compute(module, state, x_MBTF, keys_M, 0)
    found = torch.autograd.grad(outputs.square().sum(), leaves, allow_unused=True)
    gradients = [one for one in found if one is not None]
    return [outputs.detach(), *(t.detach() for t in state.values()), *gradients]


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def _numbers_of_row(twin: nn.Module, x_BTF: Tensor) -> int:
    """Return the inputs and what all layers put out for a row."""
    sizes = [x_BTF[0].numel()]

    def note(layer: nn.Module, inputs: object, output: object) -> None:
        found = output[0] if isinstance(output, tuple) else output
        if isinstance(found, Tensor):
            inside = 4 if isinstance(layer, nn.RNNBase) else 1  # an LSTM's gates
            sizes.append(inside * found.numel() // len(x_BTF))

    module = KeyedModule.copy_of(twin, training=False).module
    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(note)
    with torch.no_grad():
        module(x_BTF)
    return sum(sizes)


_of_thread = threading.local()


def _copy_of_thread(network: OwnNetwork, device: torch.device, training: bool) -> KeyedModule:
    """Return a module of this thread alone: a call puts the members' numbers into it."""
    copies: dict[object, KeyedModule] = _of_thread.__dict__.setdefault("copies", {})
    key = (network, device, training)
    if key not in copies:
        while len(copies) >= _KEPT_COPIES:
            del copies[next(iter(copies))]
        copies[key] = KeyedModule.copy_of(_twin_of(network), training=training, device=device)
    return copies[key]
