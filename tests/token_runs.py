"""Makes a run of tokens of a copy of any finished run: losses are noise around a known level."""

import numpy as np
import polars as pl

from walkforge.base import read_json, write_json
from walkforge.study._gpt_tokens import measure_tokens

_HOUR_MS = 3_600_000
_LEVELS = {"unigram": 3.4, "markov_1": 3.1, "markov_2": 3.15, "markov_3": 3.2}
SAVED = 0.1
"""What the model saves on the best baseline, which is of order 1."""


def add_tokens(
    folder, *, digest="aa", saved=SAVED, seeds=(0,), n=600, first=0, vocabulary=64, kind="vq"
):
    """Give a run the files of a model of tokens: two series, `n` hours from the `first` on."""
    table = pl.concat([_tokens(seed, saved, n, first) for seed in seeds])
    table.write_parquet(folder / "tokens.parquet")
    metrics = read_json(folder / "metrics.json")
    measures = measure_tokens(table, n_resamples=100)
    write_json(folder / "metrics.json", metrics | {"tokens": measures})
    for seed in seeds:
        config = {
            "fold": 0,
            "seed": seed,
            "shape": {"vocabulary": vocabulary},
            "parameters": {"attention": 700, "norms": 14},
            "tokenizer": {"kind": kind, "digest": digest},
        }
        write_json(folder / "models" / f"market_fold0_seed{seed}" / "config.json", config)
    return folder


def _tokens(seed, saved, n, first):
    # What is hard to foretell is so for everybody: a common part, and a small one of one's own.
    common = np.random.default_rng(1).normal(0, 0.5, (2, 10_000))[:, first : first + n].ravel()
    own = np.random.default_rng([2, seed]).normal(0, 0.02, 2 * n)
    hours = 1_704_067_200_000 + _HOUR_MS * np.tile(np.arange(first, first + n), 2)
    names = np.repeat(["AAA", "BBB"], n)
    columns = {
        "timestamp": pl.Series(hours).cast(pl.Datetime("ms", "UTC")),
        "series": names,
        "symbol": names,
        "timeframe": ["1h"] * (2 * n),
        "category": ["coins"] * (2 * n),
        "fold": pl.repeat(0, 2 * n, dtype=pl.Int32, eager=True),
        "seed": pl.repeat(seed, 2 * n, dtype=pl.Int32, eager=True),
        "token": (hours // _HOUR_MS % 64).astype(np.uint16),
        "loss": (_LEVELS["markov_1"] - saved + common + own).astype(np.float32),
        "hit": common < -0.6,
        "constant_hit": common < -0.8,
    }
    beside = {f"{name}_loss": level + common for name, level in _LEVELS.items()}
    hits = {f"{name}_hit": common < -0.7 for name in _LEVELS}
    return pl.DataFrame(columns | beside | hits)
