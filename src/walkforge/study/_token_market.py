"""One fold's bars as tokens: a tokenizer of its training range, and the tokens of all series."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from walkforge import features
from walkforge.base import Int8Array, timeframe_ms
from walkforge.features import BarVectors, Tokenizer
from walkforge.folds import SLICES, Fold
from walkforge.training import AssetTokens, TokenTable

from ._bars import categories_of
from ._gpt_study import GptStudy
from ._prepare import Prepared, Series

# A tokenizer is part of what all seeds share.
_TOKENIZER_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class TokenMarket:
    """All series of one fold as tokens."""

    fold: Fold
    tokenizer: Tokenizer
    table: TokenTable
    first_row: dict[str, int]
    """Where each series begins in the table; its number as an asset is its place here."""
    category_of: dict[str, str]
    """By series."""
    report: dict[str, Any]
    """What the tokenizer loses on training and on test rows."""

    @property
    def categories(self) -> list[str]:
        """Return the categories; a category's number is its place here."""
        return sorted(set(self.category_of.values()))

    def rows_of(self, series: str) -> slice:
        """Return the rows of a series in the table."""
        starts = [*self.first_row.values(), len(self.table.tokens)]
        place = list(self.first_row).index(series)
        return slice(starts[place], starts[place + 1])


def token_market(study: GptStudy, prepared: Prepared, fold: Fold) -> TokenMarket:
    """Return the tokens of a fold; the tokenizer learns from bars that close in training alone.

    Raises FeatureError where these are fewer than its vocabulary.
    """
    fitted = _training_range(study, prepared, fold)
    pieces = {name: _pieces(one, study, fold, fitted) for name, one in prepared.series.items()}
    tokenizer = features.fit_tokenizer(
        study.tokenizer,
        [part.values for part in _of_piece(prepared, pieces, "train")],
        fitted=fitted,
        seed=_TOKENIZER_SEED,
    )
    category_of = categories_of(study.data, {n: one.bars for n, one in prepared.series.items()})
    numbers = {name: number for number, name in enumerate(sorted(set(category_of.values())))}
    assets, first_row, start = [], {}, 0
    for number, (name, one) in enumerate(prepared.series.items()):
        first_row[name] = start
        start += len(one.bars)
        assets.append(
            AssetTokens(
                asset=number,
                category=numbers[category_of[name]],
                tokens=_encoded(tokenizer, _vectors(one)),
                valid=_vectors(one).valid,
                segment=one.bars.segment,
                piece=pieces[name],
            )
        )
    report = features.tokenizer_report(
        tokenizer, _of_piece(prepared, pieces, "train"), _of_piece(prepared, pieces, "test")
    )
    return TokenMarket(fold, tokenizer, TokenTable.of(assets), first_row, category_of, report)


def _training_range(study: GptStudy, prepared: Prepared, fold: Fold) -> tuple[int, int]:
    """Return from when to when bars may close to be learned from, ms UTC.

    Where the training slice has no length of its own it begins with the first bar, which comes
    before the first decision.
    """
    plan = study.folds
    if plan.kind == "walk_forward" and plan.train is not None:
        return fold.train.from_ms, fold.train.to_ms
    first = min(int(one.bars.closes_at[0]) for one in prepared.series.values())
    return first, fold.train.to_ms


def _pieces(one: Series, study: GptStudy, fold: Fold, fitted: tuple[int, int]) -> Int8Array:
    """Return the number of the slice in which each bar (n,) closes, -1 for none and embargoed."""
    closes_at = one.bars.closes_at
    piece = np.full(len(closes_at), -1, dtype=np.int8)
    embargo_ms = study.folds.embargo_bars * timeframe_ms(one.bars.timeframe)
    for number, name in enumerate(SLICES):
        found = getattr(fold, name)
        from_ms = fitted[0] if name == "train" else found.from_ms + embargo_ms
        piece[(closes_at >= from_ms) & (closes_at < found.to_ms)] = number
    return piece


def _of_piece(prepared: Prepared, pieces: dict[str, Int8Array], name: str) -> list[BarVectors]:
    """Return the vectors of a slice's bars that have a token, per series."""
    found = []
    for series, one in prepared.series.items():
        vectors = _vectors(one)
        found.append(vectors.take(vectors.valid & (pieces[series] == SLICES.index(name))))
    return found


def _encoded(tokenizer: Tokenizer, vectors: BarVectors) -> np.ndarray:
    tokens = np.zeros(len(vectors.valid), dtype=np.uint16)
    tokens[vectors.valid] = tokenizer.encode(vectors.values[vectors.valid])
    return tokens


def _vectors(one: Series) -> BarVectors:
    assert one.vectors is not None  # every series of a study of tokens has them
    return one.vectors
