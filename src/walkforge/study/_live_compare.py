"""Later bars and answers of a bundle beside its reference: inputs, classes, calibration, hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from walkforge import evaluation, features, labels
from walkforge.base import BoolArray, Int8Array, IntArray
from walkforge.features import TokenizerRule
from walkforge.labels import Limits
from walkforge.market import Bars
from walkforge.registry import Bundle, known_series

from ._describe import rule_from_plain
from ._live_bundles import LiveSeries, span_of
from ._live_reference import state_of, thinned

MOST_MARGIN_FRAC = 0.05
"""What confidence may be too high by without being wrong: the 5 points of the gate `calibrated`."""

Finding = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What became of every bar (n,): its class, -1 where nobody knows yet, and the moment."""

    label: Int8Array
    resolved_at: IntArray


def known_outcomes(one: LiveSeries) -> Known | None:
    """Return the outcomes of all bars by the bundle's own rule; None where it does not tell it."""
    label = one.description["label"]
    rule = rule_from_plain(label)
    if rule is None:
        return None
    came = labels.outcomes(one.bars, rule, slippage_price=label.get("slippage_price"))
    limits = Limits.from_dict(label["limits"])
    return Known(limits.classify(came.score), came.resolved_at)


def inputs_beside(one: LiveSeries) -> list[Finding]:
    """Return how far every input of the bars between the first and the last answer has moved.

    Of an ensemble the inputs of all its models, those of one feature set once.
    """
    findings: dict[str, Finding] = {}
    span = span_of(one)
    for model in _models(one.bundle):
        told = reference_of(model, one)
        if not told or "inputs" not in told:
            continue
        names, values, valid = _inputs(model, one.bars)
        rows = span[valid[span]]
        for number, name in enumerate(names):
            if name in told["inputs"] and name not in findings:
                drift = evaluation.column_drift(told["inputs"][name], values[rows, number])
                findings[name] = {"series": one.name, "name": name, **drift}
    return list(findings.values())


def classes_beside(one: LiveSeries, known: Known | None) -> list[Finding]:
    """Return how far labels, predicted classes and confidence have moved."""
    found = []
    told = next((t for t in (reference_of(m, one) for m in _models(one.bundle)) if t), None)
    if told and "labels" in told and known is not None:
        span = span_of(one)
        came = known.label[span][known.label[span] >= 0]
        found.append(_shares(one, "labels", told["labels"], came))
    answers = (reference_of(one.bundle, one) or {}).get("answers")
    if answers:
        p = one.answers.select(f"p_{name}" for name in one.description["classes"]).to_numpy()
        p = p[thinned(one.places, answers["every_bars"])]
        found.append(_shares(one, "predicted", answers["predicted"], p.argmax(axis=1)))
        drift = evaluation.column_drift(answers["confidence"], p.max(axis=1))
        found.append({"series": one.name, "name": "confidence", **drift})
    return found


def settled(one: LiveSeries, known: Known | None) -> pl.DataFrame | None:
    """Return the answers whose outcome is known by now, with `label` and `resolved_at`."""
    if known is None:
        return None
    label, resolved = known.label[one.places], known.resolved_at[one.places]
    there = label >= 0
    return one.answers.filter(pl.Series(there)).with_columns(
        pl.Series("symbol", [one.name] * int(there.sum()), dtype=pl.String),
        pl.Series("label", label[there]),
        pl.Series("decided_at", one.bars.closes_at[one.places][there]),
        pl.Series("resolved_at", resolved[there]).cast(pl.Datetime("ms", "UTC")),
    )


def calibration_beside(bundle: Bundle, rows: pl.DataFrame) -> Finding:
    """Return how the answers of a bundle fit their outcomes, beside those of its test."""
    later = state_of(rows.drop("decided_at"))
    found: Finding = {"bundle": bundle.folder.name, "n": len(rows), "live": later}
    if bundle.reference is None:
        return found | {"p_value": None, "reason": "the bundle carries no reference"}
    found |= {key: bundle.reference[key] for key in ("calibration", "test")}
    drift = evaluation.calibration_drift(bundle.reference["test"], later)
    return found | {"difference": drift, "p_value": drift["p_value"]} | _reason(drift)


def hits_beside(bundle: Bundle, rows: pl.DataFrame) -> Finding:
    """Return whether a bundle's answers hit as often as they say; of those that do not overlap."""
    rows = rows.sort("decided_at")
    decided = rows["decided_at"].to_numpy()
    resolved = rows["resolved_at"].dt.epoch("ms").to_numpy()
    taken = evaluation.one_after_another(decided, resolved)
    p = rows.select(f"p_{name}" for name in bundle.description["classes"]).to_numpy()[taken]
    hit = p.argmax(axis=1) == rows["label"].to_numpy()[taken]
    tested = evaluation.hits_test(
        decided[taken], p.max(axis=1), hit, margin_frac=_margin_frac(bundle)
    )
    return {"bundle": bundle.folder.name, **tested}


def reference_of(bundle: Bundle, one: LiveSeries) -> dict[str, Any] | None:
    """Return what a bundle carries of a series; None where it carries nothing of it."""
    told: dict[str, dict[str, Any]] = (bundle.reference or {}).get("series", {})
    if len(told) == 1 and "series" not in bundle.description:
        return next(iter(told.values()))
    asked = one.known.symbol, one.known.timeframe
    every = known_series(bundle.description)
    return next((told.get(k.name) for k in every if (k.symbol, k.timeframe) == asked), None)


def _models(bundle: Bundle) -> Sequence[Bundle]:
    return [member for _, member in bundle.members] or [bundle]


def _inputs(bundle: Bundle, bars: Bars) -> tuple[Sequence[str], np.ndarray, BoolArray]:
    """Return names, values (n, F) and which bars have them, of what a model reads."""
    if "feature_set" in bundle.description:
        table = features.build(bars, bundle.description["feature_set"])
        return table.columns, table.values, table.valid
    rule = {k: v for k, v in bundle.description["tokenizer"].items() if k != "digest"}
    vectors = features.bar_vectors(bars, TokenizerRule(**rule))
    return features.VECTOR, vectors.values, vectors.valid


def _shares(one: LiveSeries, name: str, told: dict[str, Any], came: np.ndarray) -> Finding:
    classes = one.description["classes"]
    counts = np.bincount(came, minlength=len(classes))
    shares = {"live": counts / max(1, len(came)), "reference": np.array(told["counts"]) / told["n"]}
    drift = evaluation.column_drift(told, came)
    named = {of: dict(zip(classes, s.tolist(), strict=True)) for of, s in shares.items()}
    return {"series": one.name, "name": name, **drift, "shares": named}


def _margin_frac(bundle: Bundle) -> float:
    """Return by how much confidence was too high in the test already: going on so is no news."""
    told = (bundle.reference or {}).get("test", {}).get("overconfidence", {}).get("value")
    return MOST_MARGIN_FRAC if told is None else float(np.clip(told, 0.0, MOST_MARGIN_FRAC))


def _reason(drift: Finding) -> Finding:
    return {"reason": drift["reason"]} if "reason" in drift else {}


def by_bundle(series: Sequence[LiveSeries]) -> Iterator[tuple[Bundle, list[LiveSeries]]]:
    """Yield every bundle with its series."""
    folders = dict.fromkeys(one.bundle.folder for one in series)
    for folder in folders:
        own = [one for one in series if one.bundle.folder == folder]
        yield own[0].bundle, own
