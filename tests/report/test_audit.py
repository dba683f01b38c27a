"""The page of an audit: the rate first, then p-values or power, then the gates."""

import json
from pathlib import Path
from typing import Any

import pytest

from report.page_tree import Node, read_page
from walkforge.report import write_audit, write_limits

_EVIL = "<img src=x onerror=alert(1)>"


def _rate(hits: int, n: int) -> dict[str, Any]:
    value = hits / n
    return {"value": value, "low": max(0.0, value - 0.02), "high": min(1.0, value + 0.02), "n": n,
            "unit": "fraction"}  # fmt: skip


def _result(hits: int, n: int = 200) -> dict[str, Any]:
    test = {
        "exact": True,
        "uniformity": {"statistic": 0.03, "p_value": 0.85, "n": n},
        "below_5_percent": _rate(10, n),
        "values": [(k + 0.5) / n for k in range(n)],
    }
    return {
        "n_markets": n,
        "n_fit": hits,
        "rate": _rate(hits, n),
        "sharpe_annual_mean": 4.2,
        "n_trades_mean": 900.0,
        "gates": {
            "knows_direction": {"passed": _rate(190, n), "alone": 3},
            "beats_lightgbm": {"passed": _rate(150, n), "alone": 41},
            "enough_trades": {"passed": _rate(n - 30, n), "alone": 0},
        },
        "p_values": {"knows_direction": test, "beats_lightgbm": test | {"exact": False}},
        "limits": {
            "knows_direction": {
                "by": "p_value",
                "limit": 0.025,
                "less_passes": True,
                "values": [0.001 * k for k in range(n)],
            },
            "enough_trades": {
                "by": "value",
                "limit": 30.0,
                "less_passes": False,
                "values": [float(k) for k in range(n)],
            },
        },
        "alarms": {},
        "seconds": 400.0,
    }


def _data(about: str, results: list[dict[str, Any]], name: str = "honesty") -> dict[str, Any]:
    return {
        "walkforge": "0.1.0",
        "about": about,
        "markets": {"kind": "garch", "seed": 1, "n_bars": 17520, "timeframe": "1h", "real": {}},
        "study": {
            "name": name,
            "seeds": [0],
            "model": {"name": "gru"},
            "folds": {"count": 6},
            "judge": {"profile": "default"},
            "backtest": {"costs": {"fee_frac": 0.0005, "slippage_ticks": 1}},
        },
        "machine": {"processor": "a processor", "cores": 2},
        "results": results,
    }


def _planted() -> dict[str, Any]:
    oracles = [(2.5, 30), (5.02, 196)]
    results = [
        {"asked": sharpe, "oracle": {"edge": sharpe / 15, "sharpe": sharpe,
         "standard_error": 0.1, "calibre": 1.5}, **_result(hits)}
        for sharpe, hits in oracles
    ]  # fmt: skip
    return _data("planted", results) | {"reached": {"rate": 5.02, "surely": None}}


def _page(tmp_path: Path, data: dict[str, Any]) -> Node:
    return read_page(write_audit(data, tmp_path / "audit.html"))


@pytest.fixture
def null(tmp_path: Path) -> Node:
    return _page(tmp_path, _data("null", [_result(1)]))


@pytest.fixture
def planted(tmp_path: Path) -> Node:
    return _page(tmp_path, _planted())


def test_the_rate_of_null_markets_stands_before_everything_else(null: Node) -> None:
    assert next(null.by_id("verdict").all("h1")).text == "0.5 % of null markets let out"
    rates = next(null.by_id("verdict").all("table")).text
    assert "0.0 % … 2.5 %" in rates
    assert "1 of 200" in rates


def test_p_values_of_null_markets_are_drawn_and_told(null: Node) -> None:
    rows = [row.text for row in next(null.by_id("p-values").all("table")).all("tr")]
    assert "0.850" in rows[1]
    assert "yes" in rows[1]
    assert "need not be" in rows[2]
    assert "0.850" not in rows[2]
    label = null.by_id("plot-p-values").attributes["aria-label"]
    assert "outside are: none" in str(label)


def test_power_is_told_over_the_oracles_sharpe_ratio(planted: Node) -> None:
    lead = next(planted.by_id("verdict").all("p", "lead")).text
    assert "an oracle a net Sharpe ratio of 5.02 a year" in lead
    label = str(planted.by_id("plot-power").attributes["aria-label"])
    assert "2.50: 15.0" in label
    assert "5.02: 98.0" in label


def test_every_gate_shows_what_it_alone_held_back(planted: Node) -> None:
    table = next(planted.by_id("gates").all("table"))
    row = next(row for row in table.all("tr") if "LightGBM" in row.text)
    assert [cell.text.strip() for cell in row.all("td")] == [
        "75.0 %", "75.0 %", "41", "41",
    ]  # fmt: skip


def test_no_power_is_said_where_there_is_none(tmp_path: Path) -> None:
    page = _page(tmp_path, _planted() | {"reached": {"rate": None, "surely": None}})
    assert "No measured edge is let out" in next(page.by_id("verdict").all("p", "lead")).text


def test_a_hostile_name_stays_text(tmp_path: Path) -> None:
    page = _page(tmp_path, _data("null", [_result(0)], name=_EVIL))
    assert not list(page.all("img"))
    assert _EVIL in page.by_id("settings").text


def test_every_limit_has_a_picture_of_all_measurements(tmp_path: Path) -> None:
    page = read_page(write_limits([_planted(), _data("null", [_result(1)])], tmp_path / "x.html"))
    rows = [row.text for row in next(page.by_id("verdict").all("table")).all("tr")][1:]
    assert [text.split("0.5 %")[0] for text in rows[:1]] == ["null: garch"]
    assert ["planted, 2.5" in rows[1], "planted, 5.0" in rows[2]] == [True, True]
    drawn = ["amber, solid", "blue, solid", "blue, dashed"]
    assert [row.endswith(how) for row, how in zip(rows, drawn, strict=True)] == [True] * 3
    label = str(page.by_id("plot-limit-knows_direction").attributes["aria-label"])
    assert "null: garch: 95.0\u202f%, planted, 2.5: 95.0\u202f%" in label
    drawn = json.loads(page.by_id("figure-limit-knows_direction").text)
    assert len(drawn["data"]) == 3
    assert drawn["layout"]["shapes"][0]["x0"] == 0.025


def test_a_line_tells_the_share_that_passes_at_every_limit(tmp_path: Path) -> None:
    page = read_page(write_limits([_data("null", [_result(1)])], tmp_path / "x.html"))
    below = json.loads(page.by_id("figure-limit-knows_direction").text)["data"][0]
    passed = dict(zip(below["x"], below["y"], strict=True))
    assert passed[0.05] == pytest.approx(51 / 200)  # 0.000 to 0.050
    assert below["y"] == sorted(below["y"])
    above = json.loads(page.by_id("figure-limit-enough_trades").text)["data"][0]
    passed = dict(zip(above["x"], above["y"], strict=True))
    assert passed[30.0] == pytest.approx(170 / 200)  # 30 to 199
    assert above["y"] == sorted(above["y"], reverse=True)
