"""What the page says, where its numbers come from, and what missing or hostile files do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.made_run import make_run
from report.page_tree import Node, read_page
from walkforge.base import RunError, read_json, write_json
from walkforge.report import write_report

_MB = 1_000_000


@pytest.fixture(scope="module")
def root(finished_run: Path) -> Node:
    return read_page(finished_run / "report.html")


def _rewrite(path: Path, change: Any) -> None:
    value = read_json(path)
    change(value)
    write_json(path, value)


def test_the_verdict_stands_before_everything_else(root: Node) -> None:
    page = next(root.all("div", "page"))
    first = next(child for child in page.children if isinstance(child, Node))
    assert first.attributes["id"] == "verdict"
    assert next(first.all("h1")).text == "✕Not fitnot promotable"
    assert first.text.index("Not fit") < first.text.index("3 of 7 gates said no")


def test_the_reasons_of_failed_gates_stand_under_the_verdict(
    root: Node, finished_run: Path
) -> None:
    told = root.by_id("verdict").text
    for gate in read_json(finished_run / "verdict.json")["gates"]:
        assert (gate["reason"] in told) == (not gate["passed"])


def test_a_fit_model_of_simulated_bars_is_said_not_to_be_promotable(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "fit", fit=True)
    _rewrite(folder / "verdict.json", lambda v: v.update(not_promotable_because="Simulated bars."))
    verdict = read_page(write_report(folder)).by_id("verdict")
    assert next(verdict.all("h1")).text == "✓Fitnot promotable"
    assert "may not be promoted. Simulated bars." in verdict.text


def test_alarms_stand_in_the_head(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "alarmed", alarms=("A Sharpe ratio of 31 is beyond belief.",))
    verdict = read_page(write_report(folder)).by_id("verdict")
    assert "A Sharpe ratio of 31 is beyond belief." in next(verdict.all("div", "alarms")).text


def test_every_number_of_the_gate_table_is_that_of_the_verdict(
    root: Node, finished_run: Path
) -> None:
    gates = read_json(finished_run / "verdict.json")["gates"]
    (table,) = root.by_id("gates").all("table")
    rows = list(next(table.all("tbody")).all("tr"))
    assert len(rows) == len(gates)
    for row, gate in zip(rows, gates, strict=True):
        result, value, limit, reason = row.all("td")
        assert value.numbers == _numbers_of(gate["value"]) + _ends_of(gate)
        assert limit.numbers == _numbers_of(gate["limit"])
        assert reason.text == gate["reason"]
        assert result.text == ("✓ passed" if gate["passed"] else "✕ failed")


def _numbers_of(value: Any) -> list[float]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _ends_of(gate: dict[str, Any]) -> list[float]:
    return [gate[end] for end in ("low", "high") if gate.get(end) is not None]


def test_a_gate_that_judged_nothing_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "odd")
    _rewrite(folder / "verdict.json", lambda v: v["gates"][0].update(passed=None, value=None))
    row = next(next(read_page(write_report(folder)).by_id("gates").all("tbody")).all("tr"))
    assert [cell.text for cell in row.all("td")][:2] == ["○ not judged", "–"]


def test_every_picture_and_table_names_its_file(root: Node) -> None:
    blocks = [*root.all("figure"), *root.all("div", "table")]
    folded = [one for figure in root.all("figure") for one in figure.all("details")]
    inside_a_picture = [table for one in folded for table in one.all("div", "table")]
    for block in blocks:
        if block not in inside_a_picture:
            assert any(origin.attributes.get("data-file") for origin in block.all("span"))


def test_every_named_file_and_key_is_there(root: Node, finished_run: Path) -> None:
    origins = [node for node in root.all("span") if "data-file" in node.attributes]
    assert len(origins) > 20
    for origin in origins:
        file, keys = origin.attributes["data-file"], origin.attributes["data-keys"].split()
        for key in keys:
            assert _leads_somewhere(finished_run / file, key.split(".")), f"{file}: {key}"


def _leads_somewhere(path: Path, keys: list[str]) -> bool:
    if path.suffix == ".parquet":
        return keys[0] in pl.read_parquet(path).columns
    if path.suffix == ".jsonl":
        return all(_reaches(json.loads(line), keys) for line in path.read_text().splitlines())
    return _reaches(read_json(path), keys)


def _reaches(value: Any, keys: list[str]) -> bool:
    if not keys:
        return True
    first, *others = keys
    if first == "*":
        items = value if isinstance(value, list) else list(value.values())
        return bool(items) and all(_reaches(item, others) for item in items)
    return first in value and _reaches(value[first], others)


def test_the_scores_beside_the_baselines_are_those_of_the_metrics(
    root: Node, finished_run: Path
) -> None:
    metrics = read_json(finished_run / "metrics.json")
    (table,) = root.by_id("baselines").all("table")
    losses = {name: b["pooled"]["log_loss"]["value"] for name, b in metrics["baselines"].items()}
    expected = [metrics["model"]["pooled"]["log_loss"]["value"], *sorted(losses.values())]
    (row,) = [
        row
        for row in next(table.all("tbody")).all("tr")
        if next(row.all("th")).text.startswith("Log losslow")
    ]
    assert row.numbers == expected


def test_the_confusion_of_every_symbol_stands_below_the_pooled_one(
    root: Node, finished_run: Path
) -> None:
    by_symbol = read_json(finished_run / "metrics.json")["model"]["by_symbol"]
    section = root.by_id("confusion")
    grid = list(section.all("table"))[-1]
    heads = [cell.text for cell in grid.all("th") if cell.attributes.get("scope") == "col"]
    assert heads[:4] == ["Symbol", "down as down", "down as hold", "down as up"]
    rows = {
        cells[0].text: [cell.text for cell in cells[1:]]
        for row in list(grid.all("tr"))[1:]
        if (cells := [node for node in row.everything() if node.tag in ("th", "td")])
    }
    assert list(rows) == list(by_symbol)
    for symbol, shown in rows.items():
        counts = np.array(by_symbol[symbol]["confusion_matrix"]["counts"])
        expected = 100 * counts / counts.sum(axis=1, keepdims=True)
        found = [float(text.rstrip(" %")) for text in shown[:9]]
        np.testing.assert_allclose(found, expected.ravel(), atol=0.06)


def test_symbols_that_are_surely_good_stand_first_and_are_named(
    root: Node, finished_run: Path
) -> None:
    tests = read_json(finished_run / "metrics.json")["by_symbol_tests"]
    section = root.by_id("symbols")
    grid = list(section.all("table"))[-1]
    rows = list(grid.all("tr"))[1:]
    assert [next(row.all("th")).text for row in rows] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    for row in rows[:2]:
        name = next(row.all("th")).text
        entries = [tests[measure]["by_symbol"][name] for measure in ("direction_auc", "log_loss")]
        keys = ("value", "p_value", "p_adjusted")
        assert row.numbers == [entry[key] for entry in entries for key in keys]
    assert [cell.text for cell in rows[2].all("td")][1:3] == ["–", "–"]
    assert [cell.text for cell in grid.all("b")] == [
        f"{tests['direction_auc']['by_symbol']['BTCUSDT']['value']:.4f}", "< 0.0001", "0.0001"
    ]  # fmt: skip
    told = list(section.all("p"))[2].text
    assert "Of 3 symbols some look good by luck." in told
    assert "Direction AUC: BTCUSDT. Log loss saved on prior: none. 1 symbol could not be" in told


@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
def test_nothing_is_counted_of_one_symbol_or_of_an_older_run(
    tmp_path: Path, symbols: tuple[str, ...]
) -> None:
    folder = make_run(tmp_path / "run", symbols=symbols)
    if len(symbols) > 1:
        _rewrite(folder / "metrics.json", lambda value: value.pop("by_symbol_tests"))
    section = read_page(write_report(folder)).by_id("symbols")
    assert "by luck" not in section.text
    assert len(list(section.all("table"))) == 1


def test_classes_that_mean_trades_go_by_the_names_of_trades(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    study = folder / "study.yaml"
    study.write_text(study.read_text().replace("kind: quantile", "kind: triple_barrier"))
    write_report(folder)
    section = read_page(folder / "report.html").by_id("confusion")
    matrix = next(section.all("table", "matrix"))
    names = [cell.text for cell in matrix.all("th") if cell.attributes.get("scope") == "row"]
    assert names == ["SHORT (down)", "NO_TRADE (hold)", "LONG (up)"]


def test_a_name_from_a_file_never_becomes_a_tag(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script><b>&amp;"
    folder = make_run(tmp_path / "evil", symbols=(evil, "SAFE"), alarms=(evil,))
    for name in ("run.json", "verdict.json"):
        _rewrite(folder / name, lambda value: value.update(name=evil, profile=evil))
    _rewrite(folder / "verdict.json", lambda value: value["gates"][0].update(name=evil))
    _rewrite(
        folder / "metrics.json", lambda m: m["baselines"].update({evil: m["baselines"]["prior"]})
    )
    _rewrite(
        folder / "metrics.json",
        lambda m: m["improvement"].update({evil: m["improvement"]["prior"]}),
    )
    page = read_page(write_report(folder))
    scripts = [node.attributes.get("type") for node in page.all("script")]
    assert scripts.count(None) == 2
    assert set(scripts) == {None, "application/json"}
    assert not [node for node in page.all("b") if node.text.startswith("&")]
    symbols = [next(row.all("th")).text for row in page.by_id("symbols").all("tr")]
    assert evil in symbols


def test_only_the_two_scripts_of_the_page_may_run_and_nothing_may_be_fetched(root: Node) -> None:
    (policy,) = [
        node.attributes["content"]
        for node in root.all("meta")
        if node.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert policy.count("'sha256-") == 2
    assert "unsafe-eval" not in policy
    assert not any("src" in node.attributes for node in root.everything())


_SENTENCES = {
    "verdict.json": "No gate has judged this run",
    "metrics.json": "No scores in this run",
    "diagnostics.json": "No diagnostics in this run",
    "training_log.jsonl": "No training in this run",
    "folds.json": "No folds in this run",
    "backtest.json": "No backtest in this run.",
    "equity.parquet": "No equity curve in this run",
    "data_info.json": "No account of the bars",
    "study.yaml": "No settings in this run",
    "run.json": "No account of versions",
}


@pytest.mark.parametrize("name", _SENTENCES)
def test_a_missing_file_leaves_a_sentence_in_its_place(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "partial")
    (folder / name).unlink()
    assert _SENTENCES[name] in read_page(write_report(folder)).text


def test_a_backtest_alone_makes_a_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "signals")
    for path in folder.iterdir():
        if path.name not in ("backtest.json", "trades.parquet", "equity.parquet"):
            path.unlink()
    page = read_page(write_report(folder))
    assert next(page.by_id("verdict").all("h1")).text == "No verdict"
    assert len(list(page.by_id("backtest").all("figure"))) == 1


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RunError, match="not the folder of a run"):
        write_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(RunError, match="no such folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["metrics.json", "equity.parquet", "trades.parquet", "study.yaml"])
def test_a_damaged_file_is_refused_and_the_old_page_stays(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path / "damaged")
    (folder / "report.html").write_text("the old page")
    (folder / name).write_text("{[ not what it should be")
    with pytest.raises(RunError, match=name):
        write_report(folder)
    assert (folder / "report.html").read_text() == "the old page"


def test_a_log_cut_off_in_its_last_line_is_read_to_there(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "cut", n_epochs=5)
    log = folder / "training_log.jsonl"
    log.write_text(log.read_text()[:-40])
    assert "4 epochs of packed training" in read_page(write_report(folder)).text
    log.write_text("half a line\n" + log.read_text())
    with pytest.raises(RunError, match=r"training_log\.jsonl, line 1"):
        write_report(folder)


def test_the_page_of_a_large_run_stays_under_six_megabytes(tmp_path: Path) -> None:
    names = tuple(f"COIN{number}USDT" for number in range(40))
    folder = make_run(tmp_path / "large", symbols=names, n_folds=6, n_epochs=60, n_bars=100_000)
    assert write_report(folder).stat().st_size < 6 * _MB


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_odd_value_in_a_file_breaks_the_page(
    data: st.DataObject, finished_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(["verdict", "metrics", "diagnostics", "backtest", "folds",
                                      "data_info", "run"]))  # fmt: skip
    value = read_json(finished_run / f"{name}.json")
    place = value
    while True:
        keys = list(range(len(place))) if isinstance(place, list) else list(place)
        key = data.draw(st.sampled_from(keys))
        deeper = place[key]
        if not isinstance(deeper, dict | list) or not deeper or data.draw(st.booleans()):
            break
        place = deeper
    place[key] = data.draw(st.sampled_from([None, "word", 7, -1.5, True, [], {}, [1, 2], {"a": 1}]))
    folder = tmp_path_factory.mktemp("odd")
    for path in finished_run.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / f"{name}.json").unlink()
    (folder / "report.html").unlink()
    write_json(folder / f"{name}.json", value)
    assert write_report(folder).stat().st_size > 4 * _MB


def test_numbers_that_are_not_finite_do_not_reach_the_pictures(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "nan", n_epochs=3)
    lines = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    lines[1]["members"][0]["validation_loss"] = None
    lines[2]["members"][0]["validation_loss"] = float("nan")
    (folder / "training_log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    curve = pl.read_parquet(folder / "equity.parquet")
    broken = curve.with_columns(buy_and_hold=pl.lit(np.nan))
    broken.write_parquet(folder / "equity.parquet")
    page = read_page(write_report(folder))
    figures = [node for node in page.all("script") if node.attributes.get("type")]
    assert len(figures) == 9
    for figure in figures:
        json.loads("".join(map(str, figure.children)), parse_constant=pytest.fail)
