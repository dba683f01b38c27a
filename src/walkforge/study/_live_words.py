"""What later predictions say of a verdict, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walkforge.base import listed

_SHOWN = 3
_FAMILIES = {
    "inputs": "inputs",
    "classes": "shares of classes",
    "calibration": "calibration",
    "hits": "hits",
}


def sentence_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return `stands`, `because` (what has changed, or is lacking) and the `sentence`."""
    fallen = _fallen(found)
    lacking = found["missing"] + _lacking(found)
    what = _verdict_words(found["verdict"])
    if fallen:
        sentence = f"{what} no longer stands, because {'; '.join(fallen)}."
        return {"stands": False, "because": fallen, "sentence": sentence}
    if found["missing"]:
        words = "; ".join(lacking)
        sentence = f"Whether {_lower(what)} still stands cannot be said: {words}."
        return {"stands": None, "because": lacking, "sentence": sentence}
    if lacking:
        sentence = f"Too little has come yet: {'; '.join(lacking)}."
        return {"stands": None, "because": lacking, "sentence": sentence}
    return {"stands": True, "because": [], "sentence": f"{what} still stands: {_holds(found)}."}


def _verdict_words(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "The verdict"
    return f"The verdict ({'fit' if verdict['fit'] else 'not fit'})"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fallen(found: dict[str, Any]) -> list[str]:
    """Return why a verdict does not stand, a clause each."""
    expired = [one["words"] for one in found["expiry"] if one["expired"]]
    told = expired[:1]
    if len(expired) > 1:
        told = [f"{len(expired)} of {len(found['expiry'])} bundles have expired ({expired[0]})"]
    moved = [one for one in found["inputs"] if one["drifted"]]
    if moved:
        told.append(f"{len(moved)} of {len(found['inputs'])} inputs drifted ({_columns(moved)})")
    told += [_class_words(one) for one in found["classes"] if one["drifted"]]
    told += [_calibration_words(one) for one in found["calibration"] if one["drifted"]]
    told += [_hit_words(one) for one in found["hits"] if one["drifted"]]
    return told


def _columns(moved: Sequence[dict[str, Any]]) -> str:
    worst = sorted(moved, key=lambda one: -one["psi"] / one["psi_expected"])
    words = [f"{one['name']} of {one['series']}: {_psi_words(one)}" for one in worst]
    return listed(words, _SHOWN)


def _class_words(one: dict[str, Any]) -> str:
    name = {"labels": "outcomes", "predicted": "predicted classes", "confidence": "confidence"}
    return f"the {name[one['name']]} of {one['series']} drifted ({_psi_words(one)})"


def _psi_words(one: dict[str, Any]) -> str:
    return f"PSI {one['psi']:.2f}, expected {one['psi_expected']:.2f}"


def _calibration_words(one: dict[str, Any]) -> str:
    excess, ece = (one["difference"][name] for name in ("excess_log_loss", "ece"))
    return (
        f"the probabilities of {one['bundle']} fit worse than in the test (log loss over what they "
        f"claim {excess['value']:+.4f} nats, calibration error {100 * ece['value']:+.1f} points)"
    )


def _hit_words(one: dict[str, Any]) -> str:
    return (
        f"{one['bundle']} hits {100 * one['hit_rate']:.1f} % of {one['n']} where it says "
        f"{100 * one['claimed']:.1f} %"
    )


def _lacking(found: dict[str, Any]) -> list[str]:
    """Return which questions could not be asked, and why."""
    told = []
    for key, words in _FAMILIES.items():
        findings = found[key]
        if findings and all(one["p_value"] is None for one in findings):
            told.append(f"{words}: {findings[0].get('reason', 'nothing to compare')}")
        elif not findings and not found["missing"]:
            told.append(f"{words}: nothing to compare")
    return told


def _holds(found: dict[str, Any]) -> str:
    n_hits = sum(one["n"] for one in found["hits"])
    hit, said = (
        100 * sum(one[key] * one["n"] for one in found["hits"] if one["n"]) / n_hits
        for key in ("hit_rate", "claimed")
    )
    return (
        f"none of {len(found['inputs'])} inputs drifted, the probabilities fit as in the test, and "
        f"{hit:.1f} % of {n_hits} decisions hit where {said:.1f} % were said"
    )
