"""What runs foretold of tokens: each beside its own baselines, and two on the same tokens.

A loss of tokens belongs to its vocabulary: fewer codes are easier to foretell. Runs are tested
against each other only on tokens of one tokenizer; what each gains over its own best baseline is
told of all.
"""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from walkforge import evaluation

from ._folder import RunFolder

TOKENS = "tokens.parquet"

_MEASURES = ("log_loss", "perplexity", "accuracy", "best_constant")
_GAIN = ("value", "low", "high", "n", "unit", "p_value")
_ROW = ("timestamp", "symbol", "timeframe", "token", "tokenizer")


def token_block(folder: RunFolder, metrics: Any) -> dict[str, Any] | None:
    """Return a run's measures of tokens and what its model is made of, None without tokens.

    `baseline` is the best one by loss, `gain` what the model saves on it, nats a token, and
    `gain_bits` the same in bits. `tokenizers` are the digests, one for each that there is.
    """
    found = metrics.get("tokens") if isinstance(metrics, dict) else None
    pooled = _at(found, "model", "pooled")
    if pooled is None:
        return None
    configs = [folder.read_json(f"models/{name}/config.json") for name in _models(folder)]
    first = configs[0] if configs else {}
    parameters = _at(first, "parameters")
    return {
        **{key: _at(pooled, key) for key in _MEASURES},
        "n": _at(pooled, "n"),
        **_beside_the_best(found),
        "kind": _at(first, "tokenizer", "kind"),
        "vocabulary": _at(first, "shape", "vocabulary"),
        "tokenizers": list(dict.fromkeys(_tokenizers(configs).values())),
        "parameters": sum(parameters.values()) if parameters else None,
    }


def token_test(
    ours: RunFolder, theirs: RunFolder, *, n_resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return what the second run gains on tokens that both foretold, None where one has none.

    Losses are averaged over seeds; above 0 the second is better. `comparable` is False, with the
    `reason`, where they have no token of one tokenizer in common.
    """
    if not (ours.has(TOKENS) and theirs.has(TOKENS)):
        return None
    left, right = _rows(ours), _rows(theirs)
    both = left.join(right, on=_ROW, suffix="_other").sort("timestamp")
    known = both.filter(pl.col("loss").is_finite() & pl.col("loss_other").is_finite())
    counts = {
        "n_common": len(both),
        "share_of_reference": len(both) / len(left),
        "share_of_other": len(both) / len(right),
        "n": len(known),
    }
    reason = _why_not(left, right, known)
    if reason:
        return counts | {"comparable": False, "reason": reason}
    time_ms = known["timestamp"].dt.epoch("ms").to_numpy()
    saved = (known["loss"] - known["loss_other"]).to_numpy()
    hits = (known["hit_other"] - known["hit"]).to_numpy()
    drawing = {"n_resamples": n_resamples, "seed": seed}
    return counts | {
        "comparable": True,
        "identical": not (saved.any() or hits.any()),
        "log_loss": evaluation.paired_mean(time_ms, saved, unit="nats per token", **drawing),
        "accuracy": evaluation.paired_mean(time_ms, hits, unit="fraction", **drawing),
    }


def _beside_the_best(found: Any) -> dict[str, Any]:
    """Return the baseline of the lowest loss and what is gained over it; None without any."""
    losses = {
        name: _at(block, "pooled", "log_loss", "value")
        for name, block in (_at(found, "baselines") or {}).items()
    }
    known = {name: loss for name, loss in losses.items() if loss is not None}
    if not known:
        return {"baseline": None, "gain": None, "gain_bits": None}
    best = min(known, key=lambda name: known[name])
    gain = {key: _at(found, "improvement", best, "log_loss", key) for key in _GAIN}
    value = gain["value"]
    return {
        "baseline": {
            "name": best,
            **{key: _at(found, "baselines", best, "pooled", key) for key in _MEASURES[:3]},
        },
        "gain": gain,
        "gain_bits": None if value is None else value / math.log(2),
    }


def _models(folder: RunFolder) -> list[str]:
    return sorted(path.parent.name for path in folder.path.glob("models/market_*/config.json"))


def _tokenizers(configs: list[Any]) -> dict[tuple[int, int], str]:
    """Return the digest of the tokenizer of every fold and seed."""
    return {
        (config["fold"], config["seed"]): config["tokenizer"]["digest"]
        for config in configs
        if _at(config, "tokenizer", "digest") is not None
    }


def _rows(folder: RunFolder) -> pl.DataFrame:
    """Return one row per token and tokenizer, its loss and hit averaged over seeds."""
    configs = [folder.read_json(f"models/{name}/config.json") for name in _models(folder)]
    table = folder.read_table(TOKENS)
    return (
        table.join(_of_members(_tokenizers(configs)), on=["fold", "seed"])
        .group_by(_ROW)
        .agg(pl.col("loss").cast(pl.Float64).mean(), pl.col("hit").cast(pl.Float64).mean())
    )


def _of_members(tokenizers: Mapping[tuple[int, int], str]) -> pl.DataFrame:
    rows = [(fold, seed, digest) for (fold, seed), digest in tokenizers.items()]
    schema = {"fold": pl.Int32, "seed": pl.Int32, "tokenizer": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _why_not(left: pl.DataFrame, right: pl.DataFrame, known: pl.DataFrame) -> str:
    """Return why losses cannot be compared, or nothing."""
    if not set(left["tokenizer"]) & set(right["tokenizer"]):
        return "they have other tokenizers, and a loss of other tokens is another question"
    if known.is_empty():
        return "no token is common to both: no symbol, timeframe and time that both foretold"
    return ""


def _at(data: Any, *keys: str) -> Any:
    """Return `data[key][key]...`, or None where one is not there."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data
