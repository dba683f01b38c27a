"""`doctor`."""

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import JsonOption

if TYPE_CHECKING:
    from rich.console import Console

_GIB = 2**30


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog="Example: walkforge doctor --no-speed")(doctor)


def doctor(
    speed: Annotated[
        bool, typer.Option("--speed/--no-speed", help="Measure for about ten seconds, or not.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has, which path training takes and why, and what looks wrong.

    Exits 1 when training cannot run here.
    """
    from walkforge.base import json_text

    from ._console import make_watcher

    try:
        from walkforge import study
    except (ImportError, OSError) as error:  # OSError: a C library that a package needs
        _print_broken(error)
        raise typer.Exit(1) from None
    with make_watcher() as watcher:
        facts = study.doctor(speed=speed, watcher=watcher)
    print(json_text(facts, indent=2)) if as_json else _print(facts)
    if not facts["can_train"]:
        raise typer.Exit(1)


def _print_broken(error: Exception) -> None:
    print(f"broken   Walkforge cannot be loaded: {error}")
    print("         install it again: pip install -e . -c constraints/pyXYZ.txt")


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    _print_group(console, "machine", _machine(facts))
    _print_group(console, "software", _software(facts))
    _print_group(console, "training takes", _path(facts["path"]))
    if facts["speed"] is not None:
        _print_group(console, "speed", _speed(facts["speed"]))
    _print_findings(console, facts)


def _print_group(console: "Console", title: str, rows: list[tuple[str, str]]) -> None:
    console.print(f"[bold]{title}[/]")
    for name, words in rows:
        _print_wrapped(console, f"  {name:<12}  ", words)


def _print_wrapped(console: "Console", start: str, words: str, style: str = "") -> None:
    """Print words behind `start`, and further lines below themselves; paths stay whole."""
    from rich.text import Text

    width = max(console.width - len(start), 20)
    lines = textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        before = start if number == 0 else " " * len(start)
        console.print(Text.assemble((before, style), line), soft_wrap=True)


def _print_findings(console: "Console", facts: dict[str, Any]) -> None:
    words = {"error": ("broken", "bold red"), "warning": ("look at", "yellow")}
    for finding in facts["findings"]:
        word, style = words[finding["severity"]]
        _print_wrapped(console, f"{word:<8} ", finding["what"], style)
        _print_wrapped(console, " " * 9, finding["hint"])
    if facts["can_train"]:
        rest = "" if facts["findings"] else "; nothing looks wrong"
        console.print(f"[green]training can run here[/]{rest}")
    else:
        console.print("[bold red]training cannot run here[/]")


def _machine(facts: dict[str, Any]) -> list[tuple[str, str]]:
    system, free = facts["system"], facts["system"]["available_bytes"]
    cores = f"{system['usable_cores']} of {system['cores']} cores usable"
    rows = [
        ("system", system["os"]),
        ("processor", f"{system['processor']}, {cores}, torch uses {facts['torch']['threads']}"),
        (
            "memory",
            _size(system["memory_bytes"]) + ("" if free is None else f", {_size(free)} free"),
        ),
    ]
    for disk in facts["disks"]:
        rows.append((f"{disk['what']} disk", f"{_size(disk['free_bytes'])} free, {disk['folder']}"))
    for number, gpu in enumerate(facts["gpus"]):
        memory = f"{_size(gpu['memory_bytes'])}, {_size(gpu['free_bytes'])} free"
        driver = f"driver {facts['nvidia']['driver'] or 'unknown'}"
        words = f"{gpu['name']}, {memory}, compute capability {gpu['capability']}, {driver}"
        rows.append((f"cuda:{number}", words))
    return rows if facts["gpus"] else [*rows, ("GPU", "none that torch can use")]


def _software(facts: dict[str, Any]) -> list[tuple[str, str]]:
    torch, caches = facts["torch"], facts["caches"]
    build = "CPU build" if torch["cuda_build"] is None else f"built for CUDA {torch['cuda_build']}"
    triton = "triton is there" if torch["triton"] else "no triton"
    others = [
        f"{name} {one['version'] or 'missing'}"
        for name, one in facts["libraries"].items()
        if name != "torch"
    ]
    cache, kernels = caches["features"], caches["numba"]
    limit = f"{_size(cache['bytes'])} of at most {_size(cache['limit_bytes'])}"
    return [
        ("walkforge", f"{facts['system']['walkforge']} on Python {facts['system']['python']}"),
        ("torch", f"{torch['version']}, {build}, {triton}"),
        ("C++ compiler", torch["compiler"] or "none"),
        ("libraries", ", ".join(others) or "not known: Walkforge is not installed as a package"),
        ("features", f"cache in {cache['folder']}, {limit}" if cache["folder"] else "no cache"),
        ("kernels", f"cache in {kernels['folder']}, {_size(kernels['bytes'])}"),
    ]


def _path(path: dict[str, Any]) -> list[tuple[str, str]]:
    compiled = "can be used" if path["compile"] else "cannot be used"
    return [
        ("device", f"{path['device']}: {path['device_reason']}"),
        ("precision", f"{path['precision']}: {path['precision_reason']}"),
        ("step", f"{path['step']}: {path['step_reason']}"),
        ("compile", f"{compiled}: {path['compile_reason']}"),
    ]


def _speed(speed: dict[str, Any]) -> list[tuple[str, str]]:
    packed, plain = speed["packed_rows_per_s"], speed["plain_rows_per_s"]
    return [
        ("arithmetic", f"{speed['matmul_gflop_per_s']:,.0f} GFLOP/s, a large matrix product"),
        ("memory", f"{speed['memory_gb_per_s']:,.1f} GB/s, a copy"),
        ("training", f"{packed:,.0f} rows/s, {speed['n_members']} small models as one pack"),
        ("", f"{plain:,.0f} rows/s, one after the other with a DataLoader"),
        ("", f"ratio {speed['packed_ratio']:.1f}"),
        ("features", f"{speed['feature_rows_per_s']:,.0f} rows/s, the set v8 on one core"),
        ("backtest", f"{speed['backtest_bars_per_s']:,.0f} bars/s, filled on one core"),
    ]


def _size(n_bytes: float) -> str:
    if n_bytes < _GIB:
        return f"{n_bytes / _GIB * 1024:,.0f} MiB"
    return f"{n_bytes / _GIB:,.1f} GiB"
