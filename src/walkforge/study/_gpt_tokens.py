"""What a model of tokens and its baselines lose on every test token, as a table and as measures.

Shapes: K tokens of the test slice
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from walkforge import evaluation, training
from walkforge.base import IntArray
from walkforge.evaluation import TokenRows, TokenScores
from walkforge.training import TokenLosses

from ._gpt_study import GptStudy
from ._prepare import Prepared
from ._token_market import TokenMarket


def baseline_columns(study: GptStudy, market: TokenMarket) -> dict[str, np.ndarray]:
    """Return loss and hit of every baseline, and the hits of the best constant guess (K,)."""
    table, rows = market.table, market.table.target_rows("test")
    columns: dict[str, np.ndarray] = {}
    for name, fit in training.TOKEN_BASELINES.items():
        fitted = fit(table.tokens, table.run_first, table.piece, market.tokenizer.vocabulary)
        columns[f"{name}_loss"] = -fitted.log_probability(rows)
        columns[f"{name}_hit"] = fitted.hits(rows)
    guess = training.best_constant(table.tokens, table.run_first, table.piece)
    return columns | {"constant_hit": table.tokens[rows] == guess}


def token_frame(
    prepared: Prepared,
    market: TokenMarket,
    losses: TokenLosses,
    beside: Mapping[str, np.ndarray],
    *,
    seed: int,
) -> pl.DataFrame:
    """Return the rows of `tokens.parquet` of one member, one per token of its test slice."""
    rows = losses.rows_K
    names, bars = list(prepared.series), [one.bars for one in prepared.series.values()]
    of = np.searchsorted(list(market.first_row.values()), rows, side="right") - 1
    opened = np.concatenate([one.timestamp for one in bars])
    categories = [market.category_of[name] for name in names]
    return pl.DataFrame(
        {
            "timestamp": pl.Series(opened[rows]).cast(pl.Datetime("ms", "UTC")),
            "series": _named(names, of),
            "symbol": _named([one.symbol for one in bars], of),
            "timeframe": _named([one.timeframe for one in bars], of),
            "category": _named(categories, of),
            "fold": pl.repeat(market.fold.index, len(rows), dtype=pl.Int32, eager=True),
            "seed": pl.repeat(seed, len(rows), dtype=pl.Int32, eager=True),
            "token": market.table.tokens[rows],
            "loss": losses.losses_K,
            "hit": losses.hits_K,
            **beside,
        }
    )


def measure_tokens(tokens: pl.DataFrame, *, n_resamples: int) -> dict[str, Any]:
    """Return what `metrics.json` holds of tokens, of the rows of `tokens.parquet`."""
    assets = tokens.select("series", "category").unique(maintain_order=True)
    names = assets["series"].to_list()
    number = {name: place for place, name in enumerate(names)}
    rows = TokenRows(
        time_ms=tokens["timestamp"].dt.epoch("ms").to_numpy(),
        asset=tokens["series"].replace_strict(number, return_dtype=pl.Int64).to_numpy(),
        symbols=tuple(names),
        categories=tuple(assets["category"].to_list()),
        model=_scores(tokens, ""),
        baselines={name: _scores(tokens, f"{name}_") for name in training.TOKEN_BASELINES},
        constant_hit=tokens["constant_hit"].to_numpy(),
    )
    return evaluation.token_metrics(rows, n_resamples=n_resamples)


def _scores(tokens: pl.DataFrame, prefix: str) -> TokenScores:
    loss = tokens[f"{prefix}loss"].to_numpy().astype(np.float64)
    return TokenScores(loss, tokens[f"{prefix}hit"].to_numpy())


def _named(names: list[str], of: IntArray) -> pl.Series:
    """Return the name of each row's asset (K,)."""
    return pl.Series(names, dtype=pl.String).gather(of)
