"""Writes a small plausible run folder: numbers from random walks, in the shapes of a real run."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from walkforge.base import utc_text, write_json, write_text

CLASSES = ("down", "hold", "up")
START = datetime(2024, 1, 1, tzinfo=UTC)
_HOUR_MS = 3_600_000

_STUDY = """\
name: {name}
note: Does an hour of {symbols} say anything about the next three?
seeds: [0, 1]
data:
  source: folder
  bars: bars/made
  timeframe: 1h
features:
  set: v8
  window_bars: 1
labels:
  kind: quantile
  horizon_bars: 3
folds:
  kind: walk_forward
  count: 4
model:
  name: mlp
  widths: [512, 256, 128]
judge:
  profile: default
"""


def make_run(
    folder: Path,
    *,
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT"),
    n_folds: int = 4,
    n_epochs: int = 24,
    n_bars: int = 4000,
    edge: float = 0.0,
    fit: bool = False,
    alarms: tuple[str, ...] = (),
    seed: int = 7,
) -> Path:
    """Write every file of a run folder; `edge` moves the scores, `fit` the verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    name = folder.name
    write_text(folder / "study.yaml", _STUDY.format(name=name, symbols=", ".join(symbols[:3])))
    write_json(folder / "run.json", _run(name, symbols, n_folds))
    write_json(folder / "data_info.json", _data_info(symbols, n_bars))
    write_json(folder / "folds.json", _folds(symbols, n_folds))
    write_text(folder / "training_log.jsonl", _log(random, symbols, n_folds, n_epochs))
    write_json(folder / "metrics.json", _metrics(random, symbols, n_folds, edge))
    write_json(folder / "diagnostics.json", _diagnostics(random))
    _write_backtest(folder, random, symbols, n_bars, edge)
    write_json(folder / "verdict.json", _verdict(fit=fit, alarms=alarms))
    return folder


def _run(name: str, symbols: tuple[str, ...], n_folds: int) -> dict[str, Any]:
    return {
        "name": name,
        "walkforge": "0.1.0",
        "python": "3.11.7",
        "torch": "2.13.0",
        "device": "cpu",
        "device_reason": "no CUDA device is there",
        "precision": "float32",
        "precision_reason": "on the CPU float32 is fastest and exact",
        "started": "2025-03-01T08:15:00+00:00",
        "seconds": 734.2,
        "seeds": [0, 1],
        "n_members": len(symbols) * n_folds * 2,
        "n_parameters": 201_987,
        "train": {"log_loss": 1.0801, "n": 40_000},
        "study_digest": "5f" * 32,
    }


def _data_info(symbols: tuple[str, ...], n_bars: int) -> dict[str, Any]:
    return {
        symbol: {
            "venue": "made",
            "timeframe": "1h",
            "rows": n_bars,
            "first": utc_text(_ms(START)),
            "last": utc_text(_ms(START) + (n_bars - 1) * _HOUR_MS),
            "segments": 1,
            "holes": {"count": 0, "missing_bars": 0, "estimated": False, "largest": []},
            "repairs": ["3 duplicate bars dropped"],
            "calendar": "24/7",
            "provenance": "simulated",
            "digest": f"{number:02x}" * 32,
        }
        for number, symbol in enumerate(symbols, start=1)
    }


def _folds(symbols: tuple[str, ...], n_folds: int) -> list[dict[str, Any]]:
    def day(n: int) -> str:
        return utc_text(_ms(START + timedelta(days=n)))

    return [
        {
            "fold": fold,
            "symbol": symbol,
            "train": [day(0), day(60 + 20 * fold)],
            "validation": [day(60 + 20 * fold), day(70 + 20 * fold)],
            "calibration": [day(70 + 20 * fold), day(80 + 20 * fold)],
            "test": [day(80 + 20 * fold), day(100 + 20 * fold)],
            "rows": {"train": 1400, "validation": 230, "calibration": 230, "test": 470},
            "purged": 9,
            "embargoed": 36,
        }
        for symbol in symbols
        for fold in range(n_folds)
    ]


def _log(random: np.random.Generator, symbols: tuple[str, ...], n_folds: int, n_epochs: int) -> str:
    members = [(s, f, k) for s in symbols for f in range(n_folds) for k in (0, 1)]
    turn = random.integers(4, 14, len(members))
    level = random.normal(1.094, 0.004, len(members))
    best = np.full(len(members), np.inf)
    lines = []
    for epoch in range(1, n_epochs + 1):
        rows = []
        for m, (symbol, fold, seed) in enumerate(members):
            if epoch > turn[m] + 8:
                continue
            noise = random.normal(0, 0.0006)
            validation = level[m] + 0.012 * (epoch / turn[m] - 1) ** 2 / (1 + epoch / 9) + noise
            rows.append(
                {
                    "name": f"{symbol}/fold{fold}/seed{seed}",
                    "symbol": symbol,
                    "fold": fold,
                    "seed": seed,
                    "train_loss": 1.105 - 0.05 * (1 - np.exp(-epoch / 14)) + noise,
                    "validation_loss": validation,
                    "best": bool(validation < best[m]),
                }
            )
            best[m] = min(best[m], validation)
        if rows:
            report = {"epoch": epoch, "epochs": n_epochs, "members": rows}
            lines.append(json.dumps(report | {"seconds": 1.5, "rows_per_s": 412_000.0}) + "\n")
    return "".join(lines)


def measure(value: float, spread: float, n: int, unit: str = "fraction") -> dict[str, Any]:
    """Return the entry of one measure."""
    return {
        "value": value,
        "low": value - spread,
        "high": value + 1.1 * spread,
        "n": n,
        "unit": unit,
    }


def _block(random: np.random.Generator, n: int, edge: float) -> dict[str, Any]:
    wide = 0.9 / np.sqrt(n)
    hit = float(np.clip(0.34 + edge + random.normal(0, wide / 4), 0, 1))
    counts = np.full((3, 3), n * (1 - hit) / 6)
    np.fill_diagonal(counts, n * hit / 3)
    counts *= np.array([1.2, 0.7, 1.1]) * random.normal(1, 0.03, (3, 3))
    return {
        "accuracy": measure(hit, wide, n),
        "balanced_accuracy": measure(hit - 0.002, wide, n),
        "mcc": measure(1.5 * (hit - 1 / 3), 1.4 * wide, n, "correlation"),
        "log_loss": measure(
            1.0975 - 0.4 * edge + random.normal(0, wide / 40), wide / 12, n, "nats"
        ),
        "brier": measure(0.6655 - 0.2 * edge, wide / 20, n, "squared distance"),
        "ece": measure(0.014, 0.006, n) | {"if_calibrated": 0.011},
        "brier_parts": {
            "reliability": measure(0.0003, 0.0008, n, "squared distance"),
            "resolution": measure(0.0015 + 0.2 * edge, 0.0011, n, "squared distance"),
            "uncertainty": measure(0.6667, 0.0002, n, "squared distance"),
        },
        "roc_auc": measure(0.508 + edge, wide, n),
        "pr_auc": measure(0.341 + edge, wide, n),
        "confusion_matrix": {
            "labels": list(CLASSES),
            "counts": counts.round().astype(int).tolist(),
        },
        "n": n,
    }


def _blocks(
    random: np.random.Generator, symbols: tuple[str, ...], n_folds: int, edge: float
) -> dict[str, Any]:
    n = 940 * len(symbols) * n_folds
    return {
        "pooled": _block(random, n, edge),
        "by_symbol": {symbol: _block(random, n // len(symbols), edge) for symbol in symbols},
        "by_fold": {str(fold): _block(random, n // n_folds, edge) for fold in range(n_folds)},
    }


def _metrics(
    random: np.random.Generator, symbols: tuple[str, ...], n_folds: int, edge: float
) -> dict[str, Any]:
    n = 940 * len(symbols) * n_folds
    saved = {
        "majority": 0.9,
        "prior": 0.0004,
        "persistence": 0.35,
        "logistic": -0.0011,
        "lightgbm": 0.0061,
    }
    model = _blocks(random, symbols, n_folds, edge)
    by_seed = {str(seed): _block(random, n // 2, edge) for seed in (0, 1)}
    return {
        "model": model | {"by_seed": by_seed},
        "baselines": {
            name: _shifted(_blocks(random, symbols, n_folds, 0.0), saving)
            for name, saving in saved.items()
        },
        "improvement": {
            name: {
                "log_loss": _saving(random, saving + 0.4 * edge, symbols, n_folds, n),
                "accuracy": _saving(random, 0.004 + edge, symbols, n_folds, n),
            }
            for name, saving in saved.items()
        },
        "by_symbol_tests": _tests(random, symbols),
    }


def _tests(random: np.random.Generator, symbols: tuple[str, ...]) -> dict[str, Any]:
    """Return tests in which the first symbol knows the direction and the last is not tested."""

    def entries(limit: float, found: bool) -> dict[str, Any]:
        few = "no test: 3 independent blocks of time, at least 5 needed"
        tested = {
            symbol: {"value": limit + random.normal(0, 0.01), "n": 1880, "n_blocks": 90}
            | {"p_value": 0.00002 if found and place == 0 else 0.31}
            | {"p_adjusted": 0.000123 if found and place == 0 else 1.0}
            for place, symbol in enumerate(symbols)
        }
        tested[symbols[-1]] |= {"p_value": None, "p_adjusted": None, "reason": few}
        discoveries = [*symbols[:1]] if found else []
        return {"n_tested": len(symbols) - 1, "discoveries": discoveries, "limit": limit} | {
            "by_symbol": tested
        }

    return {
        "false_discovery_rate": 0.05,
        "adjusted_by": "Benjamini-Yekutieli",
        "direction_auc": entries(0.5, True) | {"unit": "fraction"},
        "log_loss": entries(0.0, False) | {"unit": "nats", "against": "prior"},
    }


def _shifted(blocks: dict[str, Any], saving: float) -> dict[str, Any]:
    for key in ("value", "low", "high"):
        blocks["pooled"]["log_loss"][key] += saving
    return blocks


def _saving(
    random: np.random.Generator, value: float, symbols: tuple[str, ...], n_folds: int, n: int
) -> dict[str, Any]:
    spread = 0.0007 + 0.05 * abs(value)
    by_fold = {
        str(fold): {"value": value + random.normal(0, 1.5 * spread), "n": n // n_folds}
        for fold in range(n_folds)
    }
    by_seed = {str(seed): {"value": value, "n": n // 2} for seed in (0, 1)}
    return measure(value, spread, n, "nats") | {
        "by_fold": by_fold,
        "by_symbol": {symbol: {"value": value, "n": n // len(symbols)} for symbol in symbols},
        "by_seed": by_seed,
    }


def _diagnostics(random: np.random.Generator) -> dict[str, Any]:
    said = np.linspace(0.345, 0.43, 10)
    came = said - 0.3 * (said - 0.36) + random.normal(0, 0.006, 10)
    counts = [0] * 20
    counts[6:10] = [3120, 6480, 1490, 190]
    return {
        "n": 11_280,
        "logits": {"min": -1.73, "max": 1.91, "nan": 0, "inf": 0},
        "not_finite": 0,
        "class_shares": {
            "predicted": {"down": 0.391, "hold": 0.216, "up": 0.393},
            "true": {"down": 0.334, "hold": 0.331, "up": 0.335},
        },
        "confidence": {
            "mean": 0.372,
            "std": 0.02,
            "histogram": {"edges": np.linspace(0, 1, 21).tolist(), "counts": counts},
        },
        "share_above_99": 0.0,
        "entropy": {"mean": 1.091, "most": 1.0986, "unit": "nats"},
        "reliability": [
            {
                "from": float(p - 0.004),
                "to": float(p + 0.004),
                "confidence": float(p),
                "hit_rate": float(hit),
                "low": float(hit - 0.014),
                "high": float(hit + 0.015),
                "band_low": float(p - 0.0145),
                "band_high": float(p + 0.0145),
                "n": 1128,
            }
            for p, hit in zip(said, came, strict=True)
        ],
        "reliability_by_class": {name: _class_bins(random) for name in ("down", "hold", "up")},
        "design_effects": {"confidence": 1.31, "down": 1.27, "hold": 1.12, "up": 1.33},
        "members": {"n": 24, "n_constant": 0, "constant": []},
        "train_test_gap": {"train_log_loss": 1.0801, "test_log_loss": 1.0975, "gap": 0.0174},
    }


def _class_bins(random: np.random.Generator) -> list[dict[str, Any]]:
    said = np.linspace(0.28, 0.39, 10)
    came = said + random.normal(0, 0.01, 10)
    return [
        {
            "from": float(p - 0.006),
            "to": float(p + 0.006),
            "probability": float(p),
            "frequency": float(rate),
            "low": float(rate - 0.016),
            "high": float(rate + 0.016),
            "band_low": float(p - 0.0155),
            "band_high": float(p + 0.0155),
            "n": 1128,
        }
        for p, rate in zip(said, came, strict=True)
    ]


def _write_backtest(
    folder: Path, random: np.random.Generator, symbols: tuple[str, ...], n_bars: int, edge: float
) -> None:
    steps = np.arange(n_bars)
    stamps = pl.Series(_ms(START) + steps * _HOUR_MS).cast(pl.Datetime("ms", "UTC"))
    equity = 10_000 + np.cumsum(random.normal(0.6 * edge - 0.012, 0.55, n_bars))
    held = 10_000 + np.cumsum(random.normal(0.01, 0.9, n_bars))
    peak = np.maximum.accumulate(equity)
    curve = pl.DataFrame(
        {
            "timestamp": stamps,
            "symbol": ["portfolio"] * n_bars,
            "equity": equity,
            "drawdown_frac": (peak - equity) / peak,
            "position": np.zeros(n_bars),
            "buy_and_hold": held,
        }
    )
    curve.write_parquet(folder / "equity.parquet")
    kinds = random.choice(
        ["stop", "target", "timeout", "segment_end"], 800, p=[0.5, 0.3, 0.19, 0.01]
    )
    pl.DataFrame({"exit_kind": kinds, "pnl": random.normal(-0.06, 1.1, 800)}).write_parquet(
        folder / "trades.parquet"
    )
    write_json(folder / "backtest.json", _backtest(random, symbols, equity, held))


def account(pnl: float, n_trades: int = 800) -> dict[str, Any]:
    """Return one block B of backtest.json."""
    return {
        "n_trades": n_trades,
        "n_long": n_trades // 2,
        "n_short": n_trades - n_trades // 2,
        "win_rate": 0.431,
        "exits": {"stop": 401, "target": 238, "timeout": 155, "segment_end": 6},
        "pnl": pnl,
        "fees": 14.2,
        "roi_frac": pnl / 10_000,
        "mean_trade_pnl": measure(pnl / n_trades, 0.04, n_trades, "quote currency"),
        "profit_factor": 0.94,
        "exposure_frac": 0.62,
        "mean_hold_bars": 7.4,
        "max_drawdown_frac": 0.0087,
        "sharpe_annual": -0.61,
        "sharpe": measure(-0.61, 1.4, 166, "per year"),
        "deflated_sharpe": 0.021,
        "n_trials": 24,
    }


def _backtest(
    random: np.random.Generator, symbols: tuple[str, ...], equity: np.ndarray, held: np.ndarray
) -> dict[str, Any]:
    pnl = float(equity[-1] - 10_000)
    n_days = len(equity) // 24
    drift = np.linspace(0, -30, n_days)
    spread = 9 * np.sqrt(np.arange(n_days))
    days = [f"{START + timedelta(days=day):%Y-%m-%d}" for day in range(n_days)]
    return {
        "pooled": account(pnl),
        "by_symbol": {symbol: account(pnl / len(symbols), 266) for symbol in symbols},
        "buy_and_hold": account(float(held[-1] - 10_000), len(symbols)),
        "random_entries": account(-30.0)
        | {
            "n_draws": 200,
            "pnl_low": -144.0,
            "pnl_high": 84.0,
            "beaten_frac": 0.44,
            "p_value": 0.562,
            "deflated_sharpe": None,
            "curve": {
                "day": days,
                "mean": (10_000 + drift).tolist(),
                "low": (10_000 + drift - spread).tolist(),
                "high": (10_000 + drift + spread).tolist(),
            },
        },
        "sizes": [
            {"size": size, "unit": "contracts", **account(pnl * size / 0.001)}
            for size in (0.001, 0.01, 0.05)
        ],
        "cost_stress": [
            {
                "factor": factor,
                "fee_frac": 0.00018 * factor,
                "slippage_ticks": factor,
                **account(pnl + 14.2 - 14.2 * factor),
            }
            for factor in (0.0, 1.0, 2.0, 4.0)
        ],
        "taker": {"fee_frac": 0.0005, **account(pnl - 25.2)},
        "last_days": {"days": 30, "from": "2024-05-16", "to": "2024-06-15", **account(3.1, 90)},
        "rule": (
            "The calibrated probabilities of all seeds are averaged per bar; long where up is the "
            "likeliest class and leads down by at least 0, short the other way round."
        ),
        "setup": {
            "capital": 10_000.0,
            "size_contracts": 0.001,
            "size_capital_frac": None,
            "bracket": {"stop_atr": 1.5, "target_atr": 2.5, "max_hold_bars": 20, "atr_bars": 14},
            "costs": {"fee_frac": 0.00018, "slippage_ticks": 1.0},
            "taker_fee_frac": 0.0005,
            "from": days[0],
            "to": days[-1],
        },
    }


def _verdict(*, fit: bool, alarms: tuple[str, ...]) -> dict[str, Any]:
    gates = [gate | {"passed": gate["passed"] or fit} for gate in _GATES]
    return {
        "fit": fit,
        "promotable": False,
        "profile": "default",
        "alarms": list(alarms),
        "gates": gates,
    }


_GATES: list[dict[str, Any]] = [
    {
        "name": "beats_baselines",
        "value": -0.0018123456,
        "limit": 0.0,
        "passed": False,
        "reason": "Against logistic the model loses 0.0011 nats per row (-0.0018 to -0.0003); "
        "the lower end must be above 0.",
    },
    {
        "name": "calibration_error",
        "value": 0.01413,
        "limit": 0.03,
        "passed": True,
        "reason": "The calibration error is 0.0141 (0.0081 to 0.0207), below the limit of 0.03.",
    },
    {
        "name": "stable_over_folds",
        "value": 0.75,
        "limit": 2 / 3,
        "passed": True,
        "reason": "The model beats the strongest baseline in 3 of 4 folds.",
    },
    {
        "name": "profit_after_costs",
        "value": -48.2071,
        "limit": 0,
        "passed": False,
        "reason": "The account lost 48.21 after fees; it must earn more than 0.",
    },
    {
        "name": "deflated_sharpe",
        "value": 0.021,
        "limit": 0.95,
        "passed": False,
        "reason": "The chance that the Sharpe ratio is more than the luck of 24 trials is 0.021; "
        "0.95 is needed.",
    },
    {
        "name": "class_shares",
        "value": [0.216, 0.393],
        "limit": [0.05, 0.9],
        "passed": True,
        "reason": "Every class is predicted in 21.6 % to 39.3 % of the rows.",
    },
    {
        "name": "finite",
        "value": 0,
        "limit": 0,
        "passed": True,
        "reason": "No number is NaN or infinite.",
    },
]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
