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
from ._fine_tune import BaseModel
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
    """Where each series begins in the table."""
    asset_of: dict[str, int]
    """Number of every series that the model knows, more than these where it goes on from one."""
    category_of: dict[str, str]
    """Likewise."""
    categories: list[str]
    """A category's number is its place here."""
    report: dict[str, Any]
    """What the tokenizer loses on training and on test rows."""
    base: BaseModel | None = None
    """What the fold's model begins with."""

    def rows_of(self, series: str) -> slice:
        """Return the rows of a series in the table."""
        starts = [*self.first_row.values(), len(self.table.tokens)]
        place = list(self.first_row).index(series)
        return slice(starts[place], starts[place + 1])


def token_market(
    study: GptStudy, prepared: Prepared, fold: Fold, base: BaseModel | None = None
) -> TokenMarket:
    """Return the tokens of a fold; the tokenizer learns from bars that close in training alone.

    Tokenizer and numbers are those of `base` where the fold goes on from it. Raises FeatureError
    where the bars are fewer than the vocabulary.
    """
    fitted = _training_range(study, prepared, fold)
    pieces = {name: _pieces(one, study, fold, fitted) for name, one in prepared.series.items()}
    taught, tested = (_of_piece(prepared, pieces, name) for name in ("train", "test"))
    if base is None:
        values = [part.values for part in taught]
        tokenizer = features.fit_tokenizer(
            study.tokenizer, values, fitted=fitted, seed=_TOKENIZER_SEED
        )
    else:
        tokenizer = base.tokenizer
    known = base or _Numbers.of(study, prepared)
    assets = [
        AssetTokens(
            asset=known.asset_of[name],
            category=known.categories.index(known.category_of[name]),
            tokens=_encoded(tokenizer, _vectors(one)),
            valid=_vectors(one).valid,
            segment=one.bars.segment,
            piece=pieces[name],
        )
        for name, one in prepared.series.items()
    ]
    ends = np.cumsum([0, *(len(one.tokens) for one in assets)]).tolist()
    return TokenMarket(
        fold=fold,
        tokenizer=tokenizer,
        table=TokenTable.of(assets),
        first_row=dict(zip(prepared.series, ends, strict=False)),
        asset_of=known.asset_of,
        category_of=known.category_of,
        categories=known.categories,
        report=features.tokenizer_report(tokenizer, taught, tested),
        base=base,
    )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Assets and categories of a model that begins anew, in the order of the series."""

    asset_of: dict[str, int]
    category_of: dict[str, str]
    categories: list[str]

    @classmethod
    def of(cls, study: GptStudy, prepared: Prepared) -> "_Numbers":
        bars = {name: one.bars for name, one in prepared.series.items()}
        category_of = categories_of(study.data, bars)
        asset_of = {name: number for number, name in enumerate(prepared.series)}
        return cls(asset_of, category_of, sorted(set(category_of.values())))


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
