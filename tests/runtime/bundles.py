"""Tiny bundles of every family and calibrator, drawn by a seed."""

from dataclasses import asdict

import numpy as np
import torch

from drawn import random_bars
from walkforge.calibration import ForecastClasses, Spread, fit_calibrator
from walkforge.features import (
    TokenizerRule,
    bar_vectors,
    feature_set,
    fit_scaler,
    fit_tokenizer,
    write_tokenizer,
)
from walkforge.models import (
    FORECASTERS,
    ForecastRow,
    GptShape,
    MarketGpt,
    build_architecture,
    initial_state,
)
from walkforge.registry import write_bundle, write_market

SET = "gru"
CLASSES = ["down", "hold", "up"]
NAMES = list(feature_set(SET).names)
_OPTIONS = {"widths": [8], "n_classes": 3}


def tiny_bundle(folder, name="mlp", *, options=_OPTIONS, window_bars=2, calibrator="temperature"):
    """Write a bundle of an untrained network; return its folder."""
    architecture = build_architecture(
        name, n_features=len(NAMES), window_bars=window_bars, **options
    )
    # Three times as large as drawn: a network without an opinion would prove nothing.
    state = {key: 3.0 * tensor for key, tensor in initial_state(architecture, seed=3).items()}
    for number, key in enumerate(key for key in state if "running" in key):
        # Statistics of a batch as training leaves them, which are not 0 and 1.
        state[key] = state[key] + 0.1 * (number + 1)
    described = _description(calibrator) | {
        "model": {"name": name, "options": options},
        "window_bars": window_bars,
        "forecast": _forecast(architecture.row) if name in FORECASTERS else None,
    }
    write_bundle(folder, described, state)
    return folder


def _description(calibrator):
    random = np.random.default_rng(0)
    rows = random.normal(0.3, 1.5, (300, len(NAMES))).astype(np.float32)
    logits = random.normal(0.0, 1.0, (300, len(CLASSES)))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return {
        "features": NAMES,
        "feature_set": SET,
        "scaler": fit_scaler("robust", rows).as_dict(),
        "calibrator": fit_calibrator(calibrator, logits, labels).as_dict(),
        "label": {"kind": "quantile", "limits": {}},
        "classes": CLASSES,
        "symbols": ["AAA"],
        "timeframe": "1m",
        "calendar": "24/7",
        "trained": ["2024-01-01 00:00", "2024-01-02 00:00"],
    }


def _forecast(row):
    factors = np.linspace(0.7, 1.9, row.horizon_bars)
    limits = np.array([-0.4, 0.4])
    classes = ForecastClasses(np.array(row.levels), Spread(factors), limits, in_sigma=True)
    return {"classes": classes.as_dict(), "volatility_bars": 30}


MARKET_RULE = TokenizerRule(vocabulary=24, volatility_bars=12, volume_bars=15)
PROMPT_TOKENS, HORIZON = 10, 3


def tiny_market(folder, *, decides="paths", **changes):
    """Write a bundle of an untrained MarketGPT of AAA, BBB and CCC, which only taught."""
    shape = GptShape(
        vocabulary=MARKET_RULE.vocabulary,
        context=PROMPT_TOKENS + HORIZON - 1,
        d_model=16,
        layers=2,
        heads=2,
        d_ff=32,
        n_assets=3,
        n_categories=2,
        n_classes=0 if decides == "paths" else 3,
    )
    described = _description("temperature") | _of_a_market(shape, decides) | changes
    tokenizer = _tokenizer()
    described["tokenizer"] = {"digest": tokenizer.digest}
    write_market(
        folder,
        described,
        _loud_weights(shape),
        beside=lambda part: write_tokenizer(part, tokenizer),
    )
    return folder


def _of_a_market(shape, decides):
    calibrators = [_description(kind)["calibrator"] for kind in ("platt", "temperature")]
    forecast = _forecast(ForecastRow(HORIZON))["classes"] if decides == "paths" else None
    series = {
        name: {
            "symbol": name,
            "timeframe": "1m",
            "calendar": "24/7",
            "asset": number,
            "category": number % 2,
            "judged": name != "CCC",
            "limits": {},
            "forecast": forecast,
            "calibrator": calibrators[number % 2],
        }
        for number, name in enumerate(["AAA", "BBB", "CCC"])
    }
    return {
        "model": {"name": "marketgpt", "decides": decides, "shape": asdict(shape)},
        "sampling": {"paths": 12, "temperature": 1.1} if decides == "paths" else None,
        "prompt_tokens": PROMPT_TOKENS,
        "horizon_bars": HORIZON,
        "volatility_bars": 18,
        "symbols": ["AAA", "BBB"],
        "seed": 4,
        "series": series,
    }


def _tokenizer():
    vectors = bar_vectors(random_bars(900, seed=30), MARKET_RULE)
    return fit_tokenizer(MARKET_RULE, [vectors.values[vectors.valid]], fitted=(0, 1), seed=0)


def _loud_weights(shape):
    """Return weights large enough that a prompt, an asset and a category are heard.

    In float64: in float32 the rounding of a logit would now and then turn a token.
    """
    draw = torch.Generator().manual_seed(8)
    with torch.random.fork_rng(devices=[]):
        model = MarketGpt(shape)
    return {
        name: torch.randn(one.shape, generator=draw, dtype=torch.float64) / one.shape[-1] ** 0.5
        + (one.dim() == 1)
        for name, one in model.state_dict().items()
    }
