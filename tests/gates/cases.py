"""Evidence of models whose worth is known."""

import numpy as np
import polars as pl

from evaluation.tables import THREE, baseline_of, skilled
from walkforge.evaluation import diagnostics, metrics

BASELINES = ("majority", "prior", "persistence", "logistic", "lightgbm")

GOOD_BACKTEST = {
    "pooled": {
        "n_trades": 240,
        "pnl": 412.5,
        "fees": 60.0,
        "mean_trade_pnl": {"value": 1.72, "low": 0.9, "high": 2.5, "n": 240},
        "sharpe_annual": 2.4,
        "deflated_sharpe": 0.981,
        "n_trials": 12,
    },
    "random_entries": {"n_draws": 200, "p_value": 0.005},
}
REAL_BARS = {"BTCUSDT": {"provenance": "exchange"}, "ETHUSDT": {"provenance": "exchange"}}


def evidence_of(table, *, train_log_loss=None, rival=None, backtest=GOOD_BACKTEST):
    """Return what `judge` wants to know of a table; `rival` are the baselines' probabilities."""
    shares = np.bincount(table["label"], minlength=3) / len(table)
    rivals = pl.concat(
        [baseline_of(table, name, shares if rival is None else rival) for name in BASELINES]
    )
    measured = metrics(table, rivals, classes=THREE, n_resamples=200)
    loss = measured["model"]["pooled"]["log_loss"]["value"]
    train = loss - 0.02 if train_log_loss is None else train_log_loss
    return {
        "metrics": measured,
        "diagnostics": diagnostics(table, classes=THREE, train_log_loss=train, n_resamples=50),
        "backtest": backtest,
        "data_info": REAL_BARS,
    }


def mildly_skilled(**more):
    """Return the table of a calibrated model that knows a little."""
    return skilled(800, skill=0.5, **more)


def constant():
    """Return a table that says the same on every row."""
    same = {"p_down": 0.2, "p_hold": 0.5, "p_up": 0.3}
    return mildly_skilled().with_columns(pl.lit(p).alias(name) for name, p in same.items())


def perfect(sure=1.0):
    """Return a table that is always right, `sure` of it."""
    return mildly_skilled().with_columns(
        pl.when(pl.col("label") == k).then(sure).otherwise((1 - sure) / 2).alias(f"p_{name}")
        for k, name in enumerate(THREE)
    )
