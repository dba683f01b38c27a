"""The house stands as planned: rooms import what they may, and every room has one door."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "walkforge"
SRC = Path(__file__).resolve().parents[1] / "src" / PACKAGE

_UP_TO_STUDY = {
    "base", "market", "features", "execution", "labels", "folds", "models", "training",
    "calibration", "evaluation", "gates", "backtest", "registry", "report", "statistics",
}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "statistics": {"base"},
    "market": {"base"},
    "sources": {"base", "market"},
    "features": {"base", "market"},
    "execution": {"base", "market"},
    "labels": {"base", "market", "execution"},
    "folds": {"base"},
    "models": {"base"},
    "training": {"base", "features", "labels", "folds", "models"},
    "calibration": {"base"},
    "evaluation": {"base", "statistics"},
    "gates": {"base"},
    "backtest": {"base", "market", "execution", "statistics"},
    "registry": {"base", "gates"},
    "report": {"base", "gates"},
    "study": _UP_TO_STUDY,
    "audit": _UP_TO_STUDY | {"study"},
    "runtime": {"base", "market", "features", "models", "calibration", "execution", "registry"},
    "cli": {"base", "market", "sources", "study", "audit", "registry", "runtime", "report"},
}
ROOMS = sorted(path.name for path in SRC.iterdir() if (path / "__init__.py").exists())


def _imports(path: Path) -> set[str]:
    """Return `walkforge.x...` names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module or ""}
            if node.module == PACKAGE:
                found |= {f"{PACKAGE}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith(f"{PACKAGE}.")}


def test_every_room_stands_in_the_plan():
    assert set(ROOMS) == set(ALLOWED)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_plan_allows(room):
    names = set().union(*(_imports(path) for path in (SRC / room).rglob("*.py")))
    rooms = {name.split(".")[1] for name in names} - {"__version__"}
    strangers = rooms - ALLOWED[room] - {room}
    assert not strangers, f"{room} may not import {sorted(strangers)}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_entered_by_their_door(room):
    for path in (SRC / room).rglob("*.py"):
        deep = {name for name in _imports(path) if len(name.split(".")) > 2}
        assert not deep, f"{path.name} reaches into {sorted(deep)}"
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level > 1), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_lists_what_it_shows(room):
    door = importlib.import_module(f"{PACKAGE}.{room}")
    assert door.__doc__
    assert list(door.__all__) == sorted(
        door.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n)
    )
    for name in door.__all__:
        assert hasattr(door, name), f"{room} lists {name}, which is not there"
    tree = ast.parse((SRC / room / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(door.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_says_what_it_is(room):
    door = importlib.import_module(f"{PACKAGE}.{room}")
    for name in door.__all__:
        thing = getattr(door, name)
        if callable(thing) and getattr(thing, "__module__", "").startswith(PACKAGE):
            assert thing.__doc__, f"{room}.{name} has no docstring"


def test_the_packed_trainer_needs_torch_and_numpy_alone():
    """Its benchmarks run on any machine with a GPU, where nothing else may be installed."""
    lines = [
        "import sys",
        "import walkforge.models, walkforge.training",
        "heavy = {'polars', 'pyarrow', 'talib', 'numba', 'sklearn', 'lightgbm', 'pydantic',"
        " 'scipy', 'safetensors', 'jaxtyping', 'pandas', 'lightning_fabric'}",
        "print(','.join(sorted(heavy & set(sys.modules))))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_command_line_loads_nothing_heavy_before_it_is_needed():
    lines = [
        "import sys, walkforge.cli",
        "heavy = {'polars', 'torch', 'talib', 'numba', 'sklearn', 'lightgbm', 'pydantic'}",
        "print(','.join(sorted(heavy & set(sys.modules))))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
