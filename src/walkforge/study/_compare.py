"""Runs side by side: what was set, what came out, and which differences the data can tell.

    data = study.compare([Path("runs/a"), Path("runs/b")])

The first run is the reference; every other one is tested against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge import evaluation, statistics
from walkforge.base import IntArray, UsageError, timeframe_ms, utc_text

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
_DAY_MS = 86_400_000
_COLUMNS = ("timestamp", "symbol", "timeframe", "fold", "seed", "label", "resolved_at")


@dataclass(frozen=True, slots=True, eq=False)
class _Days:
    """What a run's backtest earned by the UTC day of the bar that was decided on."""

    day: IntArray
    """Days since 1970 with a prediction, rising (n,)."""
    pnl: np.ndarray
    """Quote currency after fees (n,); 0 where nothing was entered."""
    traded: bool


def compare(paths: Sequence[Path], *, n_resamples: int = 4000, seed: int = 0) -> dict[str, Any]:
    """Return what `walkforge compare --json` prints, see `docs/report.md`: plain data.

    Every run after the first is tested against the first on their common out-of-sample rows, with
    `n_resamples` of the block bootstrap; p-values are adjusted over the runs by Holm. Raises
    UsageError for fewer than two folders or the same one twice, RunError for a folder that is no
    run, is not finished or holds a damaged file.
    """
    _refuse_odd_lists(paths)
    runs = read_compared(paths)
    reference = _predictions_of(runs[0])
    tests: list[dict[str, Any]] = [
        {"reference": 0, "run": place, "names": [runs[0].title, run.title]}
        | _test(runs[0], reference, run, n_resamples=n_resamples, seed=seed)
        for place, run in enumerate(runs[1:], start=1)
    ]
    _adjust(tests)
    for test in tests:
        test["sentences"] = sentences(test)
    settings = differing_settings(runs)
    return {
        "headline": headline(tests, [run.data["letter"] for run in runs]),
        "sentences": [
            *(sentence for test in tests for sentence in test["sentences"]),
            *token_gains([run.data for run in runs]),
        ],
        "runs": [run.data for run in runs],
        "settings": settings,
        "tests": tests,
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


def _predictions_of(run: Compared) -> pl.DataFrame:
    """Return the columns of predictions.parquet that a test reads."""
    table = run.folder.read_table("predictions.parquet")
    return table.select(c for c in table.columns if c in _COLUMNS or c.startswith("p_"))


def _test(
    reference: Compared, ours: pl.DataFrame, other: Compared, *, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return all tests of one run against the reference and its predictions, `ours`."""
    theirs = _predictions_of(other)
    drawing = {"n_resamples": n_resamples, "seed": seed}
    return {
        "predictions": _loss_test(reference, other, ours, theirs, **drawing),
        "forecasts": _forecast_test(reference, other),
        "tokens": token_test(reference.folder, other.folder, **drawing),
        "daily_pnl": _money_test(_days(reference, ours), _days(other, theirs), **drawing),
    }


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


def _days(run: Compared, predictions: pl.DataFrame) -> _Days | None:
    """Return what the run earned day by day, None where it holds no trades."""
    if not run.folder.has("trades.parquet"):
        return None
    stamps = predictions["timestamp"].dt.epoch("ms").to_numpy()
    days = np.unique(stamps // _DAY_MS)
    trades = run.folder.read_table("trades.parquet")
    lengths_ms = {timeframe_ms(str(name)) for name in predictions["timeframe"].unique()}
    # Decided at the close: the bar itself opened one step before, maybe on another day. Bars of
    # several lengths within a day all lie in the day that the last moment before the close is in.
    back_ms = lengths_ms.pop() if len(lengths_ms) == 1 else 1
    decided = (trades["decided_at"].dt.epoch("ms").to_numpy() - back_ms) // _DAY_MS
    place = np.searchsorted(days, decided).clip(0, len(days) - 1)
    known = days[place] == decided
    pnl = np.bincount(place[known], trades["pnl"].to_numpy()[known], minlength=len(days))
    return _Days(days, pnl, bool(known.any()))


def _money_test(ours: _Days | None, theirs: _Days | None, **drawing: int) -> dict[str, Any]:
    """Return what the second account earned a day more than the first, on common days."""
    if ours is None or theirs is None:
        return {"comparable": False, "reason": "trades.parquet is missing in one of them"}
    common, left, right = np.intersect1d(ours.day, theirs.day, return_indices=True)
    span: dict[str, Any] = {"n_common_days": len(common)}
    if len(common):
        first, last = (utc_text(int(day) * _DAY_MS)[:10] for day in common[[0, -1]])
        span |= {"from": first, "to": last}
    if not (ours.traded or theirs.traded):
        return span | {"comparable": False, "reason": "neither of them traded"}
    if len(common) < LEAST_DAYS:
        reason = f"{len(common)} common days, at least {LEAST_DAYS} needed"
        return span | {"comparable": False, "reason": reason}
    more = theirs.pnl[right] - ours.pnl[left]
    entry = evaluation.paired_mean(common * _DAY_MS, more, unit="quote currency per day", **drawing)
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
