"""Tiny bundles of every family and calibrator, drawn by a seed."""

import numpy as np

from walkforge.calibration import ForecastClasses, Spread, fit_calibrator
from walkforge.features import feature_set, fit_scaler
from walkforge.models import FORECASTERS, build_architecture, initial_state
from walkforge.registry import write_bundle

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
