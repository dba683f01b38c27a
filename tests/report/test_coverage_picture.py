"""The picture of which bars there are: rows for some series, sums for many, words for the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from report.made_run import make_run
from report.page_tree import Node, read_page
from walkforge.base import read_json, utc_text, write_json
from walkforge.report import write_report
from walkforge.report._coverage import coverage_picture

_HOUR_MS = 3_600_000
_START_MS = 1_704_067_200_000  # 2024-01-01


def facts(*spans: tuple[int, int], joined: int = 0, holes: int | None = None) -> dict[str, Any]:
    """Return what a run tells of hourly bars; spans in hours, their last bar within."""
    told = [[utc_text(_START_MS + hour * _HOUR_MS) for hour in span] for span in spans]
    n_holes = len(spans) - 1 + joined if holes is None else holes
    return {
        "timeframe": "1h",
        "spans": told,
        "spans_joined": joined,
        "holes": {"count": n_holes, "missing_bars": 9 * n_holes, "largest": []},
    }


def figure_of(root: Node) -> dict[str, Any]:
    return json.loads("".join(map(str, root.by_id("figure-coverage").children)))


def page(tmp_path: Path, by_symbol: dict[str, Any]) -> Node:
    """Return the page of a run that tells this of its bars beside all else."""
    folder = make_run(tmp_path / "run", symbols=tuple(by_symbol), n_folds=1)
    known = read_json(folder / "data_info.json")
    write_json(folder / "data_info.json", {s: known[s] | by_symbol[s] for s in by_symbol})
    return read_page(write_report(folder))


def test_a_bar_reaches_from_the_first_opening_to_the_last_close(tmp_path: Path) -> None:
    root = page(tmp_path, {"AAA": facts((0, 999), (1100, 2000)), "BBB": facts((500, 1999))})
    bars, marks = figure_of(root)["data"]
    assert bars["y"] == ["AAA", "AAA", "BBB"]
    assert bars["base"] == [_START_MS + hour * _HOUR_MS for hour in (0, 1100, 500)]
    assert bars["x"] == [hours * _HOUR_MS for hours in (1000, 901, 1500)]
    assert marks["x"] == []
    data = root.by_id("data")
    assert "1 hole in 1 of 2 series." in data.text
    assert "a hole too short to be seen" not in data.text


def test_a_hole_that_would_be_no_dot_wide_gets_a_mark_and_a_wide_one_its_gap(
    tmp_path: Path,
) -> None:
    root = page(tmp_path, {"AAA": facts((0, 999), (1002, 5000), (6000, 9999))})
    bars, marks = figure_of(root)["data"]
    assert len(bars["x"]) == 3
    assert marks["x"] == [_START_MS + 1001 * _HOUR_MS]
    assert marks["customdata"] == ["2024-02-11 16:00 to 2024-02-11 18:00"]
    assert "a hole too short to be seen" in root.by_id("data").text


def test_holes_that_no_stretch_tells_of_are_counted_in_words(tmp_path: Path) -> None:
    root = page(tmp_path, {"AAA": facts((0, 99), (200, 999), joined=1234), "BBB": facts((0, 9))})
    said = "1,235 holes in 1 of 2 series; the 1,234 shortest are not drawn."
    assert said in root.by_id("data").text
    assert said in root.by_id("plot-coverage").attributes["aria-label"]


def test_series_without_a_hole_are_said_to_have_none(tmp_path: Path) -> None:
    assert "No series has a hole." in page(tmp_path, {"AAA": facts((0, 999))}).by_id("data").text


def test_more_than_40_series_are_counted_and_not_drawn_one_by_one() -> None:
    # The bins are five hours wide: 240 of them from 0 to 1200.
    by_symbol = {f"S{k:02d}": facts((0, 599), (601, 1199)) for k in range(30)}
    by_symbol |= {f"T{k:02d}": facts((300, 1199)) for k in range(11)}
    markup = coverage_picture(by_symbol)
    assert markup is not None
    some, whole = json.loads(markup.split('id="figure-coverage">')[1].split("</script>")[0])["data"]
    assert len(some["x"]) == len(some["y"]) == len(whole["y"]) == 241
    assert (some["y"][0], whole["y"][0]) == (30, 30)
    assert (some["y"][59], some["y"][60]) == (30, 41)
    # One hour of the bin from 600 on lacks in thirty series.
    assert (some["y"][120], whole["y"][120]) == (41, 11)
    assert (some["y"][239], whole["y"][239]) == (41, 41)
    assert "30 holes in 30 of 41 series." in markup


def test_40_series_have_a_row_each() -> None:
    markup = coverage_picture({f"S{k:02d}": facts((0, 599)) for k in range(40)})
    assert markup is not None
    [bars, _] = json.loads(markup.split('id="figure-coverage">')[1].split("</script>")[0])["data"]
    assert len(set(bars["y"])) == 40


def test_a_run_from_before_stretches_were_told_has_a_page_without_the_picture(
    finished_run: Path,
) -> None:
    root = read_page(finished_run / "report.html")
    assert "Bars of every symbol" in root.by_id("data").text
    assert not [node for node in root.all("div") if node.attributes.get("id") == "plot-coverage"]


@pytest.mark.parametrize(
    "odd",
    [None, 7, "text", [], [None], [[None, None]], [["x", "y"]], [["2024-01-01"]],
     [["2024-02-01", "2024-01-01"]], [[{}, []]]],
)  # fmt: skip
def test_odd_stretches_break_no_page_and_hide_no_other_series(odd: Any) -> None:
    by_symbol = {"ODD": facts((0, 9)) | {"spans": odd}, "AAA": facts((0, 99))}
    markup = coverage_picture(by_symbol)
    assert markup is not None
    assert "1 series, " in markup
    by_symbol["ODD"] |= {"spans": [["2024-01-01", "2024-01-02"]], "timeframe": odd, "holes": odd}
    by_symbol["ODD"]["spans_joined"] = odd
    assert "2 series, " in (coverage_picture(by_symbol) or "")
    assert coverage_picture({"ODD": {"spans": odd}}) is None


def test_a_name_cannot_become_markup(tmp_path: Path) -> None:
    root = page(tmp_path, {"<b>AAA</b>": facts((0, 99))})
    assert set(figure_of(root)["data"][0]["y"]) == {"&lt;b&gt;AAA&lt;/b&gt;"}
