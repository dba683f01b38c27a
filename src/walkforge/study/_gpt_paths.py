"""A trained MarketGPT's sampled paths as forecast rows.

Shapes: n decisions, B of them at once, N paths of each, S steps ahead, K numbers of a forecast row
"""

from dataclasses import dataclass

import numpy as np

from walkforge import features, models
from walkforge.base import FloatArray, IntArray
from walkforge.models import MarketGpt, PathDraws, Prompts

from ._gpt_study import GptStudy
from ._network import forecast_row
from ._prepare import Series
from ._token_market import TokenMarket


@dataclass(frozen=True, slots=True)
class Paths:
    """Draws paths from one fold's model."""

    study: GptStudy
    market: TokenMarket
    model: MarketGpt

    def forecast(self, name: str, series: Series, rows: IntArray, *, seed: int) -> FloatArray:
        """Return forecast rows (n, K) of the decisions at a series' `rows` (n,).

        The random numbers of each follow from the seed, the series and its moment alone.
        """
        assert series.targets is not None  # or there were nothing to forecast
        row = forecast_row(self.study)
        found = np.empty((len(rows), row.n_numbers))
        for places, tokens_BNS in models.sample_paths(
            self.model,
            self._prompts(name, rows),
            series.bars.timestamp[rows],
            path_draws(self.study, name, seed),
        ):
            found[places] = features.path_forecasts(
                tokens_BNS,
                self.market.tokenizer,
                close=series.bars.close,
                rows_B=rows[places],
                sigma_B=series.targets.volatility[rows[places]],
                levels=row.levels,
            )
        return found

    def _prompts(self, name: str, rows: IntArray) -> Prompts:
        table, first = self.market.table, self.market.first_row[name]
        placed = rows + first
        known = placed - table.run_first[placed] + 1
        return Prompts(
            tokens=table.tokens,
            rows=placed,
            lengths=np.minimum(known, self.study.prompt_tokens),
            asset=int(table.asset[first]),
            category=int(table.category[first]),
        )


def path_draws(study: GptStudy, series: str, seed: int) -> PathDraws:
    """Return how the paths of a series are drawn, in the run as by its bundle."""
    return PathDraws(
        seed=seed,
        series=series,
        paths=study.sampling.paths,
        steps=study.labels.horizon_bars,
        temperature=study.sampling.temperature,
    )
