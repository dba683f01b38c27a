"""What `backtest.json` says about funding: where rates were, and where none are paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from walkforge.base import listed, utc_text
from walkforge.market import is_perpetual_venue

from ._ledger import Market
from ._statistics import DAY_MS

# Funding moments lie at most 8 hours apart, at few venues a day.
_LONGEST_APART_MS = DAY_MS


def funding_as_dict(markets: Sequence[Market]) -> dict[str, Any]:
    """Return for each symbol with funding its moments in the window: how many, first and last."""
    moments = {one.symbol: _moments(one) for one in markets if len(one.settlements)}
    return {
        symbol: {
            "moments": len(at_ms),
            "first": utc_text(int(at_ms[0])) if len(at_ms) else None,
            "last": utc_text(int(at_ms[-1])) if len(at_ms) else None,
        }
        for symbol, at_ms in moments.items()
    }


def funding_notes(markets: Sequence[Market]) -> list[str]:
    """Return a sentence on the perpetuals without rates, and one on each with too few of them."""
    perpetual = [one for one in markets if is_perpetual_venue(one.tape.bars.venue)]
    without = [one.symbol for one in perpetual if not len(one.settlements)]
    notes = []
    if without:
        notes.append(
            f"{listed(without)}: perpetuals without funding rates beside their bars; nothing is "
            "paid or earned for funding."
        )
    for market in perpetual:
        missing_ms, whole_ms = _without_rates_ms(market)
        if len(market.settlements) and missing_ms:
            notes.append(
                f"{market.symbol}: no funding rates for {missing_ms / DAY_MS:.3g} of "
                f"{whole_ms / DAY_MS:.3g} days; nothing is paid or earned there."
            )
    return notes


def _moments(market: Market) -> np.ndarray:
    start_ms, end_ms = _window_ms(market)
    at_ms = market.settlements.at_ms
    return at_ms[(at_ms >= start_ms) & (at_ms < end_ms)]


def _without_rates_ms(market: Market) -> tuple[int, int]:
    """Return how much of the window has no funding moment for a day or longer, and its length."""
    start_ms, end_ms = _window_ms(market)
    apart = np.diff(np.concatenate([[start_ms], _moments(market), [end_ms]]))
    return int(apart[apart > _LONGEST_APART_MS].sum()), end_ms - start_ms


def _window_ms(market: Market) -> tuple[int, int]:
    bars, window = market.tape.bars, market.window
    return int(bars.timestamp[window.start]), int(bars.closes_at[window.stop - 1])
