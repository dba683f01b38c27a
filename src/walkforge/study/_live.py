"""Does the verdict on a model still stand? Asked of what it said after it was judged.

    study.judge_live(Path("p.csv"), Path("runs/mine"), Path("bars/binance"))

Four questions, each wrongly answered with no in at most one of a hundred cases where nothing has
changed: do the inputs, and the shares of classes, look as in training; do the probabilities fit
what came as they did in the test; do the answers hit as often as they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from walkforge import evaluation, statistics
from walkforge.base import read_json, utc_text, write_json
from walkforge.registry import expired_words, expires_ms

from ._live_bundles import LiveSeries, live_series, run_of
from ._live_compare import (
    Finding,
    by_bundle,
    calibration_beside,
    classes_beside,
    hits_beside,
    inputs_beside,
    known_outcomes,
    settled,
)
from ._live_words import sentence_of

LEVEL = 0.01
"""Of each of the four questions."""

LIVE = "live.json"


def judge_live(
    predictions: Path, model: Path, bars: Path, *, out: Path | None = None
) -> dict[str, Any]:
    """Compare later predictions with what their bundle carries; return what `live.json` holds.

    `predictions` is a table as `walkforge predict` writes it, `model` a bundle or a run, of which
    the newest fold's bundles count, `bars` a venue's folder whose bars go on after the training.
    Answers of bars that end before the test did are left out and counted. `stands` is True, False,
    or None where too little has come or the bundle carries too little; `sentence` says why. It is
    written to `out`, or into the folder of a run where `model` is one.
    Raises PredictionsError, BarsError, BundleError or RunError for what cannot be compared.
    """
    series = live_series(model, evaluation.read_answers(predictions), bars)
    found = _compared(series)
    found |= {"verdict": _verdict(model), "predictions": str(predictions), "model": str(model)}
    found |= sentence_of(found)
    place = out or (model / LIVE if (model / "study.yaml").is_file() else None)
    if place is not None:
        write_json(place, found)
    return found


def _compared(series: Sequence[LiveSeries]) -> dict[str, Any]:
    outcomes = [known_outcomes(one) for one in series]
    inputs = [finding for one in series for finding in inputs_beside(one)]
    classes = [
        finding
        for one, known in zip(series, outcomes, strict=True)
        for finding in classes_beside(one, known)
    ]
    tables = {one.name: settled(one, o) for one, o in zip(series, outcomes, strict=True)}
    calibration, hits = [], []
    for bundle, own in by_bundle(series):
        rows = [table for one in own if (table := tables[one.name]) is not None]
        if rows:
            together = pl.concat(rows)
            calibration.append(calibration_beside(bundle, together))
            hits.append(hits_beside(bundle, together))
    n_known = sum(len(table) for table in tables.values() if table is not None)
    return {
        "level": LEVEL,
        **_counts(series, n_known),
        "missing": _missing(series),
        "expiry": [_expiry(own) for _, own in by_bundle(series)],
        "inputs": _decided(inputs, least_psi=evaluation.LITTLE_PSI),
        "classes": _decided(classes, least_psi=evaluation.LITTLE_PSI),
        "calibration": _decided(calibration),
        "hits": _decided(hits),
    }


def _decided(findings: list[Finding], least_psi: float = 0.0) -> list[Finding]:
    """Return the findings with Holm's p-value over all of them, and whether each has drifted."""
    adjusted = statistics.holm([one["p_value"] for one in findings])
    return [
        one
        | {
            "p_holm": p,
            "drifted": p is not None and p < LEVEL and one.get("psi", least_psi) >= least_psi,
        }
        for one, p in zip(findings, adjusted, strict=True)
    ]


def _counts(series: Sequence[LiveSeries], n_known: int) -> dict[str, Any]:
    """Return how many answers came, from when to when, and of how many the outcome is known."""
    there = [one for one in series if len(one.places)]
    begin = min((int(one.bars.timestamp[one.places[0]]) for one in there), default=None)
    end = max((int(one.bars.timestamp[one.places[-1]]) for one in there), default=None)
    return {
        "n": sum(len(one.places) for one in series),
        "n_known": n_known,
        "n_before_the_tests_end": sum(one.n_earlier for one in series),
        "from": None if begin is None else utc_text(begin),
        "to": None if end is None else utc_text(end),
        "series": [one.name for one in series],
    }


def _missing(series: Sequence[LiveSeries]) -> list[str]:
    """Return what bundles do not carry that would be needed, a line each."""
    lines = []
    for bundle, _ in by_bundle(series):
        lacking = {
            "no reference to compare with": bundle.reference is None,
            "no expiry": expires_ms(bundle.description) is None,
            "no whole label rule": "rule" not in bundle.description["label"],
        }
        told = [what for what, lacks in lacking.items() if lacks]
        if told:
            lines.append(f"{bundle.folder.name} carries {', '.join(told)}")
    return lines


def _expiry(own: Sequence[LiveSeries]) -> dict[str, Any]:
    bundle = own[0].bundle
    newest_ms = [int(one.bars.closes_at[one.places[-1]]) for one in own if len(one.places)]
    words = expired_words(bundle.folder, bundle.description, max(newest_ms)) if newest_ms else ""
    return {
        "bundle": bundle.folder.name,
        "tested": bundle.description.get("tested"),
        "expires_at": bundle.description.get("expires_at"),
        "expired": bool(words),
        "words": words,
    }


def _verdict(model: Path) -> dict[str, Any] | None:
    """Return what was judged, where the run is there to tell."""
    run = run_of(model)
    if run is None or not (run / "verdict.json").is_file():
        return None
    verdict = read_json(run / "verdict.json")
    return {key: verdict.get(key) for key in ("fit", "profile")}
