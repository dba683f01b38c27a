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
    direction, log_loss = tests["direction_auc"], tests.get("log_loss")
    names = list(direction["by_symbol"])
    # A symbol in two timeframes is two series.
    of_them = f"{len(names)} {'series' if any('/' in name for name in names) else 'symbols'}"
    if not direction["n_tested"]:
        told = f"Whether any of {of_them} knows the direction could not be tested"
        return [f"{told}{_by_log_loss(log_loss)}; by_symbol_tests in metrics.json has the reasons."]
    rate = f"{100 * tests['false_discovery_rate']:g} %"
    found = direction["discoveries"]
    who = str(len(found)) if found else "None"
    know = f"{who} of {of_them} surely {'knows' if len(found) < 2 else 'know'} the direction"
    counted = _counted(direction["n_tested"], len(names))
    told = f"{know} after counting {counted} (false discovery rate {rate}){_names(found)}"
    return [f"{told}{_by_log_loss(log_loss)}."]


def _counted(n_tested: int, n: int) -> str:
    return f"all {n}" if n_tested == n else f"the {n_tested} that could be tested"


def _by_log_loss(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return ""
    if not test["n_tested"]:
        return "; log loss could not be tested"
    found = test["discoveries"]
    save = f"{len(found) or 'none'} surely {'saves' if len(found) < 2 else 'save'}"
    return f"; {save} log loss on {test['against']}{_names(found)}"


def _names(found: list[str]) -> str:
    return f": {listed(found, _NAMED)}" if found else ""
