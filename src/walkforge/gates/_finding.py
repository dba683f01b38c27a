"""What a gate says: yes or no, and one sentence why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._evidence import Estimate, Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The outcome of one gate."""

    value: Any
    limit: Any
    passed: bool
    reason: str
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    """How often luck alone would do as well, where the gate is a test."""

    def as_dict(self, name: str) -> dict[str, Any]:
        """Return the entry of `verdict.json`."""
        return {
            "name": name,
            "value": self.value,
            "limit": self.limit,
            "passed": self.passed,
            "reason": self.reason,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
        }


Gate = Callable[[Evidence], Finding]


def not_measured(what: str, limit: Any, why: str = "") -> Finding:
    """Return the failure of a gate whose number is not there: what nobody measured never passes."""
    # Of a sentence that would have gone on with the number.
    what = what.rstrip(",")
    reason = f"Not measured: {what}{f' ({why})' if why else ''}."
    return Finding(value=None, limit=limit, passed=False, reason=reason)


def above_zero(
    found: Estimate | None, *, what: str, text: Callable[[float], str], why_missing: str = ""
) -> Finding:
    """Return whether the lower end of an interval is above 0; `what` begins the sentence."""
    return above(found, 0.0, what=what, text=text, why_missing=why_missing)


def above(
    found: Estimate | None,
    limit: float,
    *,
    what: str,
    text: Callable[[float], str],
    why_missing: str = "",
) -> Finding:
    """Return whether the lower end of an interval is above the limit."""
    if found is None:
        return not_measured(what, limit, why_missing)
    if found.low is None or found.high is None:
        missing = why_missing or "no interval"
        return not_measured(
            f"{what}; it is {text(found.value)}, without an interval", limit, missing
        )
    passed = found.low > limit
    return Finding(
        value=found.value,
        limit=limit,
        passed=passed,
        reason=(
            f"{what} is {text(found.value)} {found.span(text)}; the lower end must be above "
            f"{text(limit)}."
        ),
        low=found.low,
        high=found.high,
        p_value=found.p_above,
    )
