"""A study made small enough to be run dozens of times, and its bars cut to fit it."""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from walkforge.market import Bars
from walkforge.study import GptStudy, ModelSection, Study

# Enough rows for every slice and a look-back of several hundred bars, and little enough that the
# feature cache, which begins at 50 000, never sees what a planted fault has made.
PIPELINE_BARS = 6_000
_MOST_SERIES = 3
_EPOCHS = 3
_BATCH = 128
_WIDTH = 32
_RESAMPLES = 100
_DRAWS = 20


def small_study(study: Study, *, seed: int, n_bars: int) -> Study:
    """Return the study with its features, labels, model family, calibration and brackets.

    One fold of about `n_bars` bars, one seed, few epochs, narrow layers, on the CPU. A study of
    shares (`ratio`) keeps them; walk-forward slices become a twelfth of the bars each, the test
    slice a sixth.
    """
    slices: dict[str, Any] = {
        "validation": n_bars // 12,
        "calibration": n_bars // 12,
        "test": n_bars // 6,
    }
    folds = study.folds
    if folds.kind != "ratio":
        folds = replace(folds, unit="bars", count=1, train=None, **slices)
    shared: dict[str, Any] = {
        "seeds": (seed,),
        "data": replace(study.data, newest_bars=None),
        "folds": folds,
        "device": replace(study.device, device="cpu", precision="float32", compile=False),
        "judge": replace(study.judge, n_resamples=_RESAMPLES),
        "backtest": replace(study.backtest, n_resamples=0, n_random=_DRAWS),
        "tune": replace(study.tune, space=_SPACE, trials=2, at_once=2, pruning=False),
    }
    if isinstance(study, GptStudy):
        return _small_gpt(replace(study, **shared), n_bars)
    plan = study.training
    few: dict[str, Any] = {"epochs": min(plan.epochs, _EPOCHS), "batch_size": _BATCH}
    return replace(study, **shared, model=_narrow(study.model), training=replace(plan, **few))


def _narrow(model: ModelSection) -> ModelSection:
    """Return the same layers, none of them wide."""
    narrow: dict[str, Any] = {
        name: min(getattr(model, name), _WIDTH) for name in ("hidden", "decoder_hidden")
    }
    for name in ("widths", "channels", "encoder"):
        narrow[name] = tuple(min(width, _WIDTH) for width in getattr(model, name))
    return replace(model, **narrow)


_SPACE = {"training.learning_rate": {"choices": [1e-3, 3e-3]}}


def _small_gpt(study: GptStudy, n_bars: int) -> GptStudy:
    """Return a MarketGPT that a core trains in seconds."""
    return replace(
        study,
        model=replace(
            study.model,
            d_model=32,
            layers=1,
            heads=2,
            d_ff=64,
            context=min(study.model.context, 16),
        ),
        training=replace(
            study.training, epochs=2, steps_per_epoch=20, batch_windows=16, micro_windows=None
        ),
        sampling=replace(study.sampling, paths=8, every_bars=max(1, n_bars // 600)),
        device=replace(study.device, devices=1, nodes=1, sharded=False),
    )


def newest(bars: Mapping[str, Bars], n_bars: int = PIPELINE_BARS) -> dict[str, Bars]:
    """Return the newest bars of the first few series."""
    chosen = list(bars.items())[:_MOST_SERIES]
    return {name: one.take(slice(-n_bars, None)) for name, one in chosen}


def moments_of(bars: Mapping[str, Bars], *, each_for_itself: bool) -> int:
    """Return how many closes the folds can be cut from: those of all series, or of the shortest."""
    closes_at = [one.closes_at for one in bars.values()]
    shared = len(reduce(np.intersect1d, closes_at))
    shortest = min(len(one) for one in closes_at)
    # Series that never close together are refused by the folds, in words.
    return shared if shared and not each_for_itself else shortest
