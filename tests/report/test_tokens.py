"""A run of a model of tokens: what its section says, and that hundreds of series flood no page."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report.made_run import make_run
from report.made_tokens import make_token_run
from report.page_tree import Node, read_page
from walkforge.base import read_json, write_json
from walkforge.report import write_report
from walkforge.report._training import member_histories

_MB = 1_000_000
_OPEN_ROWS = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_token_run(
        tmp_path_factory.mktemp("runs") / "market", n_seeds=2, categories=("crypto", "us_stock")
    )
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def root(run: Path) -> Node:
    return read_page(run / "report.html")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 500 series, of which some only teach and others have no bars."""
    folder = make_token_run(tmp_path_factory.mktemp("runs") / "large", n_series=500)
    reasons = {f"S{number:03d}": "12 rows in test, at least 30 needed" for number in range(120)}
    missing = [f"MISS{number}" for number in range(180)]
    facts = {"left_out": reasons | {"GONE": "too short"}, "missing_assets": missing}
    write_json(folder / "run.json", read_json(folder / "run.json") | facts)
    write_report(folder)
    return folder


def _measures(run: Path) -> Any:
    return read_json(run / "metrics.json")["tokens"]


def _table(section: Node, caption: str) -> Node:
    return next(one for one in section.all("table") if caption in next(one.all("caption")).text)


def _cells(table: Node, name: str) -> list[Node]:
    return next(
        list(row.all("td")) for row in table.all("tr") if next(row.all("th")).text.startswith(name)
    )


def _figures(root: Node, name: str) -> dict[str, Any]:
    return json.loads("".join(map(str, root.by_id(f"figure-{name}").children)))


def test_only_a_run_with_tokens_has_the_section(root: Node, finished_run: Path) -> None:
    assert root.by_id("tokens-title").text == "Tokens"
    others = read_page(finished_run / "report.html")
    assert "tokens" not in [node.attributes.get("id") for node in others.all("section")]


def test_the_model_stands_beside_every_baseline_the_strongest_first(root: Node, run: Path) -> None:
    table, found = _table(root.by_id("tokens"), "Measures of the next token, the"), _measures(run)
    heads = [cell.text for cell in next(table.all("thead")).all("th")]
    assert heads == [
        "", "This model", "Best constant guess", "Markov 1", "Markov 2", "Markov 3", "Unigram"
    ]  # fmt: skip
    order = ("markov_1", "markov_2", "markov_3", "unigram")
    pooled = [found["model"]["pooled"], *(found["baselines"][name]["pooled"] for name in order)]
    for key, name in (("log_loss", "Losslow"), ("perplexity", "Perplexity")):
        cells = _cells(table, name)
        assert [cells[0].numbers, *(cell.numbers for cell in cells[2:])] == [
            [block[key]["value"]] for block in pooled
        ]
    saved = [cell.numbers for cell in _cells(table, "Loss that the model saves")]
    gains = [found["improvement"][name]["log_loss"]["value"] for name in order]
    assert saved == [[], [], *([gain] for gain in gains)]


def test_an_accuracy_stands_beside_the_best_constant_guess(root: Node, run: Path) -> None:
    section, pooled = root.by_id("tokens"), _measures(run)["model"]["pooled"]
    accuracy, constant = pooled["accuracy"]["value"], pooled["best_constant"]["value"]
    cells = _cells(_table(section, "Measures of the next token, the"), "Accuracyhigh")
    assert [cell.numbers for cell in cells[:2]] == [[accuracy], [constant]]
    assert f"comes in {100 * accuracy:.2f} %; a guess that never changes" in section.text
    lines = _figures(root, "token-accuracy")["data"]
    last = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()][-1]
    assert [line["y"][-1] for line in lines[-3:]] == [
        last["accuracy"], last["constant_accuracy"], 1.2e-4
    ]  # fmt: skip


def test_what_is_saved_on_the_best_baseline_is_said_in_nats_and_bits(root: Node, run: Path) -> None:
    saved = _measures(run)["improvement"]["markov_1"]["log_loss"]["value"]
    text = root.by_id("tokens").text
    assert f"Against Markov 1, the strongest baseline, the model saves {saved:.4f} nats" in text
    assert f"{saved / math.log(2):.4f} bits" in text
    assert f"to know nothing of 1,024 tokens costs {math.log(1024):.4f} nats" in text
    drawn = [name for one in _figures(root, "tokens")["data"] for name in one["y"]]
    assert set(drawn) == {"Markov 1", "Markov 2", "Markov 3", "Unigram"}


def test_a_model_that_is_worse_than_its_baseline_loses(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "worse")
    metrics = read_json(folder / "metrics.json")
    gain = metrics["tokens"]["improvement"]["markov_1"]["log_loss"]
    gain |= {"value": -0.2, "low": -0.3, "high": -0.1}
    write_json(folder / "metrics.json", metrics)
    text = read_page(write_report(folder)).by_id("tokens").text
    assert "the model loses 0.2000 nats a token, 0.2885 bits (saved, 95 % interval: −0.3" in text


def test_categories_and_few_assets_have_a_row_each(root: Node, run: Path) -> None:
    section, gains = root.by_id("tokens"), _measures(run)["improvement"]["markov_1"]["log_loss"]
    categories = _table(section, "of every category")
    for name, part in gains["by_category"].items():
        assert _cells(categories, name.replace("_", " "))[0].numbers == [part["value"]]
    assets = _table(section, "What the model saves: Asset")
    shown = [row.numbers[0] for row in next(assets.all("tbody")).all("tr")]
    assert shown == sorted((part["value"] for part in gains["by_symbol"].values()), reverse=True)


def test_the_tokenizers_losses_are_those_of_its_report(root: Node, run: Path) -> None:
    [fold] = read_json(run / "tokenizer_report.json")["folds"]
    table = _table(root.by_id("tokens"), "What the tokenizer loses")
    for key, name in (("train", "training"), ("later", "test")):
        _, used, perplexity, close, *_, edge = _cells(table, name)
        assert used.numbers == [fold[key]["codes_used_frac"]]
        assert perplexity.numbers == [fold[key]["perplexity"]]
        assert close.numbers == [fold[key]["error_bps"]["close"]["mean"]]
        assert edge.numbers == [fold[key]["edge_frac"]]


def test_the_tokenizer_of_every_fold_has_its_rows(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "folds")
    [fold] = read_json(folder / "tokenizer_report.json")["folds"]
    folds = [fold, fold | {"fold": 1}]
    write_json(folder / "tokenizer_report.json", {"folds": folds})
    root = read_page(write_report(folder))
    table = _table(root.by_id("tokens"), "What the tokenizer loses")
    names = [next(row.all("th")).text for row in next(table.all("tbody")).all("tr")]
    assert names == ["fold 0, training", "fold 0, test", "fold 1, training", "fold 1, test"]


def test_the_parameters_are_those_of_the_model_part_by_part(root: Node, run: Path) -> None:
    config = read_json(run / "models" / "market_fold0_seed0" / "config.json")
    table = _table(root.by_id("tokens"), "Parameters of every part")
    shown = [row.numbers[0] for row in next(table.all("tbody")).all("tr")]
    assert shown == [n for n in config["parameters"].values() if n]
    assert f"{sum(shown):,.0f} trained numbers" in root.by_id("tokens").text


def test_seeds_that_train_one_after_the_other_are_two_networks_from_epoch_1_on(
    root: Node, run: Path
) -> None:
    log = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()]
    histories = member_histories(log)
    assert [history.epochs for history in histories.values()] == [[1, 2, 3, 4, 5]] * 2
    text = root.by_id("training").text
    assert "2 networks" in text
    assert "4,079 tokens/s (median)" in text
    assert "packed" not in text
    assert "MFU" not in text, "a CPU has none"


def test_a_peak_that_is_known_gives_an_mfu(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "gpu")
    log = folder / "training_log.jsonl"
    log.write_text(log.read_text().replace('"mfu_frac": null', '"mfu_frac": 0.33'))
    text = read_page(write_report(folder)).by_id("training").text
    assert "33 % of the device's peak (MFU)" in text


def test_a_roof_that_was_measured_too_low_is_not_shown_as_a_share(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "busy")
    log = folder / "training_log.jsonl"
    log.write_text(log.read_text().replace('"roof_frac": 0.61', '"roof_frac": 6.28'))
    text = read_page(write_report(folder)).by_id("training").text
    assert "more than the large matrix product that was measured beside other work" in text
    assert "628" not in text


def test_the_head_says_that_one_model_learns_from_all_series(root: Node) -> None:
    said = "2 marketgpt: 1 fold × 2 seeds, each of all 4 symbols together; 4,984,064 weights each"
    assert said in root.by_id("verdict").text


def test_the_head_says_how_many_series_are_judged_where_some_only_teach(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "some")
    write_json(folder / "folds.json", read_json(folder / "folds.json")[:3])
    text = read_page(write_report(folder)).by_id("verdict").text
    assert "each of all 4 symbols together, 3 of them judged" in text


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        ("{run: runs/base, categories: [], method: full, rank: 8}",
         "runs/base, all weights learned"),
        ("{run: runs/base, categories: [crypto, us], method: lora, rank: 4}",
         "runs/base, factors of rank 4 (LoRA) learned, on crypto, us"),
        ("{run: null, categories: [], method: full, rank: 8}", None),
    ],
)  # fmt: skip
def test_a_fine_tuned_run_names_the_one_that_it_went_on_from(
    tmp_path: Path, tuned: str, said: str | None
) -> None:
    folder = make_token_run(tmp_path / "tuned")
    with (folder / "study.yaml").open("a") as study:
        study.write(f"fine_tune: {tuned}\n")
    facts = read_page(write_report(folder)).by_id("verdict")
    shown = {next(one.all("dt")).text: next(one.all("dd")).text for one in facts.all("div")
             if next(one.all("dt"), None)}  # fmt: skip
    assert shown.get("Went on from") == said


def _open_rows(root: Node) -> list[int]:
    """Return the rows of every table that a reader need not open."""
    folded = {id(table) for one in root.all("details") for table in one.all("table")}
    tables = [table for table in root.all("table") if id(table) not in folded]
    return [len(list(table.all("tr"))) - 1 for table in tables]


def test_500_series_make_a_page_without_a_table_of_500_open_rows(large: Path) -> None:
    root = read_page(large / "report.html")
    assert max(_open_rows(root)) <= _OPEN_ROWS
    assert (large / "report.html").stat().st_size < 6 * _MB
    assert len(list(root.all("figure"))) < 12
    assert "160 more rows" in root.by_id("symbols").text


def test_of_many_assets_both_ends_are_shown_the_farthest_first(large: Path) -> None:
    section = read_page(large / "report.html").by_id("tokens")
    parts = _measures(large)["improvement"]["markov_1"]["log_loss"]["by_symbol"]
    values = sorted(part["value"] for part in parts.values())
    for name, expected in (("Saves most", values[::-1][:10]), ("Saves least", values[:10])):
        table = _table(section, f"What the model saves: {name}")
        assert [row.numbers[0] for row in next(table.all("tbody")).all("tr")] == expected
    assert f"on {int((np.array(values) > 0).sum())}; the median" in section.text


def test_series_that_only_teach_and_missing_assets_are_named_without_a_flood(large: Path) -> None:
    root = read_page(large / "report.html")
    data = root.by_id("data")
    assert "120 teach but are not judged: S000, S001, " in data.text
    assert "S011 and 108 more." in data.text
    assert "1 left out: GONE." in data.text
    assert "without bars: MISS0, MISS1, " in data.text
    folded = " ".join(one.text for one in data.all("details"))
    assert "S119: 12 rows in test, at least 30 needed" in folded
    assert "MISS179" in folded
    assert "MISS179" not in root.by_id("settings").text


def test_a_run_without_tokenizers_report_or_models_still_has_its_measures(tmp_path: Path) -> None:
    folder = make_token_run(tmp_path / "bare")
    (folder / "tokenizer_report.json").unlink()
    (folder / "models" / "market_fold0_seed0" / "config.json").unlink()
    text = read_page(write_report(folder)).by_id("tokens").text
    assert "Best constant guess" in text
    assert "What the tokenizer loses" not in text
    assert "Parameters" not in text


@pytest.mark.parametrize("key", ["model", "baselines", "improvement"])
def test_odd_values_among_the_tokens_break_no_page(tmp_path: Path, key: str) -> None:
    folder = make_token_run(tmp_path / "odd")
    metrics = read_json(folder / "metrics.json")
    odd_ones: list[Any] = [None, "word", 7, [], {"pooled": None}, {"pooled": {"a": 1}}]
    for odd in odd_ones:
        metrics["tokens"][key] = odd
        write_json(folder / "metrics.json", metrics)
        for name in ("tokenizer_report.json", "models/market_fold0_seed0/config.json"):
            write_json(folder / name, {"folds": [odd, {"train": odd}], "parameters": odd})
        assert write_report(folder).stat().st_size > 4 * _MB, odd


def test_a_run_of_series_with_calendars_of_their_own_draws_some_of_its_folds(
    tmp_path: Path,
) -> None:
    names = tuple(f"S{number:03d}" for number in range(60))
    folder = make_run(tmp_path / "own", symbols=names, n_folds=1)
    folds = read_json(folder / "folds.json")
    for number, fold in enumerate(folds):
        fold["test"] = [fold["test"][0], f"2024-06-{1 + number % 30:02d} {number // 30:02d}:00"]
    write_json(folder / "folds.json", folds)
    root = read_page(write_report(folder))
    assert "The first 40 of 60 rows." in root.by_id("folds").text
    assert {len(one["y"]) for one in _figures(root, "timeline")["data"]} == {40}
