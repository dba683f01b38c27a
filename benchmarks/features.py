"""`v8` features of a million bars, against the same 72 columns in plain pandas.

    python benchmarks/features.py [--quick]

Both run in this process in turns, on one core; medians. The values are compared first. Bars are
simulated. "Cached" is the second study on the same bars.
"""

import argparse
import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is loaded

import numpy as np
import pandas as pd
from _side_by_side import hardware, in_turns, in_words, table

from walkforge import features, market

# Exponential means are cut off in ours and endless in pandas, and differences below 1e-12 of the
# price are none in ours. So a few values may differ; this many at most, by more than this.
_TOLERANCE = 1e-3
_MOST_UNLIKE_FRAC = 1e-3


def main() -> None:
    """Check, measure and print."""
    n_bars, rounds = (100_000, 1) if _arguments().quick else (1_000_000, 5)
    # Ticks so fine that equal prices, where the two differ (see _TOLERANCE), are rare.
    bars = market.simulate("garch", n_bars=n_bars, seed=1, timeframe="1m", tick_size=0.001)
    bars_by_symbol = {bars.symbol: bars}
    ours, theirs = features.build(bars, "v8"), in_pandas(bars)
    print(_compared(ours, theirs))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WALKFORGE_CACHE"] = folder
        features.build_all(bars_by_symbol, "v8")
        seconds = in_turns(
            {
                "ours": lambda: features.build(bars, "v8"),
                "pandas": lambda: in_pandas(bars),
                "cached": lambda: features.build_all(bars_by_symbol, "v8"),
            },
            rounds,
        )
    alternative = f"pandas {pd.__version__}: {in_words(seconds['pandas'])}"
    rows = [
        (
            f"`v8`, {n_bars:,} bars, {what}",
            in_words(seconds[key]),
            alternative,
            f"{seconds['pandas'] / seconds[key]:.1f}",
        )
        for what, key in (("computed", "ours"), ("cached", "cached"))
    ]
    print(f"\n{hardware()}; one core each, median of {rounds} rounds in turns\n\n{table(rows)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the bars, one round")
    return parser.parse_args()


def _compared(ours: features.FeatureTable, theirs: pd.DataFrame) -> str:
    """Return in a line how well the values agree; raise SystemExit where they do not."""
    assert tuple(theirs.columns) == ours.columns
    apart = np.abs(ours.values - theirs.to_numpy())[ours.valid]
    unlike = (apart > _TOLERANCE).mean(axis=0)
    worst = ours.columns[int(unlike.argmax())]
    if unlike.max() > _MOST_UNLIKE_FRAC:
        raise SystemExit(f"{worst}: {unlike.max():.2%} of the values differ by > {_TOLERANCE:g}")
    return (
        f"values compared: {len(ours.columns)} columns, at most {unlike.max():.4%} of a column "
        f"(`{worst}`) differ by more than {_TOLERANCE:g}"
    )


def in_pandas(bars: market.Bars) -> pd.DataFrame:
    """Return the 72 columns of `v8` as somebody who knows pandas well would write them."""
    index = pd.to_datetime(bars.timestamp, unit="ms", utc=True)
    open_, high, low, close, volume = (
        pd.Series(getattr(bars, name), index=index)
        for name in ("open", "high", "low", "close", "volume")
    )
    log_close = np.log(close)
    log_return = log_close.diff()
    step = close.diff()
    sigma = np.sqrt((log_return**2).rolling(60).mean())
    typical = (high + low + close) / 3
    bar_range = high - low
    f: dict[str, pd.Series] = {}

    for n in (1, 5, 10, 15, 30, 60, 120, 240):
        f[f"return_{n}"] = log_close.diff(n) / (sigma * np.sqrt(n))
    for n in (1, 2, 3, 5, 10):
        f[f"return_1_lag_{n}"] = log_return.shift(n) / sigma

    sma = {n: close.rolling(n).mean() for n in (5, 10, 20, 50, 100, 200)}
    ema = {n: close.ewm(span=n).mean() for n in (12, 26)}
    for n in sma:
        f[f"sma_{n}"] = (close / sma[n] - 1) / (sigma * np.sqrt(n))
    for n in ema:
        f[f"ema_{n}"] = (close / ema[n] - 1) / (sigma * np.sqrt(n))
    for fast, slow in ((5, 20), (20, 100)):
        f[f"sma_{fast}_{slow}"] = (sma[fast] / sma[slow] - 1) / (sigma * np.sqrt(slow))

    for n in (10, 30, 90):
        f[f"momentum_{n}"] = _ratio(log_close.diff(n), log_return.abs().rolling(n).sum())
    for n in (5, 20):
        change = log_close.diff(n)
        f[f"acceleration_{n}"] = change.diff(n) / (sigma * np.sqrt(2 * n))
    f["up_share_20"] = np.sign(step).rolling(20).mean()

    squared_return, squared_range = log_return**2, np.log(high / low) ** 2
    garman_klass = 0.5 * squared_range - (2 * np.log(2) - 1) * np.log(close / open_) ** 2
    volatility = {n: np.sqrt(squared_return.rolling(n).mean()) for n in (5, 10, 30, 60, 120, 240)}
    for n in (10, 30, 120):
        f[f"volatility_{n}"] = _level(volatility[n])
    for n in (10, 30, 120):
        f[f"parkinson_{n}"] = _level(np.sqrt(squared_range.rolling(n).mean() / (4 * np.log(2))))
    for n in (10, 30, 120):
        f[f"garman_klass_{n}"] = _level(np.sqrt(garman_klass.rolling(n).mean().clip(lower=0)))
    for fast, slow in ((5, 60), (60, 240)):
        f[f"volatility_{fast}_{slow}"] = _balance(volatility[fast], volatility[slow])

    close_before = close.shift()
    true_range = np.maximum(high, close_before) - np.minimum(low, close_before)
    average_range = _wilder(true_range, 14)
    f["natr_14"] = _level(average_range / close)
    f["true_range_14"] = _balance(true_range, average_range)
    for n in (7, 14):
        f[f"rsi_{n}"] = _ratio(_wilder(step, n), _wilder(step.abs(), n))
    macd = ema[12] - ema[26]
    f["macd_12_26"] = macd / ema[26] / (sigma * np.sqrt(26))
    histogram = macd - macd.ewm(span=9).mean()
    f["macd_histogram_12_26_9"] = histogram / ema[26] / (sigma * np.sqrt(26))

    deviation = close.rolling(20).std(ddof=0)
    f["bollinger_20"] = _ratio(close - sma[20], 2 * deviation)
    f["bollinger_width_20"] = _level(4 * deviation / sma[20])
    for n in (14, 60, 240):
        top, bottom = high.rolling(n).max(), low.rolling(n).min()
        f[f"stochastic_k_{n}"] = _ratio(2 * close - top - bottom, top - bottom)
    f["stochastic_d_14_3"] = f["stochastic_k_14"].rolling(3).mean()
    mean_typical = typical.rolling(20).mean()
    # `rolling(20).apply(...)` would be more obvious, and takes half a minute on its own.
    distance = sum((typical.shift(k) - mean_typical).abs() for k in range(20)) / 20
    f["cci_20"] = _ratio(typical - mean_typical, 1.5 * distance)
    flow = np.sign(typical.diff()) * typical * volume
    f["mfi_14"] = _ratio(flow.rolling(14).sum(), flow.abs().rolling(14).sum())

    up, down = high.diff(), -low.diff()
    plus = _wilder(up.where((up > down) & (up > 0), 0.0).where(up.notna()), 14)
    minus = _wilder(down.where((down > up) & (down > 0), 0.0).where(down.notna()), 14)
    f["dmi_14"] = _ratio(plus - minus, average_range)
    f["adx_14"] = _wilder(_ratio((plus - minus).abs(), plus + minus), 14)

    traded, turnover = {n: volume.rolling(n).sum() for n in (20, 60, 240)}, typical * volume
    mean_volume = {n: volume.rolling(n).mean() for n in (5, 20, 60, 240)}
    for n in (20, 60, 240):
        vwap = turnover.rolling(n).sum() / traded[n]
        f[f"vwap_{n}"] = (close / vwap - 1) / (sigma * np.sqrt(n))
    f["volume_20"] = _balance(volume, mean_volume[20])
    for fast, slow in ((5, 60), (20, 240)):
        f[f"volume_{fast}_{slow}"] = _balance(mean_volume[fast], mean_volume[slow])
    for n in (20, 60):
        f[f"flow_{n}"] = _ratio((np.sign(step) * volume).rolling(n).sum(), traded[n])

    f["body"] = _ratio(close - open_, bar_range)
    f["upper_wick"] = _ratio(high - np.maximum(open_, close), bar_range)
    f["lower_wick"] = _ratio(np.minimum(open_, close) - low, bar_range)
    f["gap"] = np.log(open_ / close_before) / sigma
    day = (index.hour * 60 + index.minute) / 1440
    week = (index.day_of_week + day) / 7
    for name, share in (("day", day), ("week", week)):
        f[f"{name}_sin"] = pd.Series(np.sin(2 * np.pi * share), index=index)
        f[f"{name}_cos"] = pd.Series(np.cos(2 * np.pi * share), index=index)
    return pd.DataFrame(f).clip(-8, 8).astype("float32")


def _ratio(above: pd.Series, below: pd.Series) -> pd.Series:
    return (above / below.where(below > 0)).fillna(0.0)


def _balance(left: pd.Series, right: pd.Series) -> pd.Series:
    return _ratio(left - right, left + right)


def _level(fraction: pd.Series) -> pd.Series:
    return np.log(fraction.clip(lower=1e-6) / 1e-3)


def _wilder(values: pd.Series, period: int) -> pd.Series:
    return values.ewm(alpha=1 / period).mean()


if __name__ == "__main__":
    main()
