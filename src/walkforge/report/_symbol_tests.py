"""Which symbols are better than nothing, once all that were looked at are counted."""

from __future__ import annotations

from typing import Any

from ._blocks import join, prose, source, table
from ._html import Child, Html, tag
from ._run import Run, at, entries
from ._words import NOTHING, count, decimals, exact, is_number, listed, percent, spoken

_MEASURES = ("direction_auc", "log_loss")
_NAMED = 12


def symbol_tests(run: Run) -> Html | None:
    """Return what the tests of every symbol found, the surest first; None for fewer than two."""
    found = entries(run.metrics, "by_symbol_tests")
    tests = {name: found[name] for name in _MEASURES if entries(found, name, "by_symbol")}
    names = {name for test in tests.values() for name in test["by_symbol"]}
    if len(names) < 2:
        return None
    columns: list[list[Child]] = [
        [_title(name, test), tag("small", "p"), tag("small", "p, all counted")]
        for name, test in tests.items()
    ]
    grid = table(
        label="Tests of every symbol, the surest first",
        head=["Symbol", *(head for column in columns for head in column), "Blocks"],
        rows=[
            [name, *(cell for test in tests.values() for cell in _cells(test, name)),
             _blocks(tests, name)]
            for name in sorted(names, key=lambda name: _order(tests, name))
        ],
        origin=source("metrics.json", *(f"by_symbol_tests.{name}" for name in tests)),
    )  # fmt: skip
    return join(_told(tests, names, at(found, "false_discovery_rate")), grid)


def _told(tests: dict[str, Any], names: set[str], rate: Any) -> Html:
    few = sum(
        not any(is_number(_entry(test, name, "p_value")) for test in tests.values())
        for name in names
    )
    return prose(
        f"Of {count(len(names), 'symbol')} some look good by luck. So each is tested against luck "
        "by itself, and its p-value adjusted for how many there are: of those named here at most "
        f"about {percent(rate, 0)} have nothing but luck. ",
        [
            [f"{_title(measure, test)}: ", tag("b", _found_of(test)), ". "]
            for measure, test in tests.items()
        ],
        f"{count(few, 'symbol')} could not be tested. " if few else None,
        "No gate asks for this.",
    )


def _found_of(test: Any) -> str:
    if not at(test, "n_tested"):
        return "not tested"
    return listed(_found(test), _NAMED) or "none"


def _title(measure: str, test: Any) -> str:
    if measure == "direction_auc":
        return "Direction AUC"
    return f"Log loss saved on {spoken(at(test, 'against'))}"


def _cells(test: Any, name: str) -> list[Child]:
    """Return the value, bold if it counts as found, its p-value and the adjusted one."""
    value, p, adjusted = (_entry(test, name, key) for key in ("value", "p_value", "p_adjusted"))
    if not is_number(value):
        return [NOTHING, NOTHING, NOTHING]
    shown = exact(value, decimals(value, 4, signed=at(test, "limit") == 0))
    if not is_number(p):
        return [shown, tag("span", NOTHING, title=str(_entry(test, name, "reason"))), NOTHING]
    found = name in _found(test)
    return [tag("b", cell) if found else cell for cell in (shown, _chance(p), _chance(adjusted))]


def _blocks(tests: dict[str, Any], name: str) -> Child:
    known = [_entry(test, name, "n_blocks") for test in tests.values()]
    return decimals(max((n for n in known if is_number(n)), default=None), 0)


def _chance(p: Any) -> Html:
    return exact(p, "< 0.0001" if is_number(p) and p < 0.0001 else decimals(p, 4))


def _order(tests: dict[str, Any], name: str) -> tuple[float, float, str]:
    """Return the smaller of both adjusted p-values, the smaller plain one, and the name."""
    p, adjusted = (
        min((found for test in tests.values() if is_number(found := _entry(test, name, key))),
            default=2.0)
        for key in ("p_value", "p_adjusted")
    )  # fmt: skip
    return adjusted, p, name


def _entry(test: Any, name: str, key: str) -> Any:
    return at(test, "by_symbol", name, key)


def _found(test: Any) -> list[str]:
    found = at(test, "discoveries")
    return [str(name) for name in found] if isinstance(found, list) else []
