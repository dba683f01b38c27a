"""Functions of features and labels, honest and cheating, and files with them."""

from pathlib import Path

import numpy as np
import polars as pl

from walkforge.market import resample

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"

FEATURES = """
import numpy as np

def make(bars):
    change = np.append(np.nan, np.diff(np.log(bars.close)))
    return {"change": change, "body": np.log(bars.close / bars.open)}
"""

LABELS = """
import numpy as np

def make(bars):
    score = np.full(len(bars), np.nan)
    score[:-3] = np.log(bars.close[3:] / bars.close[:-3])
    return score, np.append(bars.closes_at[3:], [0, 0, 0])[:len(bars)]
"""

MODEL = """
from torch import nn

def make(n_features, window_bars, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(n_features * window_bars, 8), nn.Tanh(),
                         nn.Dropout(0.2), nn.Linear(8, n_outputs))
"""


def written(folder, name, source):
    """Return `PATH.py:make` of a file with this source."""
    path = Path(folder) / name
    path.write_text(source)
    return f"{path}:make"


def returns(bars):
    return {"change": np.append(np.nan, np.diff(np.log(bars.close)))}


def mean_20(bars):
    return pl.DataFrame({"close": bars.close}).select(mean=pl.col("close").rolling_mean(20))


def expanding(bars):
    return {"mean_so_far": np.cumsum(bars.close) / np.arange(1, len(bars) + 1)}


def by_fourier(bars):
    """Return a mean of the last bars by a product of spectra, which rounds by the length."""
    n = len(bars)
    kernel = np.fft.rfft(np.ones(30) / 30, 2 * n)
    return {"mean": np.fft.irfft(np.fft.rfft(bars.close, 2 * n) * kernel, 2 * n)[:n]}


def last_whole_hour(bars):
    """Return the close of the last hour that is over when the bar closes."""
    hours = resample(bars, "1h")
    place = np.searchsorted(hours.closes_at, bars.closes_at, side="right") - 1
    return {"hour": np.where(place >= 0, hours.close[np.maximum(place, 0)], np.nan)}


def shifted(bars):
    return {"next": np.append(bars.close[1:], np.nan)}


def rolled(bars):
    return {"next": np.roll(bars.close, -1)}


def centred(bars):
    return {"smooth": np.convolve(bars.close, np.ones(9) / 9, "same")}


def whole_maximum(bars):
    return {"share": bars.close / bars.close.max()}


def whole_scaled(bars):
    return {"z": (bars.close - bars.close.mean()) / bars.close.std()}


def fitted_on_all(bars):
    """Return how far the close is from the straight line through all of them."""
    time = np.arange(len(bars)) / len(bars)
    slope, start = np.polyfit(time, bars.close, 1)
    return {"residual": bars.close - start - slope * time}


def running_hour(bars):
    """Return the close of the hour that the bar lies in, which is not over yet."""
    hours = resample(bars, "1h")
    place = np.searchsorted(hours.timestamp, bars.timestamp, side="right") - 1
    return {"hour": np.where(place >= 0, hours.close[np.maximum(place, 0)], np.nan)}


def filled_backwards(bars):
    """Return every tenth change, and for the bars before it the next one."""
    known = np.where(np.arange(len(bars)) % 10 == 9, np.gradient(bars.close), np.nan)
    return {"filled": pl.Series(known).fill_nan(None).fill_null(strategy="backward")}


HONEST = [returns, mean_20, expanding, by_fourier, last_whole_hour]
CHEATING = [
    shifted,
    rolled,
    centred,
    whole_maximum,
    whole_scaled,
    fitted_on_all,
    running_hour,
    filled_backwards,
]


def move_in_10(bars, *, known_after=10):
    """Return the log return of ten bars, known after as many closes as it is said to be."""
    n = len(bars)
    score, resolved_at = np.full(n, np.nan), np.zeros(n)
    score[: n - 10] = np.log(bars.close[10:] / bars.close[: n - 10])
    resolved_at[: n - 10] = bars.closes_at[known_after : n - 10 + known_after]
    return score, resolved_at


def early_move(bars):
    return move_in_10(bars, known_after=9)


def rank_of_move(bars):
    """Return the place of a move among those of the whole series."""
    score, resolved_at = move_in_10(bars)
    known = ~np.isnan(score)
    score[known] = np.argsort(np.argsort(score[known])) / known.sum()
    return score, resolved_at


def only_winners(bars):
    """Return moves, but only where the price is higher after fifty bars more."""
    score, resolved_at = move_in_10(bars)
    later = np.append(bars.close[60:], np.full(60, np.nan))[: len(bars)]
    score[~(later > bars.close)] = np.nan
    return score, resolved_at


def known_with_hindsight(bars):
    """Return honest moves, but with a moment of resolution that later bars decide."""
    score, resolved_at = move_in_10(bars)
    ahead = np.append(bars.close[40:], np.full(40, np.inf))[: len(bars)]
    return score, np.where(ahead > bars.close, resolved_at, resolved_at + 60_000)


def with_room(bars):
    """Return moves of ten bars that want room for fifty, as a longest hold does."""
    score, resolved_at = move_in_10(bars)
    score[-50:] = np.nan
    return score, resolved_at
