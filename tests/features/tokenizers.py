"""Bars and tokenizers that several tests share, and tokenizers made by hand."""

import numpy as np

from drawn import random_bars
from walkforge.features import Tokenizer, TokenizerRule, bar_vectors, fit_tokenizer
from walkforge.features._codebook import Codebook

KINDS = ("vq", "bins")
FITTED = (1_577_836_800_000, 1_590_000_000_000)  # 2020-01-01 00:00 to 2020-05-20 18:40
BARS = random_bars(6000, seed=4, timeframe="1h")
VECTORS = bar_vectors(BARS, TokenizerRule())
ROWS = VECTORS.values[VECTORS.valid]


def fitted(kind, *, vocabulary=64, seed=0, rows=ROWS, **more):
    rule = TokenizerRule(kind=kind, vocabulary=vocabulary, **more)
    return fit_tokenizer(rule, [rows], fitted=FITTED, seed=seed)


def of_centres(centres):
    """Return a tokenizer with these codes, which holds no value back."""
    centres = np.asarray(centres, dtype=np.float32)
    far = np.finfo(np.float32).max * np.array([[-1.0], [1.0]], dtype=np.float32).repeat(5, axis=1)
    rule = TokenizerRule(vocabulary=len(centres))
    return Tokenizer(rule, FITTED, far, Codebook(centres, np.ones(5, dtype=np.float32), far))
