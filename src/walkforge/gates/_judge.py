"""All gates of a profile over one run's evidence: the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from walkforge.base import one_of

from . import _fitting, _limits, _money, _plan, _skill
from ._alarms import raised_by
from ._evidence import Evidence, entries
from ._finding import Finding, Gate, not_measured
from ._forecast import forecast_gates


def no_alarm(evidence: Evidence) -> Finding:
    """Nothing is too good or too odd to be true."""
    if not (evidence.metrics and evidence.diagnostics):
        return not_measured("what could raise an alarm", 0)
    count = len(evidence.alarms)
    reason = "No alarm was raised; none may be." if count == 0 else " ".join(evidence.alarms)
    return Finding(value=count, limit=0, passed=count == 0, reason=reason)


GATES: dict[str, Gate] = {
    "finite_numbers": _skill.finite_numbers,
    "enough_evidence": _skill.enough_evidence,
    **{f"beats_{name}": _skill.beats(name) for name in _limits.BASELINES},
    "beats_chance": _skill.beats_chance,
    "knows_direction": _skill.knows_direction,
    "calibrated": _skill.calibrated,
    "not_overconfident": _skill.not_overconfident,
    "not_one_class": _skill.not_one_class,
    "stable_over_folds": _skill.stable_over_folds,
    "stable_over_seeds": _skill.stable_over_seeds,
    "train_test_gap": _fitting.train_test_gap,
    "enough_trades": _money.enough_trades,
    "net_profit": _money.net_profit,
    "mean_trade_profit": _money.mean_trade_profit,
    "beats_random_entries": _money.beats_random_entries,
    "deflated_sharpe": _money.deflated_sharpe,
    "logit_range": _plan.logit_range,
    "few_sure_predictions": _plan.few_sure_predictions,
    "class_shares": _plan.class_shares,
    "mean_confidence": _plan.mean_confidence,
    "accuracy": _plan.plan_accuracy,
    "no_alarm": no_alarm,
}
"""Every gate by its name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Which gates judge, and what may have to be said beside them."""

    gates: tuple[str, ...]
    note: Callable[[Evidence], list[str]] | None = None
    every_baseline: bool = False
    """Also ask for a win over baselines that were measured and have no gate of their own."""


PROFILES: dict[str, Profile] = {
    "default": Profile(
        (
            "finite_numbers",
            "enough_evidence",
            *(f"beats_{name}" for name in _limits.BASELINES),
            "beats_chance",
            "knows_direction",
            "calibrated",
            "not_overconfident",
            "not_one_class",
            "stable_over_folds",
            "stable_over_seeds",
            "train_test_gap",
            "enough_trades",
            "net_profit",
            "mean_trade_profit",
            "beats_random_entries",
            "deflated_sharpe",
            "no_alarm",
        ),
        every_baseline=True,
    ),
    "v8": Profile(
        (
            "finite_numbers",
            "logit_range",
            "few_sure_predictions",
            "class_shares",
            "mean_confidence",
            "accuracy",
            "no_alarm",
        ),
        note=_plan.conflict,
    ),
}
"""The profiles by name; see docs/gates.md."""


def judge(
    *,
    metrics: Mapping[str, Any] | None,
    diagnostics: Mapping[str, Any] | None,
    backtest: Mapping[str, Any] | None,
    data_info: Mapping[str, Any] | None,
    profile: str = "default",
    without: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the verdict of one run, as `verdict.json` holds it.

    The arguments are the plain data of the run folder's files of the same names; None where there
    is no such file, and then every gate that needs it fails as not measured. `without` names gates
    that cannot be asked of this model, each with the reason, which becomes a note; `notes` are
    sentences that the caller has to say beside the gates, such as how many trials were counted.
    `fit` says that all gates of the profile passed, `promotable` that the bars are also real ones,
    with `not_promotable_because` otherwise. Raises UsageError for an unknown profile.
    """
    chosen = PROFILES[one_of("profile", profile, PROFILES)]
    evidence = Evidence(metrics, diagnostics, backtest, data_info)
    evidence = replace(evidence, alarms=raised_by(evidence))
    without = {name: why for name, why in (without or {}).items() if name in chosen.gates}
    gates = {name: GATES[name] for name in chosen.gates if name not in without}
    if chosen.every_baseline:
        further = {f"beats_{name}": name for name in entries(metrics, "baselines")}
        gates |= {gate: _skill.beats(name) for gate, name in further.items() if gate not in gates}
        gates |= forecast_gates(metrics)
    findings = [gate(evidence).as_dict(name) for name, gate in gates.items()]
    fit = all(finding["passed"] for finding in findings)
    why_not = _why_not_promotable(fit, evidence)
    return {
        "fit": fit,
        "promotable": why_not is None,
        "not_promotable_because": why_not,
        "profile": profile,
        "alarms": list(evidence.alarms),
        "gates": findings,
        "notes": [
            *(f"The gate {name} was not asked: {why}." for name, why in without.items()),
            *(chosen.note(evidence) if chosen.note else []),
            *notes,
        ],
    }


def _why_not_promotable(fit: bool, evidence: Evidence) -> str | None:
    if not fit:
        return "The model is not fit."
    provenances = _provenances(evidence.data_info)
    if not provenances:
        return "Nobody knows where the bars come from (data_info names no provenance)."
    if "simulated" in provenances:
        return (
            "The bars are simulated: that the model is fit tells something about the pipeline, "
            "and nothing about a market."
        )
    return None


def _provenances(data_info: Any) -> set[str]:
    """Return every provenance that is named anywhere in the data."""
    if isinstance(data_info, Mapping):
        own = {str(data_info["provenance"])} if data_info.get("provenance") else set()
        return own.union(*(_provenances(item) for item in data_info.values()))
    if isinstance(data_info, list):
        return set().union(*(_provenances(item) for item in data_info))
    return set()
