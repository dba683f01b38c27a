"""Files of bars for the tests of the market room."""

from collections.abc import Callable
from pathlib import Path

import pytest

from walkforge.market import BarStore

HEADER = "timestamp,open,high,low,close,volume"


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a CSV of the lines given, under a header unless told."""

    def write(*lines: str, name: str = "BTCUSDT-1m.csv", header: str | None = HEADER) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*([header] if header else []), *lines, ""]))
        return path

    return write


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "store")
