"""What a MarketGPT says of decisions: paths that begin with their tokens, or their last state.

Shapes: n decisions, B of them at once, R tokens of a market, T tokens of a prompt, N paths of each
decision, S steps ahead, D width
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from walkforge.base import FloatArray, IntArray, derive_seed

from ._gpt_shape import GptShape
from ._market_gpt import MarketGpt
from ._sample_tokens import sample_tokens

# What the caches of all paths that are drawn at once may take. How many these are moves a logit by
# rounding, so it is the same on every machine.
_CACHE_BYTES = 2**29
_MOST_PATHS = 4096
# As many tokens are read at once where there are no paths.
_TOKENS_AT_ONCE = 2**14


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prompts:
    """The decisions of one series, each at a row of tokens."""

    tokens: NDArray[np.integer]
    """(R,), of which some may belong to other series."""
    rows: IntArray
    """Of each decision (n,): the last token that it reads."""
    lengths: IntArray
    """How many tokens each decision reads (n,), at least 1 and at most the context."""
    asset: int
    category: int

    def batches(self, at_once: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield places (B,) of decisions with equally long prompts, and the prompts (B, T)."""
        for length in np.unique(self.lengths):
            places = np.flatnonzero(self.lengths == length)
            for start in range(0, len(places), at_once):
                part = places[start : start + at_once]
                read_BT = self.rows[part, None] + np.arange(1 - length, 1)
                yield part, self.tokens[read_BT].astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class PathDraws:
    """How paths are drawn. Of one seed, series and moment they are the same at any time, on any
    device and beside any others; a run and a bundle therefore draw the same."""

    seed: int
    series: str
    paths: int
    steps: int
    temperature: float

    def uniforms(self, opened_ms: IntArray) -> FloatArray:
        """Return the numbers in [0, 1) that draw the paths of decisions (B x N, S), by the moment
        at which each decision's bar opened (B,).

        More paths, or more decisions, leave the others' numbers as they are.
        """
        key = derive_seed(self.seed, "paths", self.series)
        moments = opened_ms.astype(np.int64).view(np.uint64)
        drawn = [_drawn(key, int(moment), (self.paths, self.steps)) for moment in moments]
        return np.concatenate(drawn)


def _drawn(key: int, moment: int, shape: tuple[int, int]) -> FloatArray:
    """Return numbers of a stream of its own (Philox: Salmon et al. 2011)."""
    philox = np.random.Philox(key=np.array([key, moment], dtype=np.uint64))
    return np.random.Generator(philox).random(shape)


def sample_paths(
    model: MarketGpt, prompts: Prompts, opened_ms: IntArray, draws: PathDraws
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield places (B,) among the decisions (n,), and the tokens of their paths (B, N, S).

    `opened_ms` (n,) is when each decision's bar opened. What a decision gets follows from the
    model, its own prompt and its own draws; which others are drawn with it moves a logit by
    rounding alone. The model is in evaluation mode, and works on its own device.
    """
    device = next(model.parameters()).device
    for places, prompts_BT in prompts.batches(_decisions_at_once(model.shape, draws.paths)):
        tokens_NS = sample_tokens(
            model,
            *_on_device(prompts, prompts_BT, device),
            uniforms_NS=torch.from_numpy(draws.uniforms(opened_ms[places])).to(device),
            temperature=draws.temperature,
        )
        yield places, tokens_NS.view(len(places), draws.paths, -1).cpu().numpy()


@torch.no_grad()
def last_states(model: MarketGpt, prompts: Prompts) -> Tensor:
    """Return the state h_nD after the last norm at the last token of each prompt.

    The model is in evaluation mode; the states are on its device.
    """
    like = next(model.parameters())
    device, h_nD = like.device, like.new_empty(len(prompts.rows), model.shape.d_model)
    at_once = max(1, _TOKENS_AT_ONCE // model.shape.context)
    for places, prompts_BT in prompts.batches(at_once):
        h_BTD = model.hidden(*_on_device(prompts, prompts_BT, device))
        h_nD[torch.from_numpy(places).to(device)] = h_BTD[:, -1]
    return h_nD


def _decisions_at_once(shape: GptShape, paths: int) -> int:
    """Return for how many decisions paths are drawn together."""
    bytes_a_path = 2 * 4 * shape.layers * shape.d_model * shape.context
    most_paths = min(_MOST_PATHS, _CACHE_BYTES // bytes_a_path)
    return max(1, most_paths // paths)


def _on_device(
    prompts: Prompts, prompts_BT: IntArray, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens_BT, assets_B and categories_B."""
    tokens_BT = torch.from_numpy(prompts_BT).to(device)
    asset_B, category_B = (
        torch.full((len(prompts_BT),), number, device=device)
        for number in (prompts.asset, prompts.category)
    )
    return tokens_BT, asset_B, category_B
