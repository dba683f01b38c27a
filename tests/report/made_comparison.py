"""A made comparison of runs, as `study.compare` returns it."""

from typing import Any

import numpy as np

from report.made_run import measure
from walkforge.base import utc_text

_SCORES = {
    "log_loss": 1.0921, "balanced_accuracy": 0.351, "accuracy": 0.362, "mcc": 0.041,
    "brier": 0.661, "ece": 0.012, "roc_auc": 0.533, "pr_auc": 0.358,
}  # fmt: skip


def make_comparison(
    names: tuple[str, ...] = ("base", "wide"), *, comparable: bool = True, note: str = ""
) -> dict[str, Any]:
    """Return the data of a comparison in which B is better than A, and later ones are unclear."""
    runs = [_run(place, name) for place, name in enumerate(names)]
    tests = [_test(place, comparable) for place in range(1, len(names))]
    return {
        "headline": "B has a lower log loss than A" if comparable else "Not comparable",
        "sentences": [f"B ({names[1]}) has a lower log loss than A ({names[0]}).", "And money."],
        "runs": runs,
        "settings": {
            "n_same": 70,
            "differ": [
                {"key": "data.bars", "values": list(names), "missing_in": []},
                {
                    "key": "model.widths",
                    "values": [[64, 32]] + [None] * (len(names) - 1),
                    "missing_in": [run["letter"] for run in runs[1:]],
                },
            ],
        },
        "tests": tests,
        "best_of": _best_of([run["letter"] for run in runs[1:]], comparable),
        "overfitting": _overfitting(comparable),
        "notes": [note] if note else [],
    }


def _best_of(letters: list[str], comparable: bool) -> dict[str, Any]:
    if not comparable:
        reason = "no other run can be set against it by log loss"
        return {"tested": [], "left_out": letters, "comparable": False, "reason": reason}
    return {
        "tested": letters, "left_out": [], "comparable": True, "n": 4090, "n_times": 2045,
        "from": "2024-01-01 00:00", "to": "2024-06-01 00:00", "p_value": 0.0042,
        "p_lower": 0.0031, "p_upper": 0.0052, "superior": ["B"], "untested": letters[2:],
        "log_loss_saved": {letter: 0.0031 - 0.002 * k for k, letter in enumerate(letters)},
        "bootstrap": {"block_times": 12.0, "label_span_times": 5.0, "n_resamples": 4000, "seed": 0},
    }  # fmt: skip


def _overfitting(comparable: bool) -> dict[str, Any]:
    if not comparable:
        return {"comparable": False, "reason": "5 days in common, at least 80 needed"}
    return {
        "n_common_days": 250, "from": "2024-01-01", "to": "2024-09-06", "comparable": True,
        "pbo": 0.62, "pbo_by_luck": 2 / 3, "probability_of_loss": 0.41, "n_accounts": 3,
        "n_blocks": 16, "n_splits": 12870,
    }  # fmt: skip


def _run(place: int, name: str) -> dict[str, Any]:
    scores = {key: measure(value - 0.001 * place, 0.01, 5000) for key, value in _SCORES.items()}
    return {
        "letter": "ABCDEFGHIJ"[place],
        "name": name,
        "folder": f"runs/{name}",
        "kind": "run",
        "study": "made",
        "started": "2025-03-01 08:15:00",
        "n_rows": 5000,
        "verdict": {
            "fit": place == 1, "promotable": False, "profile": "default", "n_gates": 21,
            "n_passed": 21 if place == 1 else 19,
            "failed": [] if place == 1 else ["beats_lightgbm", "deflated_sharpe"], "alarms": [],
        },
        "measures": scores,
        "baseline": {"name": "lightgbm", "measures": scores},
        "forecast": None,
        "tokens": None,
        "trading": {
            "pnl": -12.5 + 20 * place, "roi_frac": -0.001, "sharpe": measure(0.4, 1.2, 300),
            "sharpe_annual": 0.4, "deflated_sharpe": 0.31, "max_drawdown_frac": 0.02,
            "n_trades": 400, "win_rate": 0.44, "fees": 31.0,
        },
        "cost": _cost(place),
        "curves": _curves(place),
    }  # fmt: skip


def _cost(place: int) -> dict[str, Any]:
    """Return what a run cost; the first is an older one that kept less."""
    newer = {"training": 60.0, "backtest": 3.5} if place else None
    return {
        "seconds": 734.2, "stage_seconds": newer, "peak_memory_bytes": 3 * 2**30 if place else None,
        "device": "cpu", "precision": "float32", "threads": 2 if place else None, "n_members": 24,
        "n_parameters": 7043, "walkforge": "0.1.0", "torch": "2.13.0", "python": "3.11.7",
        "epochs": 20, "training_seconds": 60.0, "rows_per_s": 412_000.0,
        "tokens_per_s": None, "gpu_memory_bytes": None,
    }  # fmt: skip


def _curves(place: int) -> dict[str, Any]:
    random = np.random.default_rng(place)
    steps = 1_704_067_200_000 + 86_400_000 * np.arange(200)
    return {
        "equity": {
            "time": [utc_text(int(step)) for step in steps],
            "return_frac": np.cumsum(random.normal(0.0002, 0.003, 200)).tolist(),
        },
        "training": {
            "epoch": list(range(1, 21)),
            "median_validation_loss": (1.1 - 0.01 * np.log1p(np.arange(20))).tolist(),
        },
    }


def _test(place: int, comparable: bool) -> dict[str, Any]:
    counts = {
        "n_common": 4100 if comparable else 0, "n": 4090, "share_of_reference": 0.82,
        "share_of_other": 0.79, "n_labels_differ": 10, "n_not_finite": 0,
        "from": "2024-01-01 00:00", "to": "2024-06-01 00:00", "comparable": comparable,
    }  # fmt: skip
    value, says = (0.0031, "better") if place == 1 else (0.0002 * place, "unclear")
    p = 0.0021 if place == 1 else 0.61
    words = {"p_value": p, "p_holm": 2 * p if place == 1 else p, "says": says}
    gain = measure(value, 0.0012, 4090, "nats") | words
    by_symbol = {"AAA 1h": {"value": value + 0.001, "n": 2045}, "BBB 1h": {"value": 0, "n": 2045}}
    losses: dict[str, Any] = (
        {"log_loss": gain | {"by_symbol": by_symbol}, "accuracy": gain, "balanced_accuracy": gain}
        if comparable
        else {"reason": "no row is common to both"}
    )
    return {
        "reference": 0,
        "run": place,
        "names": ["A", "B"],
        "predictions": counts | losses,
        "forecasts": None,
        "tokens": None,
        "daily_pnl": {"n_common_days": 5, "comparable": False, "reason": "5 common days"},
        "sentences": [],
    }
