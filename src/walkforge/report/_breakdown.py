"""The same scores symbol by symbol, fold by fold and seed by seed."""

from __future__ import annotations

from typing import Any

from ._blocks import Section, absent, join, prose, sources, table
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._scores import SCORES, measure_cell, rows_of, strongest_baseline
from ._symbol_tests import symbol_tests
from ._words import NOTHING, decimals, exact, is_number, number, spoken

_SHOWN = tuple(
    score for score in SCORES if score.key in ("log_loss", "balanced_accuracy", "mcc", "ece")
)


def symbols(run: Run) -> Section:
    """Return one row per symbol: its scores, what trading it made, and its tests."""
    traded = entries(run.backtest, "by_symbol")
    grid = _breakdown(run, "by_symbol", "Symbol", traded)
    if grid is None:
        return Section("symbols", "Symbols", absent("No scores by symbol in this run."))
    words = (
        "Good is a table whose rows resemble each other: an edge that one symbol carries alone is "
        "more likely that symbol's history than a rule."
    )
    return Section("symbols", "Symbols", join(prose(words), grid, symbol_tests(run)))


def stability(run: Run) -> Section:
    """Return the scores by fold and by seed."""
    by_fold = _breakdown(run, "by_fold", "Fold")
    by_seed = _breakdown(run, "by_seed", "Seed")
    if by_fold is None and by_seed is None:
        return Section("stability", "Stability", absent("No scores by fold in this run."))
    words = (
        "Good is a score that holds from fold to fold, which are different times, and from seed "
        "to seed, which are different dice."
    )
    return Section("stability", "Stability", join(prose(words), by_fold, by_seed))


def _breakdown(run: Run, way: str, head: str, traded: dict[str, Any] | None = None) -> Html | None:
    """Return a row of scores for each symbol, fold or seed, with what each earned if `traded`."""
    blocks = entries(run.metrics, "model", way)
    if not blocks and not traded:
        return None
    rival = strongest_baseline(run)
    saved = entries(run.metrics, "improvement", rival, "log_loss", way)
    heads: list[Child] = [head, *(score.name for score in _SHOWN)]
    heads += [["Log loss saved", tag("small", f"against {spoken(rival)}")]] if saved else []
    heads += ["Rows", *(("Trades", "Profit after fees") if traded else ())]
    rows: list[list[Child]] = [
        [
            name,
            *(measure_cell(at(blocks, name, score.key)) for score in _SHOWN),
            *([measure_cell(at(saved, name), signed=True)] if saved else []),
            number(rows_of(blocks.get(name))),
            *(_trading_cells(traded.get(name)) if traded else []),
        ]
        for name in dict.fromkeys([*blocks, *(traded or {})])
    ]
    return table(
        label=f"Scores of every {head.lower()}",
        head=heads,
        rows=rows,
        origin=sources(
            {
                "metrics.json": [
                    f"model.{way}",
                    *([f"improvement.{rival}.log_loss.{way}"] if saved else []),
                ]
            }
            | ({"backtest.json": [way]} if traded else {})
        ),
    )


def _trading_cells(block: Any) -> list[Child]:
    pnl = at(block, "pnl")
    return [
        number(at(block, "n_trades")),
        exact(pnl, decimals(pnl, 2, signed=True)) if is_number(pnl) else NOTHING,
    ]
