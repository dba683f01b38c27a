"""A made run of a model of tokens, on as many series as asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from report.made_run import make_run, measure
from walkforge.base import read_json, write_json, write_text

BASELINES = ("unigram", "markov_1", "markov_2", "markov_3")
_LOSS = {"unigram": 6.85, "markov_1": 6.71, "markov_2": 6.712, "markov_3": 6.713}
_MODEL_LOSS = 6.62


def make_token_run(
    folder: Path, *, n_series: int = 4, n_seeds: int = 1, categories: tuple[str, ...] = ("crypto",)
) -> Path:
    """Write a run folder as MarketGPT leaves it; series are called S000, S001, ..."""
    names = tuple(f"S{number:03d}" for number in range(n_series))
    make_run(folder, symbols=names, n_folds=1, n_bars=600)
    study = (folder / "study.yaml").read_text().replace("name: mlp", "name: marketgpt")
    write_text(folder / "study.yaml", study)
    random = np.random.default_rng(3)
    metrics = read_json(folder / "metrics.json")
    metrics["tokens"] = token_measures(random, names, categories)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "tokenizer_report.json", {"folds": [{"fold": 0, **_tokenizer()}]})
    write_json(folder / "models" / "market_fold0_seed0" / "config.json", _config())
    write_text(folder / "training_log.jsonl", _log(n_seeds))
    write_json(
        folder / "run.json",
        read_json(folder / "run.json") | {"n_members": n_seeds, "n_parameters": 4_984_064},
    )
    return folder


def token_measures(
    random: np.random.Generator, names: tuple[str, ...], categories: tuple[str, ...]
) -> dict[str, Any]:
    """Return what metrics.json holds of tokens."""
    n = 1000 * len(names)
    constant = {"best_constant": measure(0.0017, 0.0004, n)}
    hits = dict.fromkeys(BASELINES, 0.004) | {"unigram": 0.0017}
    return {
        "model": _ways(_block(_MODEL_LOSS, 0.0064, n) | constant, categories),
        "baselines": {
            name: _ways(_block(_LOSS[name], hits[name], n), categories) for name in BASELINES
        },
        "improvement": {
            name: {
                "log_loss": _gain(random, _LOSS[name] - _MODEL_LOSS, names, categories, n, "nats"),
                "accuracy": _gain(random, 0.0064 - hits[name], names, categories, n, "fraction"),
            }
            for name in BASELINES
        },
        "n_not_finite": 0,
    }


def _ways(block: dict[str, Any], categories: tuple[str, ...]) -> dict[str, Any]:
    return {"pooled": block, "by_category": dict.fromkeys(categories, block)}


def _block(loss: float, accuracy: float, n: int) -> dict[str, Any]:
    return {
        "log_loss": measure(loss, 0.03, n, "nats"),
        "perplexity": measure(float(np.exp(loss)), 20.0, n, "tokens"),
        "accuracy": measure(accuracy, 0.0008, n),
        "n": n,
        "n_blocks": 40,
    }


def _gain(
    random: np.random.Generator,
    value: float,
    names: tuple[str, ...],
    categories: tuple[str, ...],
    n: int,
    unit: str,
) -> dict[str, Any]:
    def parts(keys: tuple[str, ...]) -> dict[str, Any]:
        spread = 0.6 * abs(value)
        return {k: {"value": value + random.normal(0, spread), "n": n // len(keys)} for k in keys}

    return measure(value, 0.2 * abs(value), n, unit) | {
        "p_value": 0.001,
        "by_period": parts(tuple("0123")),
        "by_symbol": parts(names),
        "by_category": parts(categories),
    }


def _tokenizer() -> dict[str, Any]:
    def piece(rows: int, error: float) -> dict[str, Any]:
        prices = ("open", "high", "low", "close")
        return {
            "rows": rows,
            "codes_used_frac": 0.998,
            "perplexity": 812.3,
            "error_bps": {one: {"mean": error, "median": 0.6 * error} for one in prices},
            "edge_frac": 0.0068,
        }

    later = piece(4000, 9.25)
    return {"kind": "vq", "vocabulary": 1024, "train": piece(28_000, 8.5), "later": later}


def _config() -> dict[str, Any]:
    return {
        "shape": {"vocabulary": 1024, "context": 128, "d_model": 256, "layers": 6, "tied": True},
        "parameters": {"token_embedding": 262_144, "positions": 0, "attention": 1_572_864,
                       "feed_forward": 3_145_728, "norms": 3328, "head": 0},
        "tokenizer": {"kind": "vq", "vocabulary": 1024, "digest": "ab" * 32},
    }  # fmt: skip


def _log(n_seeds: int, n_epochs: int = 5) -> str:
    lines = []
    for seed in range(n_seeds):
        for epoch in range(1, n_epochs + 1):
            loss = 6.9 - 0.06 * epoch + 0.01 * seed
            member = {
                "name": "market fold 0",
                "seed": seed,
                "train_loss": loss,
                "validation_loss": loss - 0.05,
                "best": True,
                "done": epoch == n_epochs,
            }
            report = {
                "epoch": seed * n_epochs + epoch, "epochs": n_seeds * n_epochs,
                "member_epoch": epoch, "members": [member], "seconds": 124.9, "rows_per_s": 3924.0,
                "loss": loss, "accuracy": 0.001 * epoch, "constant_accuracy": 0.0016,
                "learning_rate": 6e-4 / epoch, "tokens_per_s": 4079.0, "mfu_frac": None,
                "roof_frac": 0.61, "memory_bytes": 2.8e9,
            }  # fmt: skip
            lines.append(json.dumps(report) + "\n")
    return "".join(lines)
