"""One layer of a MarketGPT: attention, then feed-forward.

Shapes: B rows, T tokens of a row, D width, H heads, W width of a head, P tokens so far (T and
those in the cache)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._gpt_shape import GptShape
from ._kv_cache import LayerCache
from ._rotary import Turns, rotate

NORM_EPSILON = 1e-6


class GptBlock(nn.Module):
    """Attention, then feed-forward; each reads the normalised stream and adds to it."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.d_model, eps=NORM_EPSILON)
        self.attention = _Attention(shape)
        self.feed_forward_norm = nn.RMSNorm(shape.d_model, eps=NORM_EPSILON)
        self.feed_forward = _FeedForward(shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, h_BTD: Tensor, turns: Turns, cache: LayerCache | None = None) -> Tensor:
        h_BTD = h_BTD + self.dropout(self.attention(self.attention_norm(h_BTD), turns, cache))
        return h_BTD + self.dropout(self.feed_forward(self.feed_forward_norm(h_BTD)))


class _Attention(nn.Module):
    """Every token reads itself and those before it; queries and keys are turned by position.

    Attention weights are not dropped: PyTorch's fast kernel for the CPU cannot, and what is added
    to the stream is dropped anyway.
    """

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.d_model, 3 * shape.d_model, bias=False)
        self.out = nn.Linear(shape.d_model, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor, turns: Turns, cache: LayerCache | None = None) -> Tensor:
        qkv_BT3HW = self.qkv(x_BTD).unflatten(-1, (3, self.heads, -1))
        query_BHTW, key_BHTW, value_BHTW = qkv_BT3HW.permute(2, 0, 3, 1, 4).unbind()
        query_BHTW, key_BHTW = rotate(query_BHTW, turns), rotate(key_BHTW, turns)
        if cache is not None:
            key_BHTW, value_BHTW = cache.extend(key_BHTW, value_BHTW)
        mixed_BHTW = _attend(query_BHTW, key_BHTW, value_BHTW)
        return self.out(mixed_BHTW.transpose(1, 2).flatten(2))


def _attend(query_BHTW: Tensor, key_BHPW: Tensor, value_BHPW: Tensor) -> Tensor:
    """Mix values; the queries are those of the last T of P tokens."""
    n_new, n_all = query_BHTW.shape[-2], key_BHPW.shape[-2]
    if n_new == n_all:
        return functional.scaled_dot_product_attention(
            query_BHTW, key_BHPW, value_BHPW, is_causal=True
        )
    # `is_causal` would take the queries for those of the first tokens.
    seen_TP = torch.ones(n_new, n_all, dtype=torch.bool, device=query_BHTW.device)
    mask_TP = None if n_new == 1 else seen_TP.tril(n_all - n_new)
    return functional.scaled_dot_product_attention(
        query_BHTW, key_BHPW, value_BHPW, attn_mask=mask_TP
    )


class _FeedForward(nn.Module):
    """Widen, bend, narrow; gated where the activation is `swiglu`."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.gated = shape.activation == "swiglu"
        inner = shape.inner_width
        self.up = nn.Linear(shape.d_model, inner * (1 + self.gated), bias=False)
        self.down = nn.Linear(inner, shape.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if not self.gated:
            return self.down(functional.gelu(self.up(x_BTD)))
        gate, value = self.up(x_BTD).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * value)
