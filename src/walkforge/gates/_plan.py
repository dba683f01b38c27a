"""The fixed limits of the original plan, as they were written, and what is odd about them."""

from __future__ import annotations

from . import _limits as limits
from ._evidence import Evidence, percent
from ._finding import Finding, not_measured


def logit_range(evidence: Evidence) -> Finding:
    """All logits lie within ±10."""
    low, high = evidence.diagnosed("logits", "min"), evidence.diagnosed("logits", "max")
    limit = [-limits.V8_LOGIT, limits.V8_LOGIT]
    if low is None or high is None:
        return not_measured("the range of the logits", limit)
    return Finding(
        value=[low, high],
        limit=limit,
        passed=low >= -limits.V8_LOGIT and high <= limits.V8_LOGIT,
        reason=(
            f"Logits lie between {low:.2f} and {high:.2f}; they must stay within "
            f"±{limits.V8_LOGIT:g}."
        ),
    )


def few_sure_predictions(evidence: Evidence) -> Finding:
    """Under 10 % of predictions are above 99 % confidence."""
    share = evidence.diagnosed("share_above_99")
    if share is None:
        return not_measured("the share of predictions above 99 % confidence", limits.V8_SURE_SHARE)
    return Finding(
        value=share,
        limit=limits.V8_SURE_SHARE,
        passed=share < limits.V8_SURE_SHARE,
        reason=(
            f"{percent(share)} of predictions are above 99 % confidence; it must be below "
            f"{percent(limits.V8_SURE_SHARE)}."
        ),
    )


def class_shares(evidence: Evidence) -> Finding:
    """Each class is predicted in 25 to 40 % of rows."""
    low, high = limits.V8_CLASS_SHARE
    shares = evidence.predicted_shares
    if not shares:
        return not_measured("the shares of the predicted classes", [low, high])
    if len(shares) != 3:
        why = f"the plan's limits are for three classes, these are {len(shares)}"
        return not_measured("the shares of three classes", [low, high], why)
    listed = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    return Finding(
        value=shares,
        limit=[low, high],
        passed=all(low <= share <= high for share in shares.values()),
        reason=f"Predicted are {listed}; each must lie between {percent(low)} and {percent(high)}.",
    )


def mean_confidence(evidence: Evidence) -> Finding:
    """Mean confidence is 60 to 85 %."""
    low, high = limits.V8_CONFIDENCE
    mean = evidence.diagnosed("confidence", "mean")
    if mean is None:
        return not_measured("the mean confidence", [low, high])
    return Finding(
        value=mean,
        limit=[low, high],
        passed=low <= mean <= high,
        reason=(
            f"Mean confidence is {percent(mean)}; it must lie between {percent(low)} and "
            f"{percent(high)}."
        ),
    )


def plan_accuracy(evidence: Evidence) -> Finding:
    """Test accuracy is above 68 %."""
    found = evidence.pooled("accuracy")
    if found is None:
        return not_measured("the test accuracy", limits.V8_ACCURACY)
    return Finding(
        value=found.value,
        limit=limits.V8_ACCURACY,
        passed=found.value > limits.V8_ACCURACY,
        reason=(
            f"Test accuracy is {percent(found.value)} {found.span(percent)}; it must be above "
            f"{percent(limits.V8_ACCURACY)}."
        ),
        low=found.low,
        high=found.high,
    )


def conflict(evidence: Evidence) -> list[str]:
    """Return the note on limits that an honest model cannot keep, where it does not keep them."""
    accuracy, confidence = plan_accuracy(evidence), mean_confidence(evidence)
    if (
        len(evidence.predicted_shares) != 3
        or accuracy.value is None
        or confidence.value is None
        or (accuracy.passed and confidence.passed)
    ):
        return []
    return [
        "The limits on accuracy (above 68 %) and mean confidence (60 to 85 %) cannot both hold for "
        "an honest, calibrated three-class model on minute bars: calibrated confidence equals "
        "accuracy, and honest accuracy there is far below both limits. Here accuracy is "
        f"{percent(accuracy.value)} and mean confidence {percent(confidence.value)}; a model that "
        "keeps the limits on such bars is to be doubted, not preferred."
    ]
