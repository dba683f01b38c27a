"""The sentence that says which symbols are better than nothing, their number counted."""

from collections.abc import Mapping
from typing import Any

from walkforge.base import listed

_NAMED = 8


def symbols_told(metrics: Mapping[str, Any]) -> list[str]:
    """Return one sentence on `by_symbol_tests` of `metrics.json`.

    Nothing where there are fewer than two symbols, or no such tests, as in older folders.
    """
    tests = metrics.get("by_symbol_tests")
    if not tests or len(tests["direction_auc"]["by_symbol"]) < 2:
        return []
    direction = tests["direction_auc"]
    n, n_tested = len(direction["by_symbol"]), direction["n_tested"]
    if not n_tested:
        return [
            f"None of {n} symbols could be tested by itself; by_symbol_tests in metrics.json has "
            "the reasons."
        ]
    counted = f"all {n}" if n_tested == n else f"the {n_tested} that could be tested"
    rate = f"{100 * tests['false_discovery_rate']:g} %"
    found = direction["discoveries"]
    who = str(len(found)) if found else "none"
    know = f"{who} of {n} symbols surely {'knows' if len(found) < 2 else 'know'} the direction"
    told = f"{know} after counting {counted} (false discovery rate {rate}){_names(found)}"
    return [f"{told[0].upper()}{told[1:]}{_by_log_loss(tests.get('log_loss'))}."]


def _by_log_loss(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return ""
    found = test["discoveries"]
    return f"; {len(found) or 'none'} by log loss against {test['against']}{_names(found)}"


def _names(found: list[str]) -> str:
    return f": {listed(found, _NAMED)}" if found else ""
