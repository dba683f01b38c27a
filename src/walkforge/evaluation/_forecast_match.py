"""A baseline beside the model: the very same keys, and the same truth."""

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray, PredictionsError

from ._forecast_quantiles import levels_of
from ._forecast_rows import KEY, ROUNDING, Forecasts

_PLACE = ("time", "series", "fold", "step")


def refuse_other_keys(model: Forecasts, other: Forecasts) -> None:
    """Raise PredictionsError where two tables do not forecast the very same keys."""
    ours, theirs = _keys(model), _keys(other)
    if ours.shape == theirs.shape and np.array_equal(ours, theirs):
        return
    missing, strange = _only_in(ours, theirs), _only_in(theirs, ours)
    side, row = (model, missing) if len(missing) else (other, strange)
    first = side.place(int(side.key_starts[row[0]]))
    raise PredictionsError(
        f"{other.what}: {theirs.shape[1]} forecasts where {model.what} hold {ours.shape[1]} "
        f"({', '.join(KEY)}); {len(missing)} are missing, {len(strange)} are only there, the "
        f"first is {first}. Give both the same test rows."
    )


def truth_of(rows: Forecasts) -> FloatArray:
    """Return the logs of last close and close of every key (2, k).

    Raises PredictionsError where the seeds of a key do not agree on them.
    """
    found = []
    for name in ("last_close", "close"):
        values = rows.needed_log_price(name)
        of_key = values[rows.key_starts]
        if len(of_key) < len(rows):
            n_seeds = np.diff(np.append(rows.key_starts, len(rows)))
            differs = np.abs(values - np.repeat(of_key, n_seeds)) > ROUNDING
            rows.refuse_price(differs, name, values, "that of the first seed")
        found.append(of_key)
    return np.stack(found)


def refuse_other_truth(truth: FloatArray, other: Forecasts) -> None:
    """Raise PredictionsError where a table with the same keys saw other prices (2, k)."""
    differs = (np.abs(truth_of(other) - truth) > ROUNDING).any(axis=0)
    if differs.any():
        first = other.place(int(other.key_starts[np.argmax(differs)]))
        raise PredictionsError(
            f"{other.what}: {int(differs.sum())} rows have another last_close or close than the "
            f"model's, the first is {first}. Give both the same bars."
        )


def _keys(rows: Forecasts) -> IntArray:
    """Return time, series, fold and step of every key (4, k)."""
    columns = (rows.time_ms, rows.series, rows.fold, rows.step)
    return np.stack([column[rows.key_starts] for column in columns])


def _only_in(ours: IntArray, theirs: IntArray) -> IntArray:
    """Return which of our keys (k,) the others do not have."""
    left, right = (pl.DataFrame(dict(zip(_PLACE, keys, strict=True))) for keys in (ours, theirs))
    found = left.with_row_index("row").join(right, on=_PLACE, how="anti")
    return found["row"].sort().to_numpy().astype(np.int64)


def refuse_other_levels(model: Forecasts, other: Forecasts) -> None:
    """Raise PredictionsError where both have quantiles, but not of the same levels.

    The sum that stands for the integral of a CRPS comes out lower the fewer levels it has (0.6 %
    for eleven of them, 4 % for five): other levels would win or lose by that alone.
    """
    ours, theirs = [*levels_of(model)], [*levels_of(other)]
    if ours and theirs and ours != theirs:
        raise PredictionsError(
            f"{other.what}: quantiles {', '.join(theirs)} where the model has {', '.join(ours)}; "
            "give both the same levels, or the baseline none"
        )
