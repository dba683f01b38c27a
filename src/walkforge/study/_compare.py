"""Runs side by side: what was set, what came out, and which differences the data can tell.

    data = study.compare([Path("runs/a"), Path("runs/b")])

The first run is the reference; every other one is tested against it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge import evaluation, statistics
from walkforge.base import UsageError, utc_text

from ._compare_choice import best_of, overfitting
from ._compare_choice_words import sentence_of_best, sentence_of_overfitting
from ._compare_days import DAY_MS, Days, days_of
from ._compare_runs import Compared, read_compared
from ._compare_settings import differing_settings, labels_that_differ, notes_on
from ._compare_tokens import token_test
from ._compare_words import headline, sentences, token_gains
from ._judging import JUDGED

SURE = 0.05
"""Adjusted p-value below which a run is called better or worse than the reference."""

LEAST_DAYS = 20
"""Fewer common days than these tell nothing of what two accounts earn; as for a Sharpe ratio."""

_MEASURES = ("log_loss", "accuracy", "balanced_accuracy")
_FORECAST_LOSSES = ("crps", "absolute_error")
_TOKEN_LOSSES = ("log_loss", "accuracy")


def compare(paths: Sequence[Path], *, n_resamples: int = 4000, seed: int = 0) -> dict[str, Any]:
    """Return what `walkforge compare --json` prints, see `docs/report.md`: plain data.

    Every run after the first is tested against the first on their common out-of-sample rows, with
    `n_resamples` of the block bootstrap; p-values are adjusted over the runs by Holm. `best_of`
    asks of all at once whether any is better, `overfitting` what choosing by profit is worth.
    Raises UsageError for fewer than two folders or the same one twice, RunError for a folder that
    is no run, is not finished or holds a damaged file, EvaluationError below 19 resamples.
    """
    _refuse_odd_lists(paths)
    runs = read_compared(paths)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    tests, days = _tests(runs, **drawing)
    _adjust(tests)
    for test in tests:
        test["sentences"] = sentences(test)
    settings = differing_settings(runs)
    best, account = best_of(runs, tests, **drawing), overfitting(days)
    return {
        "headline": headline(tests, [run.data["letter"] for run in runs]),
        "sentences": [
            *(sentence for test in tests for sentence in test["sentences"]),
            *token_gains([run.data for run in runs]),
            sentence_of_best(best, runs),
            sentence_of_overfitting(account),
        ],
        "runs": [run.data for run in runs],
        "settings": settings,
        "tests": tests,
        "best_of": best,
        "overfitting": account,
        "notes": notes_on(runs, settings),
    }


def _refuse_odd_lists(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise UsageError(f"{len(paths)} run to compare; name at least two run folders")
    known: dict[Path, Path] = {}
    for path in paths:
        twin = known.setdefault(path.resolve(), path)
        if twin is not path:
            raise UsageError(f"{path}: the same folder as {twin}; name every run once")


def _tests(
    runs: Sequence[Compared], **drawing: int
) -> tuple[list[dict[str, Any]], dict[str, Days | None]]:
    """Return all tests of each run against the first, and by letter what each earned by day."""
    reference, *others = runs
    ours = reference.predictions()
    days = {reference.data["letter"]: days_of(reference.folder, ours)}
    tests: list[dict[str, Any]] = []
    for place, other in enumerate(others, start=1):
        theirs = other.predictions()
        days[other.data["letter"]] = days_of(other.folder, theirs)
        earned, more = (days[run.data["letter"]] for run in (reference, other))
        tests.append(
            {
                "reference": 0,
                "run": place,
                "names": [reference.title, other.title],
                "predictions": _loss_test(reference, other, ours, theirs, **drawing),
                "forecasts": _forecast_test(reference, other),
                "tokens": token_test(reference.folder, other.folder, **drawing),
                "daily_pnl": _money_test(earned, more, **drawing),
            }
        )
    return tests, days


def _loss_test(
    reference: Compared, other: Compared, ours: pl.DataFrame, theirs: pl.DataFrame, **drawing: int
) -> dict[str, Any]:
    """Return the test on common rows; under another label rule not one label may differ."""
    foreign = JUDGED in (reference.data["kind"], other.data["kind"])
    keys = [] if foreign else labels_that_differ(reference, other)
    allowed_frac = 0.0 if keys else evaluation.LABELS_MAY_DIFFER_FRAC
    found = evaluation.paired_test(ours, theirs, labels_may_differ_frac=allowed_frac, **drawing)
    if keys and not found["comparable"] and found["n_labels_differ"]:
        found["reason"] = f"another label rule ({', '.join(keys)}): {found['reason']}"
    return found


def _forecast_test(reference: Compared, other: Compared) -> dict[str, Any] | None:
    """Return the test on common forecasts, None where not both forecast prices."""
    file = "forecasts.parquet"
    if not (reference.folder.has(file) and other.folder.has(file)):
        return None
    tables = (run.folder.read_table(file) for run in (reference, other))
    return evaluation.paired_forecasts(*tables)


def _money_test(ours: Days | None, theirs: Days | None, **drawing: int) -> dict[str, Any]:
    """Return what the second account earned a day more than the first, on common days."""
    if ours is None or theirs is None:
        return {"comparable": False, "reason": "trades.parquet is missing in one of them"}
    common, left, right = np.intersect1d(ours.day, theirs.day, return_indices=True)
    span: dict[str, Any] = {"n_common_days": len(common)}
    if len(common):
        first, last = (utc_text(int(day) * DAY_MS)[:10] for day in common[[0, -1]])
        span |= {"from": first, "to": last}
    if not (ours.traded or theirs.traded):
        return span | {"comparable": False, "reason": "neither of them traded"}
    if len(common) < LEAST_DAYS:
        reason = f"{len(common)} common days, at least {LEAST_DAYS} needed"
        return span | {"comparable": False, "reason": reason}
    more = theirs.pnl[right] - ours.pnl[left]
    entry = evaluation.paired_mean(common * DAY_MS, more, unit="quote currency per day", **drawing)
    return span | {"comparable": True, **entry}


def _adjust(tests: list[dict[str, Any]]) -> None:
    """Add to every tested number `p_holm`, adjusted over the runs, and what it `says`."""
    losses = [[test["predictions"].get(kind) for test in tests] for kind in _MEASURES]
    money = [test["daily_pnl"] if test["daily_pnl"]["comparable"] else None for test in tests]
    forecasts = [[(test["forecasts"] or {}).get(k) for test in tests] for k in _FORECAST_LOSSES]
    tokens = [[(test["tokens"] or {}).get(kind) for test in tests] for kind in _TOKEN_LOSSES]
    for entries in (*losses, *forecasts, *tokens, money):
        adjusted = statistics.holm([entry and entry["p_value"] for entry in entries])
        for entry, p in zip(entries, adjusted, strict=True):
            if entry is not None:
                entry |= {"p_holm": p, "says": _says(entry["value"], p)}


def _says(value: float | None, p_holm: float | None) -> str:
    if value is None or p_holm is None or p_holm >= SURE:
        return "unclear"
    return "better" if value > 0 else "worse"
