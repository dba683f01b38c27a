"""Tokens drawn one after the other from a MarketGPT.

Shapes: B rows, T tokens given, N paths of all rows (those of a row side by side), S steps ahead,
V vocabulary, D width
"""

import torch
from torch import Tensor

from walkforge.base import TrainingError

from ._kv_cache import KvCache
from ._market_gpt import MarketGpt

# The likeliest token's weight. Weights are whole numbers, whose sums are the same in any order: a
# scan in floating point would now and then lead to a token that has no probability. Of 2^16 tokens
# the sum is at most 2^52, which float64 holds to the last digit.
_MOST_WEIGHT = 2.0**36


@torch.no_grad()
def sample_tokens(
    model: MarketGpt,
    tokens_BT: Tensor,
    assets_B: Tensor,
    categories_B: Tensor,
    *,
    uniforms_NS: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Tensor:
    """Return the tokens [N, S] that follow each row, int64: N / B paths of S steps for each of B
    rows; paths of a row are neighbours, and read their row together only once.

    `uniforms_NS`, float64 in [0, 1) on the model's device, decide: a token is the first at which
    the probabilities of the vocabulary, summed in its order, exceed its number. So a path follows
    from its own numbers alone, whatever is drawn beside it. One below 1.5e-11 of the likeliest
    token's probability counts as none. Temperature 0 takes the likeliest token; `top_k` keeps the
    k likeliest.

    Probabilities are those of a full pass over the last `context` tokens. The cache serves as long
    as all tokens fit into the context: give rows of at most context - steps + 1 tokens for speed.
    Beyond, each step reads the last `context` tokens anew. Raises TrainingError for a model in
    training mode or impossible numbers.
    """
    (n_rows, _), (n_paths, steps) = tokens_BT.shape, uniforms_NS.shape
    _require_possible(model, uniforms_NS, n_rows, temperature, top_k)
    paths, context = n_paths // n_rows, model.shape.context
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
        uniform_N1 = uniforms_NS[:, len(drawn), None]
        token_N1 = _draw(model.token_logits(h_ND), uniform_N1, temperature, top_k)
        drawn.append(token_N1)
        if len(drawn) == steps:
            return torch.cat(drawn, dim=1)
        seen_NT = torch.cat([seen_NT, token_N1], dim=1)[:, -context:]
        unread = seen_NT if cache is None else token_N1
        h_ND = model.hidden(unread, assets_N, categories_N, cache)[:, -1]
        cache = _unless_full(cache)


def _unless_full(cache: KvCache | None) -> KvCache | None:
    return None if cache is None or cache.is_full else cache


def _draw(logits_NV: Tensor, uniform_N1: Tensor, temperature: float, top_k: int | None) -> Tensor:
    """Return one token of each row [N, 1]."""
    if temperature == 0:
        return logits_NV.argmax(-1, keepdim=True)
    logits_NV = logits_NV.float()
    # The best is 0 before the division, so that no temperature makes it infinite; one that float32
    # would round to zero would make it 0 / 0.
    heat = max(temperature, torch.finfo(torch.float32).tiny)
    p_NV = ((logits_NV - logits_NV.amax(-1, keepdim=True)) / heat).exp()
    if top_k is not None:
        kept_NK = logits_NV.topk(top_k).indices
        p_NV = torch.zeros_like(p_NV).scatter(-1, kept_NK, p_NV.gather(-1, kept_NK))
    summed_NV = (p_NV * _MOST_WEIGHT).long().cumsum(-1)
    total_N1 = summed_NV[:, -1:]
    # The product of the largest uniform number and the sum may be rounded up to the sum.
    place_N1 = torch.minimum((uniform_N1 * total_N1).long(), total_N1 - 1)
    return torch.searchsorted(summed_NV, place_N1, right=True)


def _require_possible(
    model: MarketGpt, uniforms_NS: Tensor, n_rows: int, temperature: float, top_k: int | None
) -> None:
    if model.training:
        raise TrainingError("the model is in training mode and would drop; call model.eval() first")
    n_paths, steps = uniforms_NS.shape
    if min(n_paths, steps) < 1 or n_paths % n_rows or uniforms_NS.dtype != torch.float64:
        raise TrainingError(
            f"uniforms are {uniforms_NS.dtype} [{n_paths}, {steps}] for {n_rows} rows; expected "
            "torch.float64, as many for each row and at least one step"
        )
    if not 0 <= temperature < float("inf"):
        raise TrainingError(f"temperature is {temperature}; expected 0 or more")
    if top_k is not None and not 1 <= top_k <= model.shape.vocabulary:
        raise TrainingError(f"top_k is {top_k}; expected 1 to {model.shape.vocabulary}")
