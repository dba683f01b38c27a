"""Faults of the backtest: fills that nobody gets, and costs that nobody pays."""

from dataclasses import replace
from typing import Any

from ._plant import Fault, in_room
from ._specimen import Specimen

_KERNELS = "walkforge.execution._kernels"
_STOP, _TARGET = 1, 2


def _entry_at_decision(real: Any, tape: Any, decisions: Any, bracket: Any, **named: Any) -> Any:
    """Book the entry at the close at which it was decided."""
    fills, status = real(tape, decisions, bracket, **named)
    row = fills.entry_row - 1
    price = tape.close[row] + fills.side * named["slippage_price"]
    return replace(fills, entry_row=row, entry_price=price), status


def _stop_after_entry_bar(
    real: Any, open_: Any, high: Any, low: Any, close: Any, last: int, entry: int, *rest: Any
) -> Any:
    found = real.py_func(open_, high, low, close, last, entry, *rest)
    if found[0] != _STOP or found[1] != entry or entry == last:
        return found
    side, stop, target, max_hold, slippage = rest
    later = (side, stop, target, max_hold - 1, slippage)
    return real.py_func(open_, high, low, close, last, entry + 1, *later)


def _target_first(real: Any, open_: Any, high: Any, low: Any, *rest: Any) -> Any:
    kind, row, price, at_open = real.py_func(open_, high, low, *rest)
    side, target = rest[3], rest[5]
    best = high[row] if side > 0 else low[row]
    if kind == _STOP and not at_open and side * (best - target) >= 0:
        return _TARGET, row, target, False
    return kind, row, price, at_open


def _as_python(real: Any, *args: Any) -> Any:
    """Run the kernel around a replaced function as Python: what is compiled keeps its own."""
    return real.py_func(*args)


def _no_fees(real: Any, costs: Any, instrument: Any) -> Any:
    return real(costs, instrument).at_fee(0.0)


def _has_fees(specimen: Specimen) -> str | None:
    return "the study asks for no fee" if specimen.study.backtest.costs.fee_frac == 0 else None


def _leaving(name: str, says: str, faulty: Any) -> Fault:
    places = {f"{_KERNELS}._leave": faulty, f"{_KERNELS}.fill_decisions": _as_python}
    return in_room(name, says, "trade", places)


FILL_FAULTS: tuple[Fault, ...] = (
    in_room("entry_at_decision", "the backtest enters at the close at which it decides", "trade",
            {"walkforge.backtest._ledger.fill": _entry_at_decision}),
    _leaving("stop_after_entry_bar", "the stop is not checked on the entry bar",
             _stop_after_entry_bar),
    _leaving("target_first", "a bar that touches stop and target counts as the target",
             _target_first),
    in_room("no_fees", "fees are left out", "trade",
            {"walkforge.execution.Costs.of": _no_fees}, _has_fees),
)  # fmt: skip
