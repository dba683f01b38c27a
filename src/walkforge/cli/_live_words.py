"""What later predictions say of a verdict, as a person reads it in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_MOST_ROWS = 12


def print_live(found: dict[str, Any]) -> None:
    """Print how much came, the columns that moved most, calibration and hits; the sentence last."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_came(found), soft_wrap=True)
    for one in found["expiry"]:
        if one["expires_at"] is not None:
            console.print(f"{one['bundle']} expires at {one['expires_at']}", soft_wrap=True)
    _print_columns(console, found)
    for one in found["calibration"]:
        _print_calibration(console, one)
    for one in found["hits"]:
        console.print(_hits(one), soft_wrap=True)
    colour = {True: "green", False: "red", None: "yellow"}[found["stands"]]
    console.print(f"[bold {colour}]{_plain(found['sentence'])}[/]", soft_wrap=True)


def _came(found: dict[str, Any]) -> str:
    earlier = found["n_before_the_tests_end"]
    left_out = f"; {earlier} of the time before the test's end left out" if earlier else ""
    if not found["n"]:
        return f"no predictions after the test{left_out}"
    return (
        f"{found['n']} predictions from {found['from']} to {found['to']}, "
        f"{found['n_known']} outcomes known{left_out}"
    )


def _print_columns(console: "Console", found: dict[str, Any]) -> None:
    """Print the classes, and of the inputs those that drifted or moved most."""
    from rich.table import Table

    inputs = [one for one in found["inputs"] if one["p_value"] is not None]
    classes = [one for one in found["classes"] if one["p_value"] is not None]
    shown = sorted(inputs, key=lambda one: (not one["drifted"], one["p_value"]))[:_MOST_ROWS]
    if not shown and not classes:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "series", "column"):
        table.add_column(name, overflow="fold")
    for name in ("PSI", "usual", "KS", "usual", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in [*classes, *shown]:
        table.add_row(*_cells(one))
    console.print(table)
    if len(inputs) > len(shown):
        quiet = len(inputs) - len(shown)
        n_drifted = sum(one["drifted"] for one in inputs)
        console.print(f"and {quiet} more inputs; {n_drifted} of {len(inputs)} drifted")


def _cells(one: dict[str, Any]) -> Sequence[str]:
    mark = "[red]drifted[/]" if one["drifted"] else "[green]stays[/]"
    return (
        mark,
        one["series"],
        one["name"],
        f"{one['psi']:.2f}",
        f"{one['psi_expected']:.2f}",
        f"{one['ks']:.2f}",
        f"{one['ks_expected']:.2f}",
        f"{one['p_holm']:.2g}",
    )


def _print_calibration(console: "Console", one: dict[str, Any]) -> None:
    told = [
        f"{name} {_state(one[name])}" for name in ("calibration", "test", "live") if name in one
    ]
    console.print(f"{one['bundle']}: {'; '.join(told)}", soft_wrap=True)


def _state(state: dict[str, Any]) -> str:
    if "ece" not in state:
        return "no rows"
    return (
        f"log loss {state['log_loss']['value']:.4f} (over what it claims "
        f"{state['excess_log_loss']['value']:+.4f}), calibration error "
        f"{100 * state['ece']['value']:.1f} points"
    )


def _hits(one: dict[str, Any]) -> str:
    if one["p_value"] is None:
        return f"{one['bundle']}: {one['reason']}"
    return (
        f"{one['bundle']}: {100 * one['hit_rate']:.1f} % of {one['n']} decisions without overlap "
        f"hit, {100 * one['claimed']:.1f} % were said ({100 * one['margin']:.1f} too many in the "
        f"test already); most evidence against it {one['e_value_most']:.3g} to 1"
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
