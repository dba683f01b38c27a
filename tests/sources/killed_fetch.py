"""A fetch in a process of its own, to be killed at any moment."""

from pathlib import Path

from drawn import random_bars
from served import Quiet, ServedBars
from walkforge.market import BarStore, Span
from walkforge.sources import _fetch, fetch, make_plan

SYMBOLS = ("AAAUSDT", "BBBUSDT")


def served() -> ServedBars:
    bars = (random_bars(1500, seed=n, symbol=s) for n, s in enumerate(SYMBOLS))
    return ServedBars(*bars, piece_bars=50, pause_s=0.001)


def run(root: Path) -> None:
    _fetch._STORE_EVERY_S = 0.01  # a commit every few pieces, for a kill to meet
    source, store = served(), BarStore(root)
    everything = Span(0, 2_000_000_000_000)
    plans = make_plan(source, store, [(s, "1m") for s in SYMBOLS], lambda *_: everything)
    fetch(source, store, plans, watcher=Quiet())
