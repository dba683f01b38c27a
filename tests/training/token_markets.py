"""Tables of tokens drawn by hand or from chains, and small models that learn from them."""

import numpy as np
import torch

from walkforge.base import Precision
from walkforge.models import GptShape, MarketGpt
from walkforge.training import AssetTokens, GptPlan, TokenTable, train_gpt

FLOAT32 = Precision("float32", autocast=False, tf32=False)
VOCABULARY, CONTEXT = 7, 8
SHAPE = GptShape(
    vocabulary=VOCABULARY, context=CONTEXT, d_model=16, layers=2, heads=2, d_ff=32,
    n_assets=3, n_categories=2, asset_width=4, category_width=2, dropout=0.2,
)  # fmt: skip
PLAN = GptPlan(
    epochs=4, batch_windows=6, steps_per_epoch=5, learning_rate=1e-2, warmup_steps=3, patience=4
)


def asset(tokens, *, asset=0, category=0, pieces=None, holes=(), without=()):
    """Return one asset's rows; `pieces` as lengths of train, validation, calibration, test."""
    n = len(tokens)
    segment, valid = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_)
    for row in holes:
        segment[row:] += 1
    valid[list(without)] = False
    lengths = pieces or [n - 3 * (n // 8), n // 8, n // 8, n // 8]
    piece = np.repeat(np.arange(len(lengths), dtype=np.int8), lengths)
    piece = np.concatenate([piece, np.full(n - len(piece), -1, dtype=np.int8)])
    return AssetTokens(
        asset=asset,
        category=category,
        tokens=np.asarray(tokens, dtype=np.uint16),
        valid=valid,
        segment=segment,
        piece=piece,
    )


def noise(n, seed=0, vocabulary=VOCABULARY):
    return np.random.default_rng(seed).integers(0, vocabulary, n)


def small_table(**changes) -> TokenTable:
    """Return three unlike assets, one with a hole and a row without a token."""
    return TokenTable.of(
        [
            asset(noise(160, 1), **changes),
            asset(noise(96, 2), asset=1, category=1, holes=[40], without=[60]),
            asset(noise(24, 3), asset=2, category=1),
        ]
    )


def chain(seed=4, vocabulary=VOCABULARY):
    """Return the transition matrix of an order-1 chain."""
    return np.random.default_rng(seed).dirichlet(np.full(vocabulary, 0.4), vocabulary)


def walk(moves, n, seed=0):
    """Return n tokens of a chain."""
    random, through = np.random.default_rng(seed), moves.cumsum(axis=1)
    tokens = [0]
    for draw in random.random(n - 1):
        tokens.append(min(int(np.searchsorted(through[tokens[-1]], draw)), len(moves) - 1))
    return np.array(tokens)


def entropy_rate(moves):
    """Return the nats a token that no model of the chain can do without."""
    share = np.linalg.matrix_power(moves, 1000)[0]
    inside = np.where(moves > 0, moves, 1.0)
    return float(-(share[:, None] * moves * np.log(inside)).sum())


def build(shape=SHAPE, seed=3) -> MarketGpt:
    torch.manual_seed(seed)
    return MarketGpt(shape)


def train(table, plan=PLAN, *, shape=SHAPE, seed=0, **changes):
    return train_gpt(build(shape), table, plan, seed=seed, **({"precision": FLOAT32} | changes))
