"""What the page says of calibration: dots, the bars that luck alone would fill, and the parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from report.made_run import make_run
from report.page_tree import Node, read_page
from walkforge.base import read_json, write_json
from walkforge.report import write_report


def _figure(page: Node, name: str) -> dict[str, Any]:
    return json.loads(page.by_id(f"figure-{name}").children[0])


def _reading(page: Node, name: str) -> str:
    figures = [one for one in page.all("figure") if one.all("div")]
    (figure,) = [
        one
        for one in figures
        if any(node.attributes.get("id") == f"plot-{name}" for node in one.everything())
    ]
    return next(figure.all("p", "reading")).text


@pytest.fixture(scope="module")
def page(finished_run: Path) -> Node:
    return read_page(finished_run / "report.html")


def _asked(found: dict[str, Any], name: str) -> tuple[list[dict[str, Any]], str, str]:
    if name == "reliability":
        return found["reliability"], "confidence", "hit_rate"
    by_class = found["reliability_by_class"]
    return by_class[list(by_class)[int(name[-1])]], "probability", "frequency"


@pytest.mark.parametrize("name", ["reliability", "reliability-0", "reliability-2"])
def test_dots_and_bars_are_those_of_the_diagnostics(
    page: Node, finished_run: Path, name: str
) -> None:
    bins, stated, came = _asked(read_json(finished_run / "diagnostics.json"), name)
    bars, dots, rings = _figure(page, name)["data"]
    assert dots["x"] == pytest.approx([line[stated] for line in bins], rel=1e-5)
    assert dots["y"] == pytest.approx([line[came] for line in bins], rel=1e-5)
    up, down = bars["error_y"]["array"], bars["error_y"]["arrayminus"]
    for at, above, below, line in zip(bars["y"], up, down, bins, strict=True):
        assert at + above == pytest.approx(line["band_high"], abs=1e-5)
        assert at - below == pytest.approx(line["band_low"], abs=1e-5)
    outside = [b for b in bins if not b["band_low"] <= b[came] <= b["band_high"]]
    assert rings["x"] == pytest.approx([line[stated] for line in outside], rel=1e-5)
    told = page.by_id(f"plot-{name}").attributes["aria-label"]
    assert f"{len(outside)} of 10 bins outside the band; luck alone leaves 0.5." in told


def test_the_parts_of_the_brier_score_stand_beside_the_score(
    page: Node, finished_run: Path
) -> None:
    pooled = read_json(finished_run / "metrics.json")["model"]["pooled"]
    (table,) = [
        one
        for one in page.by_id("calibration").all("table")
        if "Brier" in next(one.all("caption")).text
    ]
    parts = pooled["brier_parts"]
    values = [parts[name]["value"] for name in ("reliability", "resolution", "uncertainty")]
    assert table.numbers == [*values, pooled["brier"]["value"]]


def test_a_run_of_before_the_bands_still_has_its_diagram(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "old", n_epochs=3)
    found = read_json(folder / "diagnostics.json")
    del found["reliability_by_class"], found["design_effects"]
    for line in found["reliability"]:
        del line["band_low"], line["band_high"]
    write_json(folder / "diagnostics.json", found)
    metrics = read_json(folder / "metrics.json")
    del metrics["model"]["pooled"]["brier_parts"]
    write_json(folder / "metrics.json", metrics)
    page = read_page(write_report(folder))
    dots, rings = _figure(page, "reliability")["data"]
    assert dots["error_y"]["thickness"] < 2
    off = [b for b in found["reliability"] if not b["low"] <= b["confidence"] <= b["high"]]
    assert len(rings["x"]) == len(off)
    assert "interval on the dashed line" in _reading(page, "reliability")
    assert not [
        one for one in page.everything() if one.attributes.get("id") == "plot-reliability-0"
    ]
    assert "What the Brier score is made of" not in page.by_id("calibration").text


def test_few_blocks_leave_bars_out_and_not_at_zero(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "few", n_epochs=3)
    found = read_json(folder / "diagnostics.json")
    for lines in (found["reliability"], *found["reliability_by_class"].values()):
        for line in lines:
            line |= dict.fromkeys(("low", "high", "band_low", "band_high"))
    write_json(folder / "diagnostics.json", found)
    page = read_page(write_report(folder))
    for name in ("reliability", "reliability-1"):
        dots, rings = _figure(page, name)["data"]
        assert set(dots["error_y"]["array"]) == {0.0}
        assert rings["x"] == []
