"""Bars and a table of intentions to trades, equity and the numbers of `backtest.json`.

    result = run(bars, intentions, BacktestSetup())

It knows no model: whoever has signals gets the same fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from walkforge.base import UsageError, utc_text
from walkforge.execution import DECISION_STATES
from walkforge.market import Bars, Funding, Instrument

from ._block import Yardstick, block_of
from ._book import Book
from ._equity import PORTFOLIO, equity_table, mark, pool
from ._funding_words import funding_as_dict, funding_notes
from ._intentions import check_intentions
from ._ledger import Ledger, Market, trades_table
from ._markets import make_markets, periods_per_year
from ._setup import BacktestSetup

_GIVEN = "The intentions were given in a table."


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest leaves: two tables and the plain data of `backtest.json`."""

    trades: pl.DataFrame
    """symbol, side, decided_at, entered_at, entry_price, left_at, exit_price, exit_kind, size,
    fee, funding, pnl, stop, target, held_bars, left_at_open; quote currency, times in ms UTC."""
    equity: pl.DataFrame
    """timestamp (opening time of the bar at whose close it holds), symbol or `portfolio`, equity,
    drawdown_frac, position, buy_and_hold; every bar of the window. See `thin_equity`."""
    summary: dict[str, Any]


def run(
    bars: Mapping[str, Bars],
    intentions: pl.DataFrame,
    setup: BacktestSetup | None = None,
    *,
    n_trials: int = 1,
    instruments: Mapping[str, Instrument] | None = None,
    funding: Mapping[str, Funding] | None = None,
    own_windows: bool = False,
    rule: str = _GIVEN,
    source: str = "intentions",
) -> BacktestResult:
    """Fill `intentions` on `bars` (by symbol) and measure what comes out.

    The window goes from the table's first row, sides of 0 included, to the bar in which the last
    one's position must have ended; bars before it only warm the ATR up. With `own_windows` every
    symbol has its own, for models that were tested at times of their own. `n_trials` is how many
    models and settings were tried before this one, for the deflated Sharpe ratio. `rule` says in
    a sentence how the intentions came about. Instruments are market's where not given. Where
    `funding` has a symbol's rates, its positions pay them, buy-and-hold and random ones too.
    Raises IntentionsError (naming `source`) or UsageError where these do not fit the bars.
    """
    setup = setup or BacktestSetup()
    if n_trials < 1:
        raise UsageError(f"n_trials is {n_trials}; this one is a trial too, so at least 1")
    checked = check_intentions(intentions, bars, source=source)
    markets = make_markets(
        checked,
        bars,
        bracket=setup.bracket,
        instruments=instruments or {},
        funding=funding or {},
        own_windows=own_windows,
    )
    yardstick = Yardstick(
        capital=setup.capital,
        periods_per_year=periods_per_year(markets),
        n_trials=n_trials,
        n_resamples=setup.n_resamples,
        seed=setup.seed,
    )
    book = Book(markets, setup, yardstick)
    ledgers, held = book.trade(), book.hold()
    pooled = block_of(ledgers, yardstick)
    summary = {
        "pooled": pooled,
        "by_symbol": _by_symbol(ledgers, yardstick),
        "buy_and_hold": {
            **block_of(held, yardstick),
            "by_symbol": _by_symbol(held, yardstick, intervals=False),
        },
        "random_entries": book.at_random(ledgers),
        "sizes": book.size_table(),
        "cost_stress": book.cost_stress(),
        "taker": book.at_taker_fee(),
        "last_days": book.last_days(),
        "rule": rule,
        "notes": _notes(ledgers, setup, pooled),
        "setup": _setup_as_dict(setup, markets, yardstick, checked),
    }
    return BacktestResult(trades_table(ledgers), _equity_of(ledgers, held, setup.capital), summary)


def _by_symbol(
    ledgers: list[Ledger], yardstick: Yardstick, *, intervals: bool = True
) -> dict[str, Any]:
    return {one.market.symbol: block_of([one], yardstick, intervals=intervals) for one in ledgers}


def _equity_of(ledgers: list[Ledger], held: list[Ledger], capital: float) -> pl.DataFrame:
    curves, held_curves = [mark(one) for one in ledgers], [mark(one) for one in held]
    symbols = [one.market.symbol for one in ledgers]
    rows = list(zip(symbols, curves, held_curves, strict=True))
    return equity_table([*rows, (PORTFOLIO, pool(curves), pool(held_curves))], capital)


def _notes(ledgers: list[Ledger], setup: BacktestSetup, pooled: dict[str, Any]) -> list[str]:
    """Return what a reader must know to read the numbers, one sentence each."""
    notes = funding_notes([one.market for one in ledgers])
    if pooled["max_drawdown_frac"] >= 1:
        notes.append(
            f"The capital of {setup.capital:g} was used up: fills go on as if it were not; take a "
            "smaller size."
        )
    for ledger in ledgers:
        states = dict(zip(DECISION_STATES, ledger.states.tolist(), strict=True))
        refused, instrument = states["below_minimum"], ledger.market.instrument
        if refused:
            notes.append(
                f"{instrument.symbol}: {refused} of {refused + states['entered']} orders were "
                f"refused: a size of {setup.size:g} ({setup.size_unit}) falls below the lot step "
                f"{instrument.lot_step:g} or the minimum notional {instrument.min_notional:g}; "
                "take a larger size."
            )
    return notes


def _setup_as_dict(
    setup: BacktestSetup, markets: list[Market], yardstick: Yardstick, checked: pl.DataFrame
) -> dict[str, Any]:
    ends = [market.tape.bars.closes_at[market.window.stop - 1] for market in markets]
    starts = [market.tape.bars.timestamp[market.window.start] for market in markets]
    return {
        **asdict(setup),
        "timeframe": ", ".join(sorted({one.tape.bars.timeframe for one in markets})),
        "from": utc_text(int(min(starts))),
        "to": utc_text(int(max(ends))),
        "returns_per_year": yardstick.periods_per_year,
        "n_trials": yardstick.n_trials,
        "n_rows": checked.height,
        "n_intentions": int((checked["side"] != 0).sum()),
        "instruments": {market.symbol: market.instrument.as_dict() for market in markets},
        "funding": funding_as_dict(markets),
    }
