"""How the page shows funding, fees of instruments' own, and what a backtest has to say."""

from pathlib import Path
from typing import Any

from report.made_run import make_run
from report.page_tree import Node, read_page
from walkforge.base import read_json, write_json
from walkforge.report import write_report

NOTE = "BTCUSDT: no funding rates for 4 of 10 days; nothing is paid or earned there."


def _backtest(folder: Path, change: Any) -> Node:
    """Return the page's backtest after a change of `backtest.json`."""
    make_run(folder)
    value = read_json(folder / "backtest.json")
    change(value)
    write_json(folder / "backtest.json", value)
    return read_page(write_report(folder)).by_id("backtest")


def _with_funding(value: dict[str, Any]) -> None:
    for name, paid in (("pooled", 3.25), ("buy_and_hold", -1.5), ("taker", 0.0)):
        value[name]["funding"] = paid
    value["notes"] = [NOTE]


def test_funding_stands_in_the_account_where_there_is_any(tmp_path: Path) -> None:
    section = _backtest(tmp_path / "funded", _with_funding)
    (row,) = [one.text for one in section.all("tr") if one.text.startswith("Funding paid")]
    assert row == "Funding paid+3.25––−1.50–"
    assert NOTE in section.text
    assert "Fees and slippage are multiplied, funding is not." in section.text


def test_without_funding_the_page_does_not_speak_of_it(tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["pooled"]["funding"] = 0.0
        value["notes"] = []

    assert "unding" not in _backtest(tmp_path / "free", change).text


def test_a_page_says_that_each_instrument_has_its_own_fee(tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["setup"]["costs"]["fee_frac"] = None
        for row in value["cost_stress"]:
            row["fee_frac"] = None

    assert "each instrument's own" in _backtest(tmp_path / "own", change).text
