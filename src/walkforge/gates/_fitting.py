"""The gate on training: a model that knows its lessons by heart has not understood them."""

from __future__ import annotations

import math

from . import _limits as limits
from ._evidence import Evidence, at, decimal
from ._finding import Finding, not_measured


def train_test_gap(evidence: Evidence) -> Finding:
    """Training rows are not predicted far better than rows never seen."""
    limit = limits.TRAIN_TEST_GAP * log_classes(evidence)
    gap = evidence.diagnosed("train_test_gap", "gap")
    train = evidence.diagnosed("train_test_gap", "train_log_loss")
    test = evidence.diagnosed("train_test_gap", "test_log_loss")
    if gap is None or train is None or test is None:
        why = at(evidence.diagnostics, "train_test_gap", "reason")
        return not_measured("the gap between training and test", limit, str(why or ""))
    return Finding(
        value=gap,
        limit=limit,
        passed=gap <= limit,
        reason=(
            f"Log loss is {decimal(train)} in training and {decimal(test)} in test, a gap of "
            f"{gap:+.4f} nats; it may be {decimal(limit)} at most."
        ),
    )


def log_classes(evidence: Evidence) -> float:
    """Return the log loss of a shrug, log C; that of three classes where none are known."""
    return math.log(len(evidence.classes) or 3)
