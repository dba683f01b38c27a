"""Low-rank factors beside a MarketGPT's frozen matrices (Hu et al. 2021, "LoRA").

Shapes: I inputs of a matrix, O outputs, R rank; ... any leading axes
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from walkforge.base import TrainingError, derive_seed

from ._market_gpt import MarketGpt

# The paper's alpha / rank, with alpha = 2 x rank: no second number to turn beside the learning
# rate, and a rank may be changed without another one.
_SCALE = 2.0
# In every block. Embeddings, norms and the head keep their numbers, as in the paper.
_ADAPTED = ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")


class LoraLinear(nn.Module):
    """A frozen matrix and the product of two narrow ones, which learn what is added to it."""

    def __init__(self, linear: nn.Linear, rank: int, draw: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        weight_OI = linear.weight
        n_outputs, n_inputs = weight_OI.shape
        # Drawn on the CPU: the same numbers on every device.
        down_RI = torch.randn(rank, n_inputs, generator=draw) / math.sqrt(n_inputs)
        self.down = nn.Parameter(down_RI.to(weight_OI))
        self.up = nn.Parameter(weight_OI.new_zeros(n_outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] of [..., I]."""
        narrow = _SCALE * functional.linear(x, self.down)
        return self.linear(x) + functional.linear(narrow, self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Add the factors to the matrix itself and return it."""
        self.linear.weight.addmm_(self.up, self.down, alpha=_SCALE)
        return self.linear


def add_lora(model: MarketGpt, *, rank: int, seed: int) -> None:
    """Freeze a model and give the matrices of its blocks factors of `rank`, which alone learn.

    Its outputs do not change by a bit, as one factor of each pair is zero; the other's numbers
    follow from the seed. Raises TrainingError for an impossible rank, or where there are factors.
    """
    if any(_adapted(model)):
        raise TrainingError("the model has LoRA factors already; call merge_lora first")
    linears = {name: one for name, one in model.named_modules() if name.endswith(_ADAPTED)}
    narrowest = min(model.shape.d_model, model.shape.inner_width)
    if not 1 <= rank <= narrowest:
        raise TrainingError(
            f"LoRA: rank is {rank}; expected 1 to {narrowest}, the narrowest side of a matrix"
        )
    draw = torch.Generator().manual_seed(derive_seed(seed, "lora"))
    model.requires_grad_(False)
    for name, linear in linears.items():
        assert isinstance(linear, nn.Linear)
        model.set_submodule(name, LoraLinear(linear, rank, draw))


def merge_lora(model: MarketGpt) -> None:
    """Add all factors to their matrices: an ordinary MarketGpt again, all of which may learn.

    Raises TrainingError where there are none.
    """
    adapted = dict(_adapted(model))
    if not adapted:
        raise TrainingError("the model has no LoRA factors to merge; call add_lora first")
    for name, one in adapted.items():
        model.set_submodule(name, one.merged())
    model.requires_grad_(True)


def learned_parameters_text(model: nn.Module) -> str:
    """Return for a log how many of a model's parameters learn."""
    counts = [(one.numel(), one.requires_grad) for one in model.parameters()]
    learned, every = sum(n for n, learns in counts if learns), sum(n for n, _ in counts)
    return f"{learned:,} of {every:,} parameters learn ({learned / every:.1%})"


def _adapted(model: MarketGpt) -> Iterator[tuple[str, LoraLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            yield name, module
