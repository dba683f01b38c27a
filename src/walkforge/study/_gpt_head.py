"""A trained MarketGPT's direction head: fitted on what the body knows, and asked for class scores.

Shapes: n decisions, C classes, D width
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from walkforge import training
from walkforge.base import FloatArray, IntArray, Precision
from walkforge.models import MarketGpt
from walkforge.training import TrainedGpt

from ._gpt_study import GptStudy
from ._prepare import Part
from ._token_market import TokenMarket

_EXACT = Precision("float32", autocast=False, tf32=False)
# Decisions of all series together; a linear layer needs no more, and each costs a prompt.
_MOST_ROWS = {"train": 20_000, "validation": 5_000}


@dataclass(frozen=True, slots=True)
class HeadScores:
    """Asks one fold's model and its head."""

    study: GptStudy
    market: TokenMarket
    model: MarketGpt

    def scores(self, name: str, rows: IntArray) -> FloatArray:
        """Return class scores (n, C), not yet calibrated, of decisions at a series' rows (n,)."""
        import torch

        hidden = _hidden(self.study, self.market, self.model, rows + self.market.first_row[name])
        device = next(self.model.parameters()).device
        with torch.no_grad():
            logits = self.model.class_logits(torch.from_numpy(hidden).to(device))
        return logits.cpu().numpy().astype(np.float64)


def with_fitted_head(
    study: GptStudy,
    market: TokenMarket,
    model: MarketGpt,
    trained: TrainedGpt,
    parts: Sequence[Part],
) -> tuple[MarketGpt, TrainedGpt]:
    """Return the model and its training with one head for all series of a fold.

    It learns from decisions in training, whose labels are resolved there, and is chosen by those
    of the validation slice.
    """
    (train, train_labels), (stop, stop_labels) = (
        _decisions(market, parts, name) for name in ("train", "validation")
    )
    head = training.fit_direction_head(
        _hidden(study, market, model, train),
        train_labels,
        _hidden(study, market, model, stop),
        stop_labels,
        n_classes=len(parts[0].limits.classes),
    )
    headed = training.with_direction_head(model, head)
    state = {name: one.detach().cpu() for name, one in headed.state_dict().items()}
    return headed, replace(trained, state=state)


def _decisions(
    market: TokenMarket, parts: Sequence[Part], name: str
) -> tuple[IntArray, np.ndarray]:
    """Return rows of the table and classes of one slice's decisions, evenly thinned."""
    most = max(1, _MOST_ROWS[name] // len(parts))
    rows, classes = [], []
    for part in parts:
        own: IntArray = getattr(part.rows, name)
        own = own[:: -(-len(own) // most)]
        rows.append(own + market.first_row[part.series])
        classes.append(part.labels[own])
    return np.concatenate(rows), np.concatenate(classes)


def _hidden(study: GptStudy, market: TokenMarket, model: MarketGpt, rows: IntArray) -> np.ndarray:
    """Return the last hidden states (n, D) at rows of the table."""
    return training.last_hidden(
        model, market.table, rows, most_tokens=study.prompt_tokens, precision=_EXACT
    )
