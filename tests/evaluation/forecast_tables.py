"""Tables of price forecasts, drawn by hand or from markets whose truth is known."""

import numpy as np
import polars as pl
from scipy.stats import norm

from evaluation.tables import START_MS

HOUR_MS = 3_600_000
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def quantile_name(level):
    return f"q_{round(100 * level):02d}"


def forecast_table(close, f_close, *, time=None, step=1, last_close=100.0, **more):
    """Return a table with one row per close; scalars hold for all rows, `more` adds columns.

    The bars that came true have a range of their own: high 1 % above the close, low 1 % below.
    """
    close = np.asarray(close, dtype=np.float64)
    n = len(close)
    stamps = START_MS + (np.arange(n) if time is None else np.asarray(time)) * HOUR_MS
    columns = {
        "timestamp": pl.Series(np.broadcast_to(stamps, n)).cast(pl.Datetime("ms", "UTC")),
        "symbol": "AAA",
        "timeframe": "1h",
        "fold": 0,
        "seed": 0,
        "step": step,
        "last_close": last_close,
        "open": close,
        "high": 1.01 * close,
        "low": 0.99 * close,
        "close": close,
        "f_close": f_close,
    } | more
    types = {"fold": pl.Int32, "seed": pl.Int32, "step": pl.Int16}
    return pl.DataFrame(
        {
            name: values
            if isinstance(values, pl.Series)
            else pl.Series(
                name,
                [values] * n if isinstance(values, str) else np.broadcast_to(values, n).tolist(),
                dtype=types.get(name),
            )
            for name, values in columns.items()
        }
    )


def walk(
    n_times=200, *, horizon=4, symbols=("AAA", "BBB"), n_seeds=1, n_folds=2, sigma=0.01, seed=0
):
    """Return forecasts of random walks by the very chances that they were drawn from.

    Seeds say the same but for a little noise. Every optional column is there.
    """
    tables = []
    for number, symbol in enumerate(symbols):
        random = np.random.default_rng([seed, number])
        path = 100.0 * np.exp(np.cumsum(random.normal(0.0, sigma, n_times + horizon)))
        at = np.repeat(np.arange(n_times), horizon)
        step = np.tile(np.arange(1, horizon + 1), n_times)
        close, last, spread = path[at + step], path[at], sigma * np.sqrt(step)
        for own in range(n_seeds):
            f_close = last * np.exp(random.normal(0.0, 0.02 * sigma, len(at)) * (n_seeds > 1))
            tables.append(
                forecast_table(
                    close,
                    f_close,
                    time=at,
                    step=step,
                    last_close=last,
                    symbol=symbol,
                    seed=own,
                    fold=at * n_folds // n_times,
                    f_open=f_close * 0.999,
                    f_high=f_close * 1.008,
                    f_low=f_close * 0.991,
                    **{
                        quantile_name(level): f_close * np.exp(norm.ppf(level) * spread)
                        for level in LEVELS
                    },
                    band_low=close * 0.98,
                    band_mid=close,
                    band_high=close * 1.02,
                    f_band_low=f_close * 0.97,
                    f_band_mid=f_close,
                    f_band_high=f_close * 1.03,
                    volatility=sigma,
                    f_volatility=sigma * 1.1,
                )
            )
    return pl.concat(tables)


def baseline_of(table, name, *, noise=0.0, seed=1, point=True):
    """Return a baseline on the rows of a model's table: the last close, with noise (log)."""
    rows = table.filter(pl.col("seed") == 0)
    moved = np.exp(noise * np.random.default_rng(seed).normal(size=len(rows)))
    said = [c for c in rows.columns if c.startswith(("f_", "q_")) and c != "f_close"]
    values = (
        [pl.lit(None, dtype=pl.Float64).alias(c) for c in said]
        if point
        else [pl.col(c) * pl.Series(moved) for c in said if c.startswith(("f_", "q_"))]
    )
    return rows.with_columns(
        *values, f_close=pl.col("last_close") * pl.Series(moved), baseline=pl.lit(name)
    )
