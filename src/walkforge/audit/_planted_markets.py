"""Markets with an edge of stated strength: what an oracle that knows it earns after costs.

The law is `planted` of the market room. Its `edge` says how far the next bar's expected move goes;
what that is worth depends on fees, brackets and timeframe. Here it is stated as the net annual
Sharpe ratio of an oracle that is told every expected move and trades by the study's own backtest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from walkforge import backtest
from walkforge.backtest import BacktestSetup
from walkforge.base import FloatArray, UsageError, derive_seed
from walkforge.market import Bars, instrument_of, planted_drift, simulate

from ._null_markets import name_of

# Short enough that a small network finds most of it in a year: what is measured is how the gates
# miss, more than how a model does. Five closes are no less a pattern than twenty.
PATTERN_BARS = 5
# As near as an oracle's Sharpe ratio must come: half of what is known of it.
_NEAR = 0.05
# Enough markets that the mean of their Sharpe ratios is known to about a tenth over two years.
_MARKETS = 40
_WEAKEST_EDGE, _STRONGEST_EDGE = 0.05, 0.8
_STEPS = 9
# An oracle may leave out moves that do not pay: so many times the costs of a trade.
_CALIBRES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Planted:
    """Planted markets of one strength."""

    seed: int
    n_bars: int
    timeframe: str
    edge: float
    """Of `market.simulate`: the largest expected move, in volatilities of the next bar."""
    pattern_bars: int = PATTERN_BARS

    def market(self, number: int) -> Bars:
        """Return the market of a number; it depends on these settings and the number alone."""
        return simulate("planted", symbol=name_of(number), edge=self.edge, **self._draw(number))

    def drift(self, number: int) -> FloatArray:
        """Return what each close tells of the next one (n,), as expected simple returns."""
        return planted_drift(symbol=name_of(number), edge=self.edge, **self._draw(number))

    def _draw(self, number: int) -> dict[str, Any]:
        seed = derive_seed(self.seed, "planted market", number)
        return {
            "n_bars": self.n_bars,
            "seed": seed,
            "timeframe": self.timeframe,
            "pattern_bars": self.pattern_bars,
        }


@dataclass(frozen=True, slots=True)
class Oracle:
    """What knowing everything that there is to know earns in markets of one strength."""

    edge: float
    sharpe: float
    """Mean net annual Sharpe ratio."""
    standard_error: float
    calibre: float
    """It trades where the expected move is more than so many times the costs of a trade."""


def oracle_of(planted: Planted, setup: BacktestSetup) -> Oracle:
    """Return the best that an oracle can do by a rule that holds for all markets."""
    quick = replace(setup, n_random=1, n_resamples=0)
    ratios = np.array(
        [
            [_sharpe(planted, number, calibre, quick) for calibre in _CALIBRES]
            for number in range(_MARKETS)
        ]
    )
    means = ratios.mean(axis=0)
    best = int(np.argmax(means))
    spread = float(ratios[:, best].std(ddof=1)) / np.sqrt(_MARKETS)
    return Oracle(planted.edge, float(means[best]), float(spread), _CALIBRES[best])


def edge_worth(
    sharpe: float,
    planted: Planted,
    setup: BacktestSetup,
    *,
    tell: Callable[[str], None] | None = None,
) -> Oracle:
    """Return the oracle whose net annual Sharpe ratio comes nearest, by halving the edge's range.

    `tell` hears of every edge that was tried. Raises UsageError for a ratio that no edge of the
    law is worth.
    """

    def ask(edge: float) -> Oracle:
        found = oracle_of(replace(planted, edge=edge), setup)
        if tell is not None:
            tell(f"edge {edge:.3f}: an oracle's Sharpe ratio is {found.sharpe:.2f}")
        return found

    low, high = _WEAKEST_EDGE, _STRONGEST_EDGE
    ends = [ask(edge) for edge in (low, high)]
    if not ends[0].sharpe <= sharpe <= ends[1].sharpe:
        raise UsageError(
            f"no planted edge is worth a Sharpe ratio of {sharpe:g} here; expected "
            f"{ends[0].sharpe:.1f} to {ends[1].sharpe:.1f}"
        )
    found = list(ends)
    while len(found) < _STEPS and abs(found[-1].sharpe - sharpe) > _NEAR:
        found.append(ask((low + high) / 2))
        middle = found[-1]
        low, high = (middle.edge, high) if middle.sharpe < sharpe else (low, middle.edge)
    return min(found, key=lambda one: abs(one.sharpe - sharpe))


def _sharpe(planted: Planted, number: int, calibre: float, setup: BacktestSetup) -> float:
    """Return the oracle's net annual Sharpe ratio in one market; 0 where it never trades."""
    bars, drift = _market(planted, number)
    charges = setup.costs.of(instrument_of(bars.venue, bars.symbol, bars))
    cost = 2 * (charges.market_fee_frac + charges.slippage_price / bars.close)
    side = np.where(np.abs(drift) > calibre * cost, np.sign(drift), 0).astype(np.int8)
    intentions = pl.DataFrame(
        {
            "timestamp": pl.Series(bars.timestamp).cast(pl.Datetime("ms", "UTC")),
            "symbol": [bars.symbol] * len(bars),
            "side": side,
        }
    )
    account = backtest.run({bars.symbol: bars}, intentions, setup).summary["pooled"]
    return float(account["sharpe_annual"] or 0.0)


@lru_cache(maxsize=2)
def _market(planted: Planted, number: int) -> tuple[Bars, FloatArray]:
    return planted.market(number), planted.drift(number)
