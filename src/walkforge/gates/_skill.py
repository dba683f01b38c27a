"""Gates on the predictions: are they more than noise, on these rows and on each part of them?"""

from __future__ import annotations

from . import _limits as limits
from ._evidence import Evidence, at, decimal, entries, estimate, number, percent
from ._finding import Finding, Gate, above, above_zero, not_measured


def finite_numbers(evidence: Evidence) -> Finding:
    """No logit and no probability is NaN or infinite."""
    count = evidence.diagnosed("not_finite")
    if count is None:
        return not_measured("how many numbers are NaN or infinite", 0)
    return Finding(
        value=int(count),
        limit=0,
        passed=count == 0,
        reason=f"{int(count)} logits or probabilities are NaN or infinite; none may be.",
    )


def enough_evidence(evidence: Evidence) -> Finding:
    """There are enough decisions, and enough stretches of time that do not hang together."""
    limit = {"times": limits.LEAST_TIMES, "blocks": limits.LEAST_BLOCKS}
    times = number(at(evidence.metrics, "bootstrap", "n_times"))
    blocks = number(at(evidence.metrics, "bootstrap", "n_blocks"))
    if times is None or blocks is None:
        return not_measured("how many independent blocks of time there are", limit)
    return Finding(
        value={"times": int(times), "blocks": int(blocks)},
        limit=limit,
        passed=times >= limits.LEAST_TIMES and blocks >= limits.LEAST_BLOCKS,
        reason=(
            f"Out-of-sample rows lie at {int(times)} moments in {int(blocks)} independent blocks "
            f"of time; at least {limits.LEAST_TIMES} moments and {limits.LEAST_BLOCKS} blocks "
            "are needed."
        ),
    )


def beats(baseline: str) -> Gate:
    """Return the gate that asks for a log loss surely below that of a baseline."""

    def gate(evidence: Evidence) -> Finding:
        saved = at(evidence.metrics, "improvement", baseline, "log_loss")
        return above_zero(
            estimate(saved),
            what=f"Log loss saved against the baseline {baseline!r}, in nats a row,",
            text=decimal,
            why_missing=str(at(saved, "reason") or ""),
        )

    return gate


def beats_chance(evidence: Evidence) -> Finding:
    """Balanced accuracy is surely above that of guessing."""
    if not evidence.classes:
        return not_measured("balanced accuracy", None)
    measure = at(evidence.metrics, "model", "pooled", "balanced_accuracy")
    return above(
        estimate(measure),
        1.0 / len(evidence.classes),
        what="Balanced accuracy",
        text=percent,
        why_missing=str(at(measure, "reason") or ""),
    )


def knows_direction(evidence: Evidence) -> Finding:
    """Among rows that went down or up, the two are told apart: knowing how far is not enough."""
    measure = at(evidence.metrics, "model", "pooled", "direction_auc")
    return above(
        estimate(measure),
        0.5,
        what="The area under the ROC curve of up against down",
        text=decimal,
        why_missing=str(at(measure, "reason") or ""),
    )


def calibrated(evidence: Evidence) -> Finding:
    """The confidence of a prediction is its chance of being right, but for the noise."""
    found = evidence.pooled("ece")
    noise = number(at(evidence.metrics, "model", "pooled", "ece", "if_calibrated"))
    if found is None or noise is None:
        return not_measured("the calibration error", limits.CALIBRATION_ERROR)
    limit = min(limits.CALIBRATION_ERROR + noise, limits.CALIBRATION_ERROR_MOST)
    return Finding(
        value=found.value,
        limit=limit,
        passed=found.value <= limit,
        reason=(
            f"The calibration error is {percent(found.value)} {found.span(percent)}; it may be "
            f"{percent(limit)} at most, where a perfectly calibrated model would show "
            f"{percent(noise)} on these rows."
        ),
        low=found.low,
        high=found.high,
    )


def not_overconfident(evidence: Evidence) -> Finding:
    """Predictions above 99 % confidence come true about as often as they claim."""
    share = evidence.diagnosed("share_above_99")
    if share is None:
        return not_measured("the share of predictions above 99 % confidence", limits.SURE_GAP)
    claimed = evidence.diagnosed("above_99", "mean_confidence")
    hits = estimate(at(evidence.diagnostics, "above_99", "hit_rate"))
    if share <= limits.SURE_SHARE_IGNORED or claimed is None or hits is None:
        passed = share <= limits.SURE_SHARE_IGNORED
        return Finding(
            value=share,
            limit=limits.SURE_SHARE_IGNORED,
            passed=passed,
            reason=(
                f"{percent(share)} of predictions are above 99 % confidence"
                + ("; so few do no harm." if passed else ", and nobody measured how many hit.")
            ),
        )
    return Finding(
        value=claimed - hits.value,
        limit=limits.SURE_GAP,
        passed=claimed - hits.value <= limits.SURE_GAP,
        reason=(
            f"{percent(share)} of predictions are above 99 % confidence; they claim "
            f"{percent(claimed)} and hit {percent(hits.value)} {hits.span(percent)}, a gap that "
            f"may be {percent(limits.SURE_GAP)} at most."
        ),
    )


def not_one_class(evidence: Evidence) -> Finding:
    """Both directions are predicted, and no class takes nearly all rows."""
    limit = {"down and up": limits.LEAST_DIRECTION_SHARE, "any": limits.MOST_CLASS_SHARE}
    shares = evidence.predicted_shares
    if not {"down", "up"} <= shares.keys():
        return not_measured("the shares of the predicted classes", limit)
    directions = min(shares["down"], shares["up"])
    listed = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    return Finding(
        value=shares,
        limit=limit,
        passed=directions >= limits.LEAST_DIRECTION_SHARE
        and max(shares.values()) <= limits.MOST_CLASS_SHARE,
        reason=(
            f"Predicted are {listed}; down and up must have "
            f"{percent(limits.LEAST_DIRECTION_SHARE)} each and no class more than "
            f"{percent(limits.MOST_CLASS_SHARE)}."
        ),
    )


def stable_over_folds(evidence: Evidence) -> Finding:
    """Most folds are better than the class prior, and not one fold alone carries all.

    A run with one fold is asked the same of the quarters of its tested time.
    """
    limit = limits.LEAST_GOOD_FOLDS_SHARE
    parts, name = _parts(evidence, "by_fold"), "folds"
    if len(parts) == 1:
        parts, name = _parts(evidence, "by_period"), "quarters of the tested time"
    if len(parts) < limits.LEAST_FOLDS:
        return not_measured("the log loss saved against the prior per fold or quarter", limit)
    n_good = sum(saved > 0 for saved, _ in parts.values())
    best = max(parts, key=lambda part: parts[part][0] * parts[part][1])
    others = [found for part, found in parts.items() if part != best]
    without_best = sum(saved * n for saved, n in others) / sum(n for _, n in others)
    return Finding(
        value=n_good / len(parts),
        limit=limit,
        passed=n_good / len(parts) >= limit and without_best > 0,
        reason=(
            f"Log loss is below the prior's in {n_good} of {len(parts)} {name} (at least "
            f"{percent(limit)} needed), and by {decimal(without_best)} nats a row without the best "
            "of them (must be above 0)."
        ),
    )


def stable_over_seeds(evidence: Evidence) -> Finding:
    """Every seed is better than the class prior: the network does not hang on a lucky start."""
    seeds = _parts(evidence, "by_seed")
    if not seeds:
        return not_measured("the log loss saved against the prior per seed", 0.0)
    worst = min(saved for saved, _ in seeds.values())
    told = f"the worst of {len(seeds)} seeds saves" if len(seeds) > 1 else "the only seed saves"
    return Finding(
        value=worst,
        limit=0.0,
        passed=worst > 0,
        reason=(
            f"Against the prior, {told} {decimal(worst)} nats a row; every seed must save more "
            "than 0."
        ),
    )


def _parts(evidence: Evidence, way: str) -> dict[str, tuple[float, float]]:
    """Return log loss saved against the prior, and rows, of every fold or seed."""
    parts = {}
    for name, part in entries(evidence.metrics, "improvement", "prior", "log_loss", way).items():
        saved, n = number(part), number(at(part, "n"))
        if saved is not None and n:
            parts[name] = (saved, n)
    return parts
