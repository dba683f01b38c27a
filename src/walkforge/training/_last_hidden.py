"""What a trained MarketGPT knows at a row: its last hidden state.

Shapes: n rows, B of them at once, T tokens of a prompt, D width
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from walkforge.base import IntArray, Precision, TrainingError
from walkforge.models import MarketGpt

from ._device import products_in
from ._gpt_evaluate import evaluating
from ._gpt_one_device import OneDevice
from ._room import FittingParts
from ._token_table import TokenTable

# Enough for a GPU; one matrix inside a block of the widest preset is then 0.2 GB.
_TOKENS_AT_ONCE = 2**14


def last_hidden(
    model: MarketGpt,
    table: TokenTable,
    rows: IntArray,
    *,
    most_tokens: int,
    precision: Precision,
) -> NDArray[np.float32]:
    """Return the hidden states (n, D) after the last norm at rows (n,) of the table.

    Of each row's run the model reads the row's own token and at most `most_tokens` - 1 before it,
    in evaluation mode, on its own device; no token after the row is read. Which other rows are
    asked for moves a state by rounding alone. Raises TrainingError for a row without a token, for
    more tokens than the context, or where one prompt does not fit into memory.
    """
    lengths = _prompt_lengths(model, table, rows, most_tokens)
    found = np.empty((len(rows), model.shape.d_model), np.float32)
    device = next(model.parameters()).device
    parts = FittingParts(
        max(1, _TOKENS_AT_ONCE // most_tokens),
        device,
        f"not enough memory to read one prompt of {most_tokens} tokens; read fewer tokens",
    )
    on = OneDevice(device, precision)
    with evaluating(model), products_in(precision), on.computing(), torch.no_grad():
        for n_tokens in np.unique(lengths):
            places = np.flatnonzero(lengths == n_tokens)
            prompts = _Prompts(model, table, rows[places], int(n_tokens))
            for part, h_BD in parts.each(len(places), prompts.hidden):
                found[places[part]] = h_BD
    return found


@dataclass(frozen=True, slots=True)
class _Prompts:
    """Rows with equally many tokens to read."""

    model: MarketGpt
    table: TokenTable
    rows: IntArray
    n_tokens: int

    def hidden(self, part: slice) -> np.ndarray:
        """Return h_BD of some rows."""
        rows_B = self.rows[part]
        read_BT = rows_B[:, None] + np.arange(1 - self.n_tokens, 1)
        h_BTD = self.model.hidden(
            self._on_device(self.table.tokens[read_BT]),
            self._on_device(self.table.asset[rows_B]),
            self._on_device(self.table.category[rows_B]),
        )
        return h_BTD[:, -1].float().cpu().numpy()

    def _on_device(self, column: np.ndarray) -> Tensor:
        return torch.from_numpy(column.astype(np.int64)).to(next(self.model.parameters()).device)


def _prompt_lengths(
    model: MarketGpt, table: TokenTable, rows: IntArray, most_tokens: int
) -> IntArray:
    """Return how many tokens are read for each row (n,)."""
    context = model.shape.context
    if not 1 <= most_tokens <= context:
        raise TrainingError(f"most_tokens is {most_tokens}; expected 1 to the context, {context}")
    first = table.run_first[rows]
    if (first < 0).any():
        row = int(rows[np.argmin(first)])
        raise TrainingError(f"row {row} has no token; ask for rows that stand in a run of tokens")
    return np.minimum(rows - first + 1, most_tokens)
