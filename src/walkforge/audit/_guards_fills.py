"""The guard of the backtest: every trade once more, from the bars alone."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np
import polars as pl

from walkforge import backtest
from walkforge.backtest import BacktestSetup
from walkforge.base import derive_seed, utc_text
from walkforge.execution import Bracket
from walkforge.market import Bars, Instrument

from ._slow_fills import SlowRules, SlowTrade, replay
from ._specimen import Specimen

_BARS = 2_000
# So near to the fill that many bars touch both levels, and many of them the entry bar.
_TIGHT_ATR = 0.4
_TIMES = ("entered_at", "left_at")
# The room's numbers are sums in another order, and its ATR another library's.
_SAME = 1e-9


def other_fills(specimen: Specimen) -> Iterator[str]:
    """Yield what a slow replay of the same decisions does otherwise.

    The specimen's own trades, and decisions by a coin at every bar, with the study's bracket and
    with a tight one.
    """
    setup = specimen.study.backtest
    tight = replace(setup.bracket, stop_atr=_TIGHT_ATR, target_atr=_TIGHT_ATR)
    for name, one in specimen.prepared.series.items():
        yield from _own_trades(specimen, name, SlowRules(one.bars, one.instrument, setup))
        bars = one.bars.take(slice(-_BARS, None))
        sides = np.random.default_rng(derive_seed(specimen.seed, "coin")).choice([-1, 1], len(bars))
        for bracket in (setup.bracket, tight):
            yield from _coin_trades(name, bars, one.instrument, sides, setup, bracket)


def _own_trades(specimen: Specimen, name: str, rules: SlowRules) -> Iterator[str]:
    trades = specimen.traded.trades.filter(pl.col("symbol") == name)
    sides = np.zeros(len(rules.bars), dtype=np.int64)
    decided = trades["decided_at"].dt.epoch("ms").to_numpy()
    sides[np.searchsorted(rules.bars.closes_at, decided)] = trades["side"].to_numpy()
    yield from _differences(f"{name}, the model's trades", trades, replay(rules, sides.tolist()))


def _coin_trades(
    name: str,
    bars: Bars,
    instrument: Instrument,
    sides: np.ndarray,
    setup: BacktestSetup,
    bracket: Bracket,
) -> Iterator[str]:
    plain = replace(setup, bracket=bracket, sizes=(), cost_stress=(), n_random=0, n_resamples=0)
    intentions = pl.DataFrame(
        {"timestamp": bars.timestamp, "symbol": [name] * len(bars), "side": sides}
    )
    found = backtest.run({name: bars}, intentions, plain, instruments={name: instrument})
    where = f"{name}, a coin's trades with stop {bracket.stop_atr:g} and target "
    where += f"{bracket.target_atr:g} ATR"
    expected = replay(SlowRules(bars, instrument, plain), sides.tolist())
    yield from _differences(where, found.trades, expected)


def _differences(where: str, found: pl.DataFrame, expected: Sequence[SlowTrade]) -> Iterator[str]:
    """Yield the first trade that differs, and in what."""
    if found.height != len(expected):
        yield f"{where}: {found.height} trades, expected {len(expected)}"
    for number, (one, other) in enumerate(zip(found.iter_rows(named=True), expected, strict=False)):
        for field, wanted in asdict(other).items():
            value = one[field]
            if field in _TIMES:
                value = round(value.timestamp() * 1000)
            if not _is_same(value, wanted):
                yield (
                    f"{where}: trade {number + 1}, entered at {one['entered_at']:%Y-%m-%d %H:%M}, "
                    f"has {field} {_say(field, value)}, expected {_say(field, wanted)}"
                )
                return


def _is_same(value: object, wanted: object) -> bool:
    if isinstance(value, float) and isinstance(wanted, float):
        return abs(value - wanted) <= _SAME * max(1.0, abs(wanted))
    return value == wanted


def _say(field: str, value: object) -> str:
    if field in _TIMES and isinstance(value, int):
        return utc_text(value)
    return f"{value:.8g}" if isinstance(value, float) else str(value)
