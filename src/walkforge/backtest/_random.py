"""What the same trades would have earned had they begun at random bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from walkforge.base import FloatArray, IntArray, derive_seed, utc_text
from walkforge.execution import Bracket, Charges, fill_at_random
from walkforge.statistics import FEWEST_VALUES

from ._block import Yardstick
from ._equity import drawdown
from ._ledger import Ledger, OrderSize, book
from ._statistics import DAY_MS

_MOST_POINTS = 400  # of the curve that the report draws


def random_entries(
    ledgers: Sequence[Ledger],
    yardstick: Yardstick,
    *,
    bracket: Bracket,
    charges: Mapping[str, Charges],
    size: OrderSize,
    n_draws: int,
) -> dict[str, Any]:
    """Return the block B of random entries: means over the draws, and where the strategy stands.

    A draw keeps, per symbol, the number of trades and their sides, own sizes and own levels (as
    fractions of the decision's close), shuffles them, and enters them at random flat closes
    between the symbol's first and last decision, by the same fills, costs (`charges` by symbol)
    and funding. `p_value` is the
    share of draws, the strategy counted as one, that earn at least as much. Equity is taken at
    the end of each day from closed trades, so drawdown and Sharpe are a little kinder than with
    open ones.
    """
    days = np.unique(np.concatenate([_days(one) for one in ledgers]))
    draws = [
        _Draws(one, days, bracket=bracket, charges=charges[one.market.symbol], size=size)
        for one in ledgers
    ]
    for draw in range(n_draws):
        for one in draws:
            one.add(derive_seed(yardstick.seed, "random_entries", one.symbol, draw))
    return _summary(draws, days, yardstick, float(sum(one.pnl.sum() for one in ledgers)))


class _Draws:
    """The draws of one symbol, one after the other."""

    def __init__(
        self, ledger: Ledger, days: IntArray, *, bracket: Bracket, charges: Charges, size: OrderSize
    ) -> None:
        market, fills = ledger.market, ledger.fills
        chosen = fills.decision
        close = market.tape.close[market.row[chosen]]
        rows = market.tape.enterable()
        if len(market.row):
            rows = rows[(rows >= market.row[0]) & (rows <= market.row[-1])]
        contracts = size.contracts(rows, market)
        self.symbol = market.symbol
        self._market, self._bracket, self._charges = market, bracket, charges
        self._size_of_row = np.zeros(len(market.tape))
        self._size_of_row[rows] = contracts
        self._rows = np.ascontiguousarray(rows[contracts > 0])
        self._own_size = np.where(np.isnan(market.size[chosen]), np.nan, ledger.size)
        self._side = fills.side
        self._stop_frac = market.stop[chosen] / close
        self._target_frac = market.target[chosen] / close
        blocked = fills.exit_row - fills.entry_row + 1
        self._held = float(blocked.mean()) if len(fills) else 1.0
        self._day = np.searchsorted(days, _days(ledger))
        self._n_days = len(days)
        self.daily: list[FloatArray] = []
        """Closed profit of each day, one array per draw."""
        self.totals: list[FloatArray] = []
        """Per draw: trades, longs, wins, won, lost, fees, funding, held bars, exits of kinds 1 to
        4."""

    def add(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        order = random.permutation(len(self._side))
        market = self._market
        fills = fill_at_random(
            market.tape,
            self._side[order],
            self._bracket,
            rows=self._rows,
            stop_fracs=self._stop_frac[order],
            target_fracs=self._target_frac[order],
            slippage_price=self._charges.slippage_price,
            held_bars=self._held,
            random=random,
        )
        own = self._own_size[order][: len(fills)]
        contracts = np.where(np.isnan(own), self._size_of_row[fills.entry_row - 1], own)
        ledger = book(market, fills, contracts, self._charges, np.zeros(5, np.int64))
        day = self._day[fills.exit_row - market.window.start]
        self.daily.append(_sum_by(day, ledger.pnl, self._n_days))
        self.totals.append(_totals(ledger))

    @property
    def bars(self) -> int:
        return self._market.window.stop - self._market.window.start


def _totals(ledger: Ledger) -> FloatArray:
    pnl, fills = ledger.pnl, ledger.fills
    counts = [len(pnl), (fills.side > 0).sum(), (pnl > 0).sum()]
    money = [pnl[pnl > 0].sum(), -pnl[pnl < 0].sum(), ledger.fee.sum(), ledger.funding.sum()]
    exits = np.bincount(fills.exit_kind, minlength=5)[1:]
    return np.array([*counts, *money, fills.held_bars.sum(), *exits], float)


def _sum_by(day: IntArray, pnl: FloatArray, n_days: int) -> FloatArray:
    return np.bincount(day, weights=pnl, minlength=n_days).astype(np.float64, copy=False)


def _days(ledger: Ledger) -> IntArray:
    return ledger.market.tape.bars.timestamp[ledger.market.window] // DAY_MS


def _summary(
    draws: Sequence[_Draws], days: IntArray, yardstick: Yardstick, strategy_pnl: float
) -> dict[str, Any]:
    n_draws = len(draws[0].daily)
    if n_draws == 0:
        return {"n_draws": 0, "n_trades": 0, "pnl": None, "p_value": None}
    totals = np.sum([one.totals for one in draws], axis=0)  # (draws, fields)
    daily = np.sum([one.daily for one in draws], axis=0)  # (draws, days)
    n, n_long, wins, won, lost, fees, funding, held = totals[:, :8].mean(axis=0)
    exits = totals[:, 8:].mean(axis=0)
    pnl = daily.sum(axis=1)
    low, high = np.percentile(pnl, [5, 95])
    bars = sum(one.bars for one in draws)
    equity = yardstick.capital + np.cumsum(daily, axis=1)
    as_good = int((pnl >= strategy_pnl).sum())
    return {
        "n_draws": n_draws,
        "n_trades": float(n),
        "n_long": float(n_long),
        "n_short": float(n - n_long),
        "win_rate": float(wins / n) if n else None,
        "exits": dict(
            zip(("stop", "target", "timeout", "segment_end"), exits.tolist(), strict=True)
        ),
        "pnl": float(pnl.mean()),
        "pnl_low": float(low),
        "pnl_high": float(high),
        "fees": float(fees),
        "funding": float(funding),
        "roi_frac": float(pnl.mean()) / yardstick.capital,
        "profit_factor": float(won / lost) if lost > 0 else None,
        "exposure_frac": float(held / bars) if bars else None,
        "mean_hold_bars": float(held / n) if n else None,
        "max_drawdown_frac": float(
            np.mean([drawdown(one, yardstick.capital).max() for one in equity])
        ),
        "sharpe_annual": _mean_sharpe(daily, equity, yardstick),
        "deflated_sharpe": None,
        "beaten_frac": float((pnl < strategy_pnl).mean()),
        "p_value": (1 + as_good) / (1 + n_draws),
        "curve": _curve(days, equity),
    }


def _mean_sharpe(daily: FloatArray, equity: FloatArray, yardstick: Yardstick) -> float | None:
    """Return the mean of the draws' annual Sharpe ratios, of those that have one."""
    before = equity - daily
    if daily.shape[1] < FEWEST_VALUES or np.min(before) <= 0:
        return None
    returns = daily / before
    spread = returns.std(axis=1, ddof=1)
    ratios = returns.mean(axis=1)[spread > 0] / spread[spread > 0]
    return float(ratios.mean()) * yardstick.periods_per_year**0.5 if len(ratios) else None


def _curve(days: IntArray, equity: FloatArray) -> dict[str, list[Any]]:
    """Return mean, 5 % and 95 % of the draws' equity at the end of some days, for a picture."""
    kept = np.unique(np.linspace(0, len(days) - 1, min(len(days), _MOST_POINTS)).astype(int))
    low, high = np.percentile(equity[:, kept], [5, 95], axis=0)
    return {
        "day": [utc_text(int(day) * DAY_MS)[:10] for day in days[kept]],
        "mean": equity[:, kept].mean(axis=0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }
