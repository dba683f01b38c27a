"""Too good, or too odd, to be true: each alarm is a sentence, and none is a success."""

from __future__ import annotations

from collections.abc import Callable

from . import _limits as limits
from ._evidence import Evidence, at, decimal, percent
from ._fitting import log_classes

Alarm = Callable[[Evidence], str | None]


def raised_by(evidence: Evidence) -> tuple[str, ...]:
    """Return the sentences of all alarms that the evidence sets off."""
    sentences = [alarm(evidence) for alarm in ALARMS.values()]
    return tuple(sentence for sentence in sentences if sentence)


def _near_perfect(evidence: Evidence) -> str | None:
    majority = max(evidence.true_shares, default=1.0)
    found = {
        "ROC-AUC": (evidence.pooled("roc_auc"), limits.PERFECT_AUC),
        "ROC-AUC of up against down": (
            evidence.pooled("direction_auc"),
            limits.PERFECT_DIRECTION_AUC,
        ),
        "balanced accuracy": (
            evidence.pooled("balanced_accuracy"),
            limits.PERFECT_BALANCED_ACCURACY,
        ),
    }
    if majority < limits.PERFECT_ACCURACY_MAJORITY:
        found["accuracy"] = (evidence.pooled("accuracy"), limits.PERFECT_ACCURACY)
    beyond = [
        f"{name} {percent(score.value)}"
        for name, (score, limit) in found.items()
        if score is not None and score.value >= limit
    ]
    if not beyond:
        return None
    return (
        f"Near-perfect scores ({', '.join(beyond)}) are suspected of a leak: no honest forecast "
        "of prices comes near. Look for a feature, scaler or split that knows the future."
    )


def _all_extreme(evidence: Evidence) -> str | None:
    share = evidence.diagnosed("share_above_99")
    if share is None or share < limits.EXTREME_SHARE:
        return None
    return (
        f"{percent(share)} of predictions are above 99 % confidence: suspected of a leak, or of a "
        "network whose scores have run away."
    )


def _sharpe_beyond_belief(evidence: Evidence) -> str | None:
    sharpe = evidence.traded("pooled", "sharpe_annual")
    if sharpe is None:
        sharpe = evidence.traded("pooled", "sharpe")
    if sharpe is None or sharpe <= limits.UNBELIEVABLE_SHARPE:
        return None
    return (
        f"A Sharpe ratio of {sharpe:.1f} a year is beyond belief (above "
        f"{limits.UNBELIEVABLE_SHARPE:g}): suspected of a leak, or of fills that nobody gets."
    )


def _memorised(evidence: Evidence) -> str | None:
    train = evidence.diagnosed("train_test_gap", "train_log_loss")
    test = evidence.diagnosed("train_test_gap", "test_log_loss")
    if train is None or test is None or train >= limits.MEMORISED * test:
        return None
    return (
        f"Training log loss ({decimal(train)}) is less than half of that in test "
        f"({decimal(test)}): the network has learned its rows by heart."
    )


def _test_better_than_train(evidence: Evidence) -> str | None:
    gap = evidence.diagnosed("train_test_gap", "gap")
    if gap is None or gap >= -limits.TEST_BETTER * log_classes(evidence):
        return None
    return (
        f"Test log loss is {decimal(-gap)} nats lower than in training: rows never seen cannot be "
        "so much easier, so a leak is suspected, or test rows of another kind."
    )


def _identical_predictions(evidence: Evidence) -> str | None:
    n = evidence.diagnosed("members", "n")
    constant = evidence.diagnosed("members", "n_constant")
    if not n or constant is None or constant < limits.CONSTANT_MEMBERS * n:
        return None
    names = at(evidence.diagnostics, "members", "constant") or []
    named = f" ({', '.join(names[:3])}{', ...' if constant > 3 else ''})" if names else ""
    return (
        f"{int(constant)} of {int(n)} networks say the same on every row{named}: they do not look "
        "at the bars."
    )


def _one_class(evidence: Evidence) -> str | None:
    shares, accuracy = evidence.predicted_shares, evidence.pooled("accuracy")
    if not shares or accuracy is None:
        return None
    name, share = max(shares.items(), key=lambda item: item[1])
    if share < limits.ONE_CLASS_SHARE:
        return None
    return (
        f"{name!r} is predicted in {percent(share)} of rows, and the accuracy of "
        f"{percent(accuracy.value)} is that class's share: the model has learned nothing else."
    )


ALARMS: dict[str, Alarm] = {
    "near_perfect": _near_perfect,
    "all_extreme": _all_extreme,
    "sharpe_beyond_belief": _sharpe_beyond_belief,
    "memorised": _memorised,
    "test_better_than_train": _test_better_than_train,
    "identical_predictions": _identical_predictions,
    "one_class": _one_class,
}
