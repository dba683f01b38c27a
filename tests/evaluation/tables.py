"""Tables of predictions whose true chances are known."""

import numpy as np
import polars as pl

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
STEP_MS = 300_000
THREE = ("down", "hold", "up")
TWO = ("down", "up")


def table_of(
    p,
    label,
    *,
    time=None,
    symbol="AAA",
    fold=0,
    seed=0,
    span_bars=1,
    logits=None,
):
    """Return a table with one row per probability row; scalars hold for all rows."""
    p, label = np.asarray(p, dtype=np.float64), np.asarray(label)
    n, classes = len(p), THREE if np.shape(p)[1] == 3 else TWO
    step = np.arange(n) if time is None else np.asarray(time)
    stamp = START_MS + step * STEP_MS
    columns = {
        "timestamp": pl.Series(stamp).cast(pl.Datetime("ms", "UTC")),
        "symbol": [symbol] * n if isinstance(symbol, str) else list(symbol),
        "timeframe": ["5m"] * n,
        "fold": pl.Series(np.broadcast_to(fold, n), dtype=pl.Int32),
        "seed": pl.Series(np.broadcast_to(seed, n), dtype=pl.Int32),
        "label": pl.Series(label, dtype=pl.Int8),
        "resolved_at": pl.Series(stamp + span_bars * STEP_MS).cast(pl.Datetime("ms", "UTC")),
    }
    if logits is not None:
        columns |= {f"logit_{name}": logits[:, k] for k, name in enumerate(classes)}
    return pl.DataFrame(columns | {f"p_{name}": p[:, k] for k, name in enumerate(classes)})


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def drawn_labels(p, random):
    """Return one class per row, each as likely as the row says."""
    return (p.cumsum(axis=1) < random.random((len(p), 1))).sum(axis=1).clip(0, p.shape[1] - 1)


def calibrated_rows(n=1000, *, skill=0.5, seed=0, n_classes=3):
    """Return probabilities (n, C) that are exactly right, and outcomes drawn from them."""
    random = np.random.default_rng(seed)
    p = softmax(random.normal(0.0, skill, (n, n_classes)))
    return p, drawn_labels(p, random)


def skilled(n_times=800, *, skill=0.5, n_symbols=2, n_seeds=2, n_folds=4, seed=0, n_classes=3):
    """Return a calibrated model's table over symbols, seeds and folds; seeds differ a little."""
    tables = []
    for s in range(n_symbols):
        random = np.random.default_rng([seed, s])
        logits = random.normal(0.0, skill, (n_times, n_classes))
        label = drawn_labels(softmax(logits), random)
        for k in range(n_seeds):
            own = logits + random.normal(0.0, 0.02, logits.shape)
            tables.append(
                table_of(
                    softmax(own),
                    label,
                    symbol=f"S{s}",
                    seed=k,
                    fold=np.arange(n_times) * n_folds // n_times,
                    logits=own,
                )
            )
    return pl.concat(tables)


def baseline_of(table, name, p):
    """Return a baseline's table on the rows of a model's; p (C,) or (rows of one seed, C)."""
    classes = [c.removeprefix("p_") for c in table.columns if c.startswith("p_")]
    rows = table.filter(pl.col("seed") == table["seed"].min()).drop(
        [c for c in table.columns if c.startswith(("p_", "logit_"))]
    )
    values = np.broadcast_to(p, (len(rows), len(classes)))
    return rows.with_columns(
        pl.lit(0, dtype=pl.Int32).alias("seed"),
        pl.lit(name).alias("baseline"),
        *(pl.Series(f"p_{c}", values[:, k]) for k, c in enumerate(classes)),
    )
