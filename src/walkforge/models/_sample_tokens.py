"""Tokens drawn one after the other from a MarketGPT.

Shapes: B rows, T tokens given, N paths (those of a row side by side), S steps ahead, V vocabulary,
D width, K tokens that may be drawn
"""

import torch
from torch import Tensor

from walkforge.base import TrainingError

from ._kv_cache import KvCache
from ._market_gpt import MarketGpt


@torch.no_grad()
def sample_tokens(
    model: MarketGpt,
    tokens_BT: Tensor,
    assets_B: Tensor,
    categories_B: Tensor,
    *,
    steps: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    paths: int = 1,
) -> Tensor:
    """Return the `steps` tokens [B x paths, S] that follow each row, int64; paths of a row are
    neighbours, and read their row together only once.

    Every token is drawn from the logits of a full pass over the last `context` tokens before it.
    The cache serves as long as all tokens fit into the context: give rows of at most
    context - steps + 1 tokens for speed. Beyond, each step reads the last `context` tokens anew.

    `generator` lives on the model's device. Temperature 0 takes the likeliest token; `top_k`
    keeps the k likeliest. Raises TrainingError for a model in training mode or impossible numbers.
    """
    _require_possible(model, steps, temperature, top_k, paths)
    context = model.shape.context
    seen_NT = tokens_BT[:, -context:].long()
    cache: KvCache | None = KvCache(model.shape, seen_NT.shape[1] + steps - 1)
    h_ND = model.hidden(seen_NT, assets_B, categories_B, cache)[:, -1]
    seen_NT, h_ND, assets_N, categories_N = (
        x.repeat_interleave(paths, dim=0) for x in (seen_NT, h_ND, assets_B, categories_B)
    )
    cache = _unless_full(cache)
    if cache is not None:
        cache.repeat_rows(paths)
    drawn: list[Tensor] = []
    while True:
        token_N1 = _draw(model.token_logits(h_ND), generator, temperature, top_k)
        drawn.append(token_N1)
        if len(drawn) == steps:
            return torch.cat(drawn, dim=1)
        seen_NT = torch.cat([seen_NT, token_N1], dim=1)[:, -context:]
        unread = seen_NT if cache is None else token_N1
        h_ND = model.hidden(unread, assets_N, categories_N, cache)[:, -1]
        cache = _unless_full(cache)


def _unless_full(cache: KvCache | None) -> KvCache | None:
    return None if cache is None or cache.is_full else cache


def _draw(
    logits_NV: Tensor, generator: torch.Generator, temperature: float, top_k: int | None
) -> Tensor:
    """Return one token of each row [N, 1]."""
    if temperature == 0:
        return logits_NV.argmax(-1, keepdim=True)
    kept_NK, token_NK = logits_NV.float(), None
    if top_k is not None:
        kept_NK, token_NK = kept_NK.topk(top_k)
    # The best is 0 before the division, so that no temperature makes it infinite; one that float32
    # would round to zero would make it 0 / 0.
    heat = max(temperature, torch.finfo(torch.float32).tiny)
    p_NK = ((kept_NK - kept_NK.amax(-1, keepdim=True)) / heat).softmax(-1)
    place_N1 = torch.multinomial(p_NK, 1, generator=generator)
    return place_N1 if token_NK is None else token_NK.gather(1, place_N1)


def _require_possible(
    model: MarketGpt, steps: int, temperature: float, top_k: int | None, paths: int
) -> None:
    if model.training:
        raise TrainingError("the model is in training mode and would drop; call model.eval() first")
    vocabulary = model.shape.vocabulary
    if min(steps, paths) < 1:
        raise TrainingError(f"steps is {steps}, paths {paths}; expected at least 1 of each")
    if not 0 <= temperature < float("inf"):
        raise TrainingError(f"temperature is {temperature}; expected 0 or more")
    if top_k is not None and not 1 <= top_k <= vocabulary:
        raise TrainingError(f"top_k is {top_k}; expected 1 to {vocabulary}")
