"""A trained MarketGPT's sampled paths as forecast rows.

Shapes: n decisions, B of them at once, N paths of each, T tokens of a prompt, S steps ahead,
K numbers of a forecast row
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforge import features, models
from walkforge.base import FloatArray, IntArray, derive_seed
from walkforge.features import PathForecast
from walkforge.labels import BAND_BARS
from walkforge.models import ForecastRow, GptShape, MarketGpt

from ._gpt_study import GptStudy
from ._network import forecast_row
from ._prepare import Series
from ._token_market import TokenMarket

if TYPE_CHECKING:
    from torch import Generator

# What the caches of all paths that are drawn at once may take. The draws depend on how many these
# are, so it is the same on every machine.
_CACHE_BYTES = 2**29
_MOST_PATHS = 4096


@dataclass(frozen=True, slots=True)
class Paths:
    """Draws paths from one fold's model."""

    study: GptStudy
    market: TokenMarket
    model: MarketGpt

    def forecast(
        self, name: str, series: Series, rows: IntArray, *, seed: int, piece: str
    ) -> FloatArray:
        """Return forecast rows (n, K) of the decisions at a series' `rows` (n,) of one slice.

        Their random numbers follow from the seed, the fold, the series and the slice alone.
        """
        import torch

        device = next(self.model.parameters()).device
        drawn_by = derive_seed(seed, "paths", self.market.fold.index, name, piece)
        generator = torch.Generator(device).manual_seed(drawn_by)
        row = forecast_row(self.study)
        found = np.empty((len(rows), row.n_numbers))
        for places, n_tokens in self._chunks(name, rows):
            tokens_BNS = self._drawn(name, rows[places], n_tokens, generator)
            found[places] = _joined(self._expected(series, rows[places], tokens_BNS, row))
        return found

    def _chunks(self, name: str, rows: IntArray) -> Iterator[tuple[IntArray, int]]:
        """Yield places in `rows` of decisions with equally long prompts, and how long these are."""
        placed = rows + self.market.first_row[name]
        known = placed - self.market.table.run_first[placed] + 1
        lengths = np.minimum(known, self.study.prompt_tokens)
        size = decisions_at_once(self.model.shape, self.study.sampling.paths)
        for length in np.unique(lengths):
            places = np.flatnonzero(lengths == length)
            for start in range(0, len(places), size):
                yield places[start : start + size], int(length)

    def _drawn(
        self, name: str, rows: IntArray, n_tokens: int, generator: "Generator"
    ) -> np.ndarray:
        """Return the tokens (B, N, S) of all paths of some decisions."""
        import torch

        table, sampling = self.market.table, self.study.sampling
        placed = rows + self.market.first_row[name]
        prompts_BT = table.tokens[placed[:, None] + np.arange(1 - n_tokens, 1)].astype(np.int64)
        device = next(self.model.parameters()).device
        tokens = models.sample_tokens(
            self.model,
            torch.from_numpy(prompts_BT).to(device),
            torch.from_numpy(table.asset[placed].astype(np.int64)).to(device),
            torch.from_numpy(table.category[placed].astype(np.int64)).to(device),
            steps=self.study.labels.horizon_bars,
            generator=generator,
            temperature=sampling.temperature,
            paths=sampling.paths,
        )
        return tokens.view(len(rows), sampling.paths, -1).cpu().numpy()

    def _expected(
        self, series: Series, rows: IntArray, tokens_BNS: np.ndarray, row: ForecastRow
    ) -> PathForecast:
        assert series.targets is not None  # or there were nothing to forecast
        close = series.bars.close
        n_returns = self.study.tokenizer.volatility_bars
        return features.forecast_paths(
            tokens_BNS,
            self.market.tokenizer.centres,
            returns_Bn=np.diff(np.log(close[rows[:, None] + np.arange(-n_returns, 1)]), axis=1),
            closes_Bw=close[rows[:, None] + np.arange(1 - BAND_BARS, 1)],
            sigma_B=series.targets.volatility[rows],
            levels=row.levels,
        )


def decisions_at_once(shape: GptShape, paths: int) -> int:
    """Return for how many decisions paths are drawn together."""
    bytes_a_path = 2 * 4 * shape.layers * shape.d_model * shape.context
    most_paths = min(_MOST_PATHS, _CACHE_BYTES // bytes_a_path)
    return max(1, most_paths // paths)


def _joined(found: PathForecast) -> FloatArray:
    """Return forecast rows (B, K) in the order of `ForecastRow`."""
    parts = (found.ohlc, found.band, found.volatility, found.quantiles)
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
