"""Whether a user's own module can be a member: it trains, and rows and members stay apart.

Shapes: M members, B rows in a batch, T bars in the window, F features, K outputs of a row
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from walkforge.base import OwnPart, TrainingError

from ._architecture import initial_state
from ._own import OwnNetwork, all_at_once, numbers_of, one_by_one
from ._own_dropout import KeyedModule

_ROWS = 7
# A product of one row is rounded otherwise than that of many.
_ROUNDING = 1e-4
# Far outside what scaled features are, so that whatever sees it is moved by more than rounding.
_FAR = 30.0


def check_own_model(part: OwnPart, *, n_features: int, window_bars: int, n_outputs: int) -> None:
    """Raise TrainingError where the module of `part` cannot be trained and asked like the others.

    It is a module of float32 parameters that the seed decides and that all have a gradient;
    [B, T, F] give finite [B, K]. In evaluation mode a row says alone what it says inside a batch,
    whatever the other rows hold, twice the same, and leaves the module's state alone. In training
    mode it draws no random numbers but those of `nn.Dropout`; its rows may see each other, as
    batch normalisation lets them. NaN in one member leaves the others bit for bit as they are.
    """
    network = OwnNetwork(
        n_features=n_features, window_bars=window_bars, n_classes=n_outputs, part=part
    )
    random = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = network.twin()
        _refuse_strange_numbers(part, twin)
        _refuse_unseeded(part, network)
        x_BTF = torch.randn(_ROWS, window_bars, n_features, generator=random)
        _refuse_wrong_outputs(part, twin, x_BTF, n_outputs)
        _refuse_rows_that_meet(part, twin, x_BTF)
        _refuse_changes(part, twin, x_BTF)
        _refuse_own_randomness(part, twin, x_BTF)
        _refuse_unused(part, twin, x_BTF)
        _refuse_members_that_meet(part, network, twin, x_BTF)


def _refuse(part: OwnPart, found: str, way_out: str) -> None:
    raise TrainingError(f"{part.title}: {found}; {way_out}")


def _refuse_strange_numbers(part: OwnPart, twin: nn.Module) -> None:
    named = dict(twin.named_parameters())
    if not named:
        _refuse(part, "the module has no parameters", "there is nothing to train")
    if len(named) < len(dict(twin.named_parameters(remove_duplicate=False))):
        _refuse(part, "two layers share a parameter", "give each its own")
    for name, tensor in {**named, **dict(twin.named_buffers())}.items():
        if is_lazy(tensor):
            _refuse(part, f"{name} has no shape yet", "use layers that know their sizes")
        if name in named and (tensor.dtype != torch.float32 or not tensor.requires_grad):
            frozen = "" if tensor.requires_grad else ", frozen"
            _refuse(
                part,
                f"the parameter {name} is {tensor.dtype}{frozen}",
                "parameters are float32 and trained; what is neither is a buffer",
            )


def _refuse_unseeded(part: OwnPart, network: OwnNetwork) -> None:
    first, again = (initial_state(network, 1) for _ in range(2))
    for name, tensor in first.items():
        if not torch.equal(tensor, again[name]):
            _refuse(
                part,
                f"{name} begins with other numbers each time, whatever the seed",
                "draw them with torch",
            )


def _outputs(part: OwnPart, module: nn.Module, x_BTF: Tensor) -> Tensor:
    """Return the module's outputs; an error in it becomes one line."""
    outputs = replace(part, name="forward", function=module)(x_BTF)
    if not isinstance(outputs, Tensor):
        _refuse(part, f"the module returns {type(outputs).__name__}", "expected a tensor [B, K]")
    return outputs


@torch.no_grad()
def _refuse_wrong_outputs(part: OwnPart, twin: nn.Module, x_BTF: Tensor, n_outputs: int) -> None:
    for rows_BTF in (x_BTF, x_BTF[:1]):
        outputs = _outputs(part, twin.eval(), rows_BTF)
        expected = (len(rows_BTF), n_outputs)
        if tuple(outputs.shape) != expected:
            _refuse(
                part,
                f"{tuple(rows_BTF.shape)} (rows, bars, features) give {tuple(outputs.shape)}",
                f"expected {expected}, a number per row and class",
            )
        if not outputs.isfinite().all():
            _refuse(part, "a fresh module gives NaN or infinity", "look at how it begins")


@torch.no_grad()
def _refuse_rows_that_meet(part: OwnPart, twin: nn.Module, x_BTF: Tensor) -> None:
    together = _outputs(part, twin.eval(), x_BTF)
    others = x_BTF.clone()
    others[1:] = _FAR * x_BTF[1:].flip(0)
    for row, alone in (
        (0, _outputs(part, twin, x_BTF[:1])[0]),
        (0, _outputs(part, twin, others)[0]),
        (_ROWS - 1, _outputs(part, twin, x_BTF[-1:])[0]),
    ):
        apart = (together[row] - alone).abs().max().item()
        if apart > _ROUNDING * max(1.0, together[row].abs().max().item()):
            _refuse(
                part,
                f"a row of a batch gives {_numbers(together[row])}, and {_numbers(alone)} alone or "
                "beside other rows",
                "in evaluation mode no row may see another (batch normalisation needs "
                "track_running_stats)",
            )


@torch.no_grad()
def _refuse_changes(part: OwnPart, twin: nn.Module, x_BTF: Tensor) -> None:
    before = numbers_of(twin.eval())
    first, second = (_outputs(part, twin, x_BTF) for _ in range(2))
    if not torch.equal(first, second):
        _refuse(
            part,
            f"the same rows give {_numbers(first[0])}, and {_numbers(second[0])} when asked again",
            "in evaluation mode nothing is random or remembered",
        )
    for name, tensor in numbers_of(twin).items():
        if not torch.equal(tensor, before[name]):
            _refuse(part, f"a prediction changes {name}", "only training may")


def _refuse_own_randomness(part: OwnPart, twin: nn.Module, x_BTF: Tensor) -> None:
    module = KeyedModule.copy_of(twin, training=True)

    def outputs(seed: int) -> Tensor:
        module.begin(torch.tensor(3), 0)
        torch.manual_seed(seed)
        # The same numbers each time: running statistics may go on, nothing else may.
        asked = replace(
            part,
            name="forward",
            function=lambda x: functional_call(module.module, numbers_of(twin), (x,)),
        )
        return asked(x_BTF)

    if not torch.equal(outputs(1), outputs(2)):
        _refuse(
            part,
            "in training the module draws random numbers of its own, or remembers",
            "use torch.nn.Dropout layers, which draw by member and step, and buffers",
        )


def _refuse_unused(part: OwnPart, twin: nn.Module, x_BTF: Tensor) -> None:
    module = KeyedModule.copy_of(twin, training=True)
    module.begin(torch.tensor(3), 0)
    named = dict(module.module.named_parameters())
    outputs = _outputs(part, module.module, x_BTF)
    if not outputs.requires_grad:
        _refuse(part, "the outputs have no gradient", "leave out detach() and no_grad()")
    gradients = torch.autograd.grad(outputs.sum(), list(named.values()), allow_unused=True)
    unused = [name for name, one in zip(named, gradients, strict=True) if one is None]
    if unused:
        _refuse(part, f"{', '.join(unused)} has no part in the outputs", "leave it out")


def _refuse_members_that_meet(
    part: OwnPart, network: OwnNetwork, twin: nn.Module, x_BTF: Tensor
) -> None:
    compute = all_at_once if network.packs else one_by_one
    x_MBTF = torch.stack([x_BTF, x_BTF.flip(0), -x_BTF])
    broken_MBTF = x_MBTF.clone()
    broken_MBTF[1] = torch.nan
    keys_M = torch.arange(3)
    outputs = []
    for rows in (x_MBTF, broken_MBTF):
        state = {name: torch.stack([t, t, t]) for name, t in numbers_of(twin).items()}
        module = KeyedModule.copy_of(twin, training=True)
        with torch.no_grad():
            outputs.append(compute(module, state, rows, keys_M, 0))
    if not all(torch.equal(outputs[0][m], outputs[1][m]) for m in (0, 2)):
        _refuse(
            part,
            "members that train together change each other's outputs",
            "keep everything that the module remembers in parameters and buffers",
        )


def _numbers(row: Tensor) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in row.tolist()) + "]"
