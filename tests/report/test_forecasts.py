"""The section of price forecasts: what it says, where from, and what odd files do to it."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.forecast_tables import baseline_of, walk
from report import test_browser
from report.made_run import make_run
from report.page_tree import Node, read_page, tree_of
from report.test_page import _leads_somewhere
from walkforge.base import RunError, read_json, write_json
from walkforge.evaluation import forecast_metrics
from walkforge.report import write_report
from walkforge.report._forecast_fan import _stretch
from walkforge.report._forecasts import forecasts
from walkforge.report._run import read_run

browser, chromium = test_browser.browser, test_browser.chromium
PICTURES = ["forecast-saved", "forecast-steps", "forecast-coverage", "forecast-fan"]


def add_forecasts(folder: Path, *, symbols: tuple[str, ...] = ("AAA", "BBB")) -> Path:
    """Add forecasts of random walks to a run folder: a still, a wild and a one-price baseline."""
    table = walk(120, n_seeds=2, symbols=symbols)
    base = pl.concat(
        [
            baseline_of(table, "random_walk"),
            baseline_of(table, "wild", noise=0.01, point=False),
            baseline_of(table, "nearly", noise=0.0002, point=False),
        ]
    )
    metrics = read_json(folder / "metrics.json") | {
        "forecast": forecast_metrics(table, base, n_resamples=100)
    }
    write_json(folder / "metrics.json", metrics)
    table.write_parquet(folder / "forecasts.parquet")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with forecasts and its report; nobody changes it."""
    folder = add_forecasts(make_run(tmp_path_factory.mktemp("runs") / "priced"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def section(run: Path) -> Node:
    return read_page(run / "report.html").by_id("forecasts")


def _found(run: Path) -> Any:
    return read_json(run / "metrics.json")["forecast"]


def _figure(section: Node, name: str) -> Any:
    return json.loads("".join(map(str, section.by_id(f"figure-{name}").children)))


def _rows(section: Node, number: int) -> dict[str, Node]:
    body = next([*section.all("table")][number].all("tbody"))
    return {next(row.all("th")).text: row for row in body.all("tr")}


def _changed(run: Path, folder: Path, change: Any) -> Node:
    """Return the section of a copy of the run whose `forecast` was changed."""
    (folder / "forecasts.parquet").symlink_to(run / "forecasts.parquet")
    metrics = read_json(run / "metrics.json")
    change(metrics["forecast"])
    write_json(folder / "metrics.json", metrics)
    (section,) = forecasts(read_run(folder))
    return tree_of(section.body)


def test_a_run_without_forecasts_has_no_such_section(finished_run: Path) -> None:
    page = read_page(finished_run / "report.html")
    assert not [node for node in page.all("section") if node.attributes["id"] == "forecasts"]
    assert "#forecasts" not in [link.attributes["href"] for link in page.all("a")]


def test_the_contents_lead_to_the_forecasts_after_the_baselines(run: Path) -> None:
    page = read_page(run / "report.html")
    ids = [node.attributes["id"] for node in page.all("section")]
    assert ids.index("forecasts") == ids.index("baselines") + 1
    assert "#forecasts" in [link.attributes["href"] for link in page.all("a")]


def test_the_measures_are_those_of_the_metrics_the_strongest_baseline_first(
    run: Path, section: Node
) -> None:
    found = _found(run)
    blocks = {name: block["pooled"] for name, block in found["baselines"].items()}
    order = sorted(blocks, key=lambda name: blocks[name]["crps_bps"]["value"])
    shown = _rows(section, 1)
    for title, key in (
        ("CRPSlow is good, bps", "crps_bps"),
        ("Mean absolute errorlow is good, bps", "mae_bps"),
        ("Root mean squared errorlow is good, bps", "rmse_bps"),
        ("Right directionhigh is good", "direction_accuracy"),
    ):
        expected = [found["model"]["pooled"][key]["value"]] + [
            blocks[name][key]["value"] for name in order
        ]
        assert shown[title].numbers == expected
    covered = next(row for title, row in shown.items() if title.startswith("Closes within 5 %"))
    assert covered.numbers[0] == found["model"]["pooled"]["coverage_90"]["value"]
    assert [cell.text for cell in covered.all("td")][-1] == "–"  # one price covers nothing


def test_the_coverage_nearest_to_what_it_should_be_is_the_bold_one(
    run: Path, tmp_path: Path
) -> None:
    def change(found: Any) -> None:
        blocks = [found["model"], *found["baselines"].values()]
        for block, value in zip(blocks, (0.93, 0.99, 0.89, 0.5), strict=True):
            block["pooled"]["coverage_90"]["value"] = value

    section = _changed(run, tmp_path, change)
    row = next(r for title, r in _rows(section, 1).items() if title.startswith("Closes within 5 %"))
    assert [node.text for node in row.all("b")] == ["0.8900"]


def test_what_looks_equal_is_not_set_apart(run: Path, tmp_path: Path) -> None:
    def change(found: Any) -> None:
        for number, block in enumerate([found["model"], *found["baselines"].values()]):
            block["pooled"]["mae_bps"]["value"] = 100.0 + 1e-5 * number

    row = _rows(_changed(run, tmp_path, change), 1)["Mean absolute errorlow is good, bps"]
    assert not [*row.all("b")]


def test_a_measure_that_nobody_else_has_is_not_set_apart(run: Path, tmp_path: Path) -> None:
    def take_away(found: Any) -> None:
        for block in found["baselines"].values():
            block["pooled"]["coverage_90"] = None

    row = _rows(_changed(run, tmp_path, take_away), 1)["Closes within 5 % to 95 %90 % is good"]
    assert not [*row.all("b")]


def test_the_savings_are_those_of_the_tests(run: Path, section: Node) -> None:
    tests = _found(run)["better_than"]
    shown = _rows(section, 0)
    assert set(shown) == {"Random walk", "Wild", "Nearly"}
    for title, name in (("Wild", "wild"), ("Random walk", "random_walk")):
        kinds = ("crps", "absolute_error", "squared_error")
        means = [tests[name][kind]["mean_difference"] for kind in kinds]
        assert shown[title].numbers == means


@pytest.mark.parametrize(
    ("p", "adjusted", "word"),
    [
        (0.01, 0.03, "better, p = 0.030"),
        (0.00001, 0.00003, "better, p < 0.001"),
        (0.03, 0.09, "not told apart, p = 0.090"),
        (0.5, 1.0, "not told apart, p = 1.000"),
        (0.97, 1.0, "worse, p = 0.030"),
        (None, None, "not tested"),
    ],
)
def test_the_word_beside_a_saving_says_no_more_than_the_test(
    run: Path, tmp_path: Path, p: float | None, adjusted: float | None, word: str
) -> None:
    def change(found: Any) -> None:
        found["better_than"]["wild"]["crps"] |= {"p_value": p, "p_holm": adjusted}

    cell = next(_rows(_changed(run, tmp_path, change), 0)["Wild"].all("td"))
    assert [small.text for small in cell.all("small")][-1] == word


def test_a_range_is_never_called_better_than_one_price(run: Path, section: Node) -> None:
    assert _found(run)["better_than"]["random_walk"]["crps"]["p_value"] < 0.001
    cell = next(_rows(section, 0)["Random walk"].all("td"))
    assert [small.text for small in cell.all("small")][-1] == "a range against one price"
    assert (
        "Random walk" not in _figure(section, "forecast-saved")["layout"]["yaxis"]["categoryarray"]
    )


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        ((0.5, 0.5, 0.5), "the model is shown to be better than none of 3 baselines."),
        ((0.01, 0.5, 0.99), "the model is better than 1 of 3 baselines, and worse than 1."),
        ((0.01, 0.01, 0.01), "the model is better than 3 of 3 baselines."),
    ],
)
def test_the_first_sentence_counts_what_the_tests_say(
    run: Path, tmp_path: Path, p: tuple[float, ...], sentence: str
) -> None:
    def change(found: Any) -> None:
        for test, value in zip(found["better_than"].values(), p, strict=True):
            test["absolute_error"] |= {"p_value": value, "p_holm": value}

    assert f"By absolute error {sentence}" in _changed(run, tmp_path, change).text


def test_equal_forecasts_are_not_called_worse(run: Path, tmp_path: Path) -> None:
    def change(found: Any) -> None:
        same = {"mean_difference": 0.0, "low": None, "high": None, "p_value": 1.0, "p_holm": 1.0}
        found["better_than"]["nearly"]["absolute_error"] |= same

    cell = [*_rows(_changed(run, tmp_path, change), 0)["Nearly"].all("td")][1]
    assert "not told apart" in cell.text


def test_the_picture_by_step_holds_every_step_and_the_baselines_beside_it(
    run: Path, section: Node
) -> None:
    found = _found(run)
    figure = _figure(section, "forecast-steps")
    lines = {(t.get("name"), t.get("yaxis", "y")): t for t in figure["data"] if "name" in t}
    model = [found["model"]["by_step"][str(k)]["mae_bps"]["value"] for k in (1, 2, 3, 4)]
    wild = [found["baselines"]["wild"]["by_step"][str(k)]["mae_bps"]["value"] for k in (1, 2, 3, 4)]
    assert lines["this model", "y"]["x"] == [1, 2, 3, 4]
    assert lines["this model", "y"]["y"] == pytest.approx(model, rel=1e-5)
    relative = [b / m - 1 for b, m in zip(wild, model, strict=True)]
    assert lines["wild", "y2"]["y"] == pytest.approx(relative, rel=1e-4)


def test_the_picture_of_coverage_sets_what_came_against_the_level(run: Path, section: Node) -> None:
    quantiles = _found(run)["model"]["quantiles"]
    dots = _figure(section, "forecast-coverage")["data"][-1]
    assert dots["x"] == pytest.approx([entry["level"] for entry in quantiles.values()])
    assert dots["y"] == pytest.approx([entry["value"] for entry in quantiles.values()], rel=1e-5)


def test_a_baseline_has_the_same_colour_in_every_picture(section: Node) -> None:
    colours = [
        {trace["name"]: trace["line"]["color"] for trace in _figure(section, name)["data"]
         if trace.get("name") in ("wild", "nearly")}
        for name in ("forecast-steps", "forecast-coverage")
    ]  # fmt: skip
    assert len(colours[0]) == 2
    assert colours[0] == colours[1]


def test_the_fan_shows_the_newest_sixty_decisions_at_the_bars_that_they_foretold(
    run: Path, section: Node
) -> None:
    rows = pl.read_parquet(run / "forecasts.parquet").filter(
        (pl.col("symbol") == "AAA") & (pl.col("step") == 4) & (pl.col("seed") == 0)
    )
    newest = rows.sort("timestamp").tail(60)
    data = _figure(section, "forecast-fan")["data"]
    close = next(trace for trace in data if trace.get("name") == "close")
    assert close["y"] == pytest.approx(newest["close"].to_list(), rel=1e-6)
    later = newest["timestamp"].dt.offset_by("4h").dt.strftime("%Y-%m-%d %H:%M")
    assert close["x"] == later.to_list()
    assert [trace["name"] for trace in data if "name" in trace] == [
        "5 %", "95 %", "20 %", "80 %", "close",
    ]  # fmt: skip
    outside = newest.filter(~pl.col("close").is_between("q_05", "q_95"))
    marked = [y for y in data[-1]["y"] if y is not None]
    assert marked == pytest.approx(outside["close"].to_list(), rel=1e-6)


def test_the_fan_is_of_the_series_that_goes_on_longest(run: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(run / "forecasts.parquet")
    early = table.filter((pl.col("symbol") == "BBB") | (pl.col("timestamp").dt.day() < 3))
    early.drop("q_20").write_parquet(tmp_path / "forecasts.parquet")
    write_json(tmp_path / "metrics.json", {})
    stretch = _stretch(read_run(tmp_path))
    assert stretch is not None
    assert stretch["symbol"].unique().to_list() == ["BBB"]
    assert len(stretch) == 60


@pytest.mark.parametrize("change", ["missing", "no quantiles", "nothing but nulls"])
def test_without_quantiles_to_draw_a_sentence_stands_in_place_of_the_fan(
    run: Path, tmp_path: Path, change: str
) -> None:
    table = pl.read_parquet(run / "forecasts.parquet")
    folder = make_run(tmp_path / "bare")
    write_json(folder / "metrics.json", read_json(run / "metrics.json"))
    if change == "no quantiles":
        table.drop("q_05").write_parquet(folder / "forecasts.parquet")
    if change == "nothing but nulls":
        nulls = table.with_columns(q_05=pl.lit(None, dtype=pl.Float64))
        nulls.write_parquet(folder / "forecasts.parquet")
    assert "No forecasts with quantiles to draw" in read_page(write_report(folder)).text


def test_a_damaged_table_of_forecasts_is_refused(run: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "damaged")
    write_json(folder / "metrics.json", read_json(run / "metrics.json"))
    (folder / "forecasts.parquet").write_text("no table")
    with pytest.raises(RunError, match=r"forecasts\.parquet"):
        write_report(folder)


def test_forecasts_without_baselines_and_quantiles_still_make_a_section(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "alone")
    table = walk(60).drop(pl.selectors.starts_with("q_"))
    found = forecast_metrics(table, None, n_resamples=50)
    write_json(folder / "metrics.json", read_json(folder / "metrics.json") | {"forecast": found})
    section = read_page(write_report(folder)).by_id("forecasts")
    assert next(section.all("table")).text.count("CRPS") == 1
    assert "No quantiles in these forecasts" in section.text
    assert "baseline" not in next(section.all("table")).text


def test_a_model_of_one_price_is_set_against_the_baselines_by_its_absolute_error(
    tmp_path: Path,
) -> None:
    folder = make_run(tmp_path / "points")
    table = walk(80).drop(pl.selectors.starts_with("q_"))
    found = forecast_metrics(table, baseline_of(table, "wild", noise=0.01), n_resamples=50)
    write_json(folder / "metrics.json", read_json(folder / "metrics.json") | {"forecast": found})
    section = read_page(write_report(folder)).by_id("forecasts")
    assert "Absolute error saved against each baseline" in section.text
    assert "By CRPS" not in section.text


def test_every_named_file_and_key_is_there(run: Path, section: Node) -> None:
    origins = [node for node in section.all("span") if "data-file" in node.attributes]
    assert len(origins) == 6
    for origin in origins:
        for key in origin.attributes["data-keys"].split():
            file = run / origin.attributes["data-file"]
            assert _leads_somewhere(file, key.split(".")), f"{file}: {key}"


def test_a_name_from_a_file_never_becomes_a_tag(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    folder = add_forecasts(make_run(tmp_path / "evil"), symbols=(evil, "SAFE"))
    metrics = read_json(folder / "metrics.json")
    for part in ("baselines", "better_than"):
        metrics["forecast"][part][evil] = metrics["forecast"][part].pop("wild")
    write_json(folder / "metrics.json", metrics)
    page = write_report(folder)
    assert not [*read_page(page).all("img")]
    assert re.search(r"<img", page.read_text().split("<main>")[1].split("</main>")[0]) is None


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_odd_value_breaks_the_section(
    data: st.DataObject, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def change(found: Any) -> None:
        place = found
        while True:
            keys = list(range(len(place))) if isinstance(place, list) else list(place)
            key = data.draw(st.sampled_from(keys))
            deeper = place[key]
            if not isinstance(deeper, dict | list) or not deeper or data.draw(st.booleans()):
                break
            place = deeper
        odd = [None, "word", 7, -1.5, True, [], {}, [1, 2], {"a": 1}, {"0": {"mae_bps": {}}}]
        place[key] = data.draw(st.sampled_from(odd))

    folder = tmp_path_factory.mktemp("odd")
    (folder / "forecasts.parquet").symlink_to(run / "forecasts.parquet")
    metrics = read_json(run / "metrics.json")
    change(metrics["forecast"])
    write_json(folder / "metrics.json", metrics)
    for section in forecasts(read_run(folder)):
        assert section.body.startswith("<p>What the price will be")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_every_picture_is_drawn_and_nothing_complains_or_overflows(
    browser: Any,
    run: Path,
    width: int,
    scheme: str,
) -> None:
    visit = test_browser.Visit(
        browser, run / "report.html", {"width": width, "height": 900}, scheme
    )
    for name in PICTURES:
        box = visit.page.locator(f"#plot-{name} svg.main-svg").first.bounding_box()
        assert box["width"] > 200
        assert box["x"] + box["width"] <= width
        assert visit.page.locator(f"#plot-{name} g.trace").count() > 0
    assert visit.width() <= width
    assert visit.complaints == []
