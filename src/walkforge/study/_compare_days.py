"""What a run's backtest earned by the day."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from walkforge.base import FloatArray, IntArray, timeframe_ms

from ._folder import RunFolder

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """What a run's backtest earned by the UTC day of the bar that was decided on."""

    day: IntArray
    """Days since 1970 with a prediction, rising (n,)."""
    pnl: FloatArray
    """Quote currency after fees (n,); 0 where nothing was entered."""
    traded: bool

    @property
    def step_days(self) -> float:
        """Return how far apart its days mostly are: 1, unless it decides less than once a day."""
        return float(np.median(np.diff(self.day))) if len(self.day) > 1 else 1.0


def days_of(folder: RunFolder, predictions: pl.DataFrame) -> Days | None:
    """Return what the run earned day by day, None where it holds no trades.

    From trades.parquet and not from equity.parquet, which is thinned for a picture.
    """
    if not folder.has("trades.parquet"):
        return None
    stamps = predictions["timestamp"].dt.epoch("ms").to_numpy()
    days = np.unique(stamps // DAY_MS)
    trades = folder.read_table("trades.parquet")
    lengths_ms = {timeframe_ms(str(name)) for name in predictions["timeframe"].unique()}
    # Decided at the close: the bar itself opened one step before, maybe on another day. Bars of
    # several lengths within a day all lie in the day that the last moment before the close is in.
    back_ms = lengths_ms.pop() if len(lengths_ms) == 1 else 1
    decided = (trades["decided_at"].dt.epoch("ms").to_numpy() - back_ms) // DAY_MS
    place = np.searchsorted(days, decided).clip(0, len(days) - 1)
    known = days[place] == decided
    pnl = np.bincount(place[known], trades["pnl"].to_numpy()[known], minlength=len(days))
    return Days(days, pnl.astype(np.float64), bool(known.any()))
