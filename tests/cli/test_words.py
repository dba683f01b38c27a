"""The verdict in a terminal."""

import pytest

from walkforge.cli._words import print_verdict

GATE = {"name": "forecast_beats_historical_volatility", "passed": False, "reason": "word " * 20}


@pytest.mark.parametrize(("columns", "lines"), [("80", 3), ("200", 1)])
def test_a_long_name_leaves_room_for_its_reason(columns, lines, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    print_verdict({"fit": False, "promotable": False, "alarms": [], "gates": [GATE]})
    told = capsys.readouterr().out
    assert told.count("word") == 20
    shown = [line for line in told.splitlines() if "word" in line or "volatility" in line]
    assert len(shown) == lines
    assert all(len(line) <= int(columns) for line in shown)
