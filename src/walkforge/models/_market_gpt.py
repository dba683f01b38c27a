"""MarketGPT: a decoder-only transformer over the tokenised bars of many assets.

Shapes: B rows, T tokens of a row, V vocabulary, D width, C classes
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from walkforge.base import TrainingError

from ._gpt_block import NORM_EPSILON, GptBlock
from ._gpt_shape import GptShape
from ._kv_cache import KvCache
from ._rotary import rotary_turns

# Spread of first weights, as in GPT-2 (Radford et al. 2019): a tied head of width 256 then begins
# with logits of spread 0.3, a loss next to ln(vocabulary).
_SPREAD = 0.02
# Drawn smaller in deep models, so that the sum over all 2 x layers parts keeps its size.
_ADDED_TO_THE_STREAM = ("attention.out.weight", "feed_forward.down.weight")


class MarketGpt(nn.Module):
    """Tokens of a row, its asset and its category to the logits of every next token.

    First numbers are drawn from PyTorch's global generator. `gradient_checkpointing` may be set
    at any time: backwards then computes each block anew instead of keeping what it held.
    """

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.shape = shape
        self.gradient_checkpointing = False
        width = shape.d_model
        self.tokens = nn.Embedding(shape.vocabulary, width)
        self.assets = _SideEmbedding(shape.n_assets, shape.asset_width, width)
        self.categories = _SideEmbedding(shape.n_categories, shape.category_width, width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(GptBlock(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(width, eps=NORM_EPSILON)
        self.head = None if shape.tied else nn.Linear(width, shape.vocabulary, bias=False)
        self.direction = nn.Linear(width, shape.n_classes) if shape.n_classes else None
        self._draw_first_numbers()

    def forward(self, tokens_BT: Tensor, assets_B: Tensor, categories_B: Tensor) -> Tensor:
        """Return logits_BTV: those at t are of token t + 1 and have seen tokens 0 to t.

        All three are int64 or int32 and below their counts in the shape (checked by PyTorch's
        embedding, not here: that would wait for the device). Raises TrainingError for another
        dtype, no token, or more tokens than the context.
        """
        return self.token_logits(self.hidden(tokens_BT, assets_B, categories_B))

    def hidden(
        self,
        tokens_BT: Tensor,
        assets_B: Tensor,
        categories_B: Tensor,
        cache: KvCache | None = None,
    ) -> Tensor:
        """Return h_BTD after the last norm; with a cache the tokens follow those that it holds.

        A cache keeps no gradients, hence it is refused where they are on.
        """
        first = self._first_position(tokens_BT, assets_B, categories_B, cache)
        row_BD = self.assets(assets_B) + self.categories(categories_B)
        h_BTD = self.dropout(self.tokens(tokens_BT) + row_BD[:, None])
        turns = rotary_turns(first, tokens_BT.shape[1], self.shape.head_width, like=h_BTD)
        for place, block in enumerate(self.blocks):
            if cache is not None:
                h_BTD = block(h_BTD, turns, cache.layers[place])
            elif self.gradient_checkpointing and torch.is_grad_enabled():
                h_BTD = checkpoint(block, h_BTD, turns, use_reentrant=False)
            else:
                h_BTD = block(h_BTD, turns)
        return self.norm(h_BTD)

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] of the next token from hidden states [..., D]."""
        if self.head is not None:
            return self.head(hidden)
        return functional.linear(hidden, self.tokens.weight)

    def class_logits(self, h_BD: Tensor) -> Tensor:
        """Return logits_BC of the direction head from the last hidden states of rows."""
        if self.direction is None:
            raise TrainingError("this MarketGPT has no direction head; build it with n_classes > 0")
        return self.direction(h_BD)

    def _first_position(
        self, tokens_BT: Tensor, assets_B: Tensor, categories_B: Tensor, cache: KvCache | None
    ) -> int:
        """Return where the first token stands, after refusing what cannot be read."""
        named = {"tokens": tokens_BT, "assets": assets_B, "categories": categories_B}
        for name, tensor in named.items():
            if tensor.dtype not in (torch.int64, torch.int32):
                raise TrainingError(
                    f"{name} are {tensor.dtype}; expected torch.int64 or torch.int32 "
                    "(tables kept in 16 bits are widened where windows are gathered)"
                )
        n_tokens, context = tokens_BT.shape[1], self.shape.context
        if not 1 <= n_tokens <= context:
            raise TrainingError(f"rows have {n_tokens} tokens; expected 1 to {context}")
        if cache is None:
            return 0
        if torch.is_grad_enabled():
            raise TrainingError("a cache keeps no gradients; read with it under torch.no_grad()")
        cache.require_room(n_tokens)
        return cache.length

    @torch.no_grad()
    def _draw_first_numbers(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_SPREAD)
        for side in (self.assets, self.categories):
            # As large as a token's embedding: the product of two factors of 0.02 would be next to
            # nothing, and so would every gradient through it.
            side.table.weight.div_(_SPREAD)
            side.projection.weight.div_(math.sqrt(side.table.embedding_dim))
        for name, weight in self.named_parameters():
            if name.endswith(_ADDED_TO_THE_STREAM):
                weight.div_(math.sqrt(2 * self.shape.layers))
        if self.direction is not None:  # it begins without an opinion
            nn.init.zeros_(self.direction.weight)
            nn.init.zeros_(self.direction.bias)


class _SideEmbedding(nn.Module):
    """A table of its own width, projected to the model's."""

    def __init__(self, n_rows: int, own_width: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_rows, own_width)
        self.projection = nn.Linear(own_width, width, bias=False)

    def forward(self, rows_B: Tensor) -> Tensor:
        return self.projection(self.table(rows_B))
