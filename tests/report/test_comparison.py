"""The page of a comparison: what it says first, what it marks, and what hostile names do."""

import copy
from pathlib import Path
from typing import Any

import pytest

from report.made_comparison import make_comparison
from report.made_run import measure
from report.page_tree import Node, read_page
from walkforge.report import write_comparison
from walkforge.report._words import NOTHING

_EVIL = "<img src=x onerror=alert(1)>"


def _page(tmp_path: Path, data: dict[str, Any]) -> Node:
    return read_page(write_comparison(data, tmp_path / "comparison.html"))


def _row(table: Node, name: str) -> list[str]:
    row = next(row for row in table.all("tr") if next(row.all("th")).text.startswith(name))
    return [cell.text for cell in row.all("td")]


def _table(root: Node, section: str) -> Node:
    return next(root.by_id(section).all("table"))


@pytest.fixture
def root(tmp_path: Path) -> Node:
    return _page(tmp_path, make_comparison(("base", "wide", "deep")))


def test_what_the_data_can_tell_stands_before_everything_else(root: Node) -> None:
    page = next(root.all("div", "page"))
    first = next(child for child in page.children if isinstance(child, Node))
    assert first.attributes["id"] == "verdict"
    assert next(first.all("h1")).text == "B has a lower log loss than A"
    assert next(first.all("p", "lead")).text == "B (wide) has a lower log loss than A (base)."


def test_better_stands_only_where_a_test_says_so_and_not_where_a_value_is_better(
    root: Node,
) -> None:
    measures = _table(root, "measures")
    base, wide, deep = _row(measures, "Log loss")
    assert "better than A" in wide
    # The third run's log loss is lower still, and no test says that it is.
    assert "than A" not in base + deep
    assert "than A" not in "".join(_row(measures, "Brier"))
    assert "than A" not in "".join(_row(_table(root, "backtest"), "Profit after fees"))


def test_tests_show_rows_shares_and_both_p_values(root: Node) -> None:
    tests = _table(root, "tests")
    assert _row(tests, "Common rows")[0].startswith("4,100")
    assert _row(tests, "Share of A's rows") == ["82.0 %"] * 2
    assert "p = 0.0021, Holm = 0.0042" in _row(tests, "Log loss saved")[0]
    assert "p = 0.61" in _row(tests, "Log loss saved")[1]
    assert _row(tests, "Daily profit gained")[0] == "5 common days"


def test_which_runs_are_surely_better_stands_beside_what_choosing_is_worth(
    tmp_path: Path,
) -> None:
    data = make_comparison(("base", "wide", "deep", "twin"))
    data["best_of"]["left_out"] = ["C"]
    section = _page(tmp_path, data).by_id("choice")
    best, overfitting = section.all("table")
    assert _row(best, "Better than A") == ["▲ surely", "not asked", "predicts alike"]
    assert _row(best, "Log loss saved")[:2] == ["+0.0031", "+0.0011"]
    assert "SPA: p = 0.0042 that none is better, with its bounds p = 0.0031" in section.text
    assert _row(overfitting, "Probability of backtest overfitting") == ["0.62"]
    assert _row(overfitting, "Splits") == ["12,870of 16 blocks"]
    assert _row(overfitting, "The same by luck") == ["0.67"]


def test_forecasts_stand_beside_the_scores_where_runs_forecast(tmp_path: Path) -> None:
    data = make_comparison(("base", "wide", "deep"))
    for place, run in enumerate(data["runs"][:2]):
        run["forecast"] = {"crps_bps": {"value": 50.0 - place, "low": 40.0, "high": 60.0}}
    gain = {"value": 1.0, "low": 0.5, "high": 1.5, "p_value": 0.001, "p_holm": 0.002,
            "says": "better"}  # fmt: skip
    data["tests"][0]["forecasts"] = {"n_common": 900, "comparable": True, "crps": gain}
    root = _page(tmp_path, data)
    tests, (_, errors) = _table(root, "tests"), root.by_id("measures").all("table")
    assert _row(tests, "Common forecasts") == ["900", NOTHING]
    assert "better than A" in _row(tests, "CRPS saved")[0]
    assert [cell[:6] for cell in _row(errors, "CRPS")] == ["50.000", "49.000", NOTHING]


def _with_tokens(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with tokens of the first two runs, and a test of the second."""
    for place, run in enumerate(data["runs"][:2]):
        run["tokens"] = {
            "log_loss": measure(6.6 - place, 0.03, 900, "nats"), "kind": "vq", "vocabulary": 1024,
            "perplexity": measure(735.1, 20.0, 900), "accuracy": measure(0.0064, 0.001, 900),
            "best_constant": measure(0.0017, 0.001, 900), "tokenizers": ["ab" * 32], "n": 900,
            "baseline": {"name": "markov_1", "log_loss": measure(6.71, 0.03, 900, "nats")},
            "gain": measure(0.11 + place, 0.02, 900, "nats"), "gain_bits": 0.1587 + place,
            "parameters": 4_984_064,
        }  # fmt: skip
        run["cost"]["tokens_per_s"] = 4079.4
    gain = measure(1.0, 0.02, 900, "nats per token")
    gain |= {"p_value": 0.001, "p_holm": 0.002, "says": "better"}
    data["tests"][0]["tokens"] = {"n_common": 900, "comparable": True, "log_loss": gain}
    return data


def test_tokens_stand_beside_baselines_and_constant_guesses_where_runs_have_any(
    tmp_path: Path,
) -> None:
    root = _page(tmp_path, _with_tokens(make_comparison(("base", "wide", "deep"))))
    tests, tokens = _table(root, "tests"), _table(root, "tokens")
    assert _row(tests, "Common tokens") == ["900", NOTHING]
    assert "better than A" in _row(tests, "Loss of tokens saved")[0]
    assert [cell[:6] for cell in _row(tokens, "Loss")] == ["6.6000", "5.6000", NOTHING]
    assert "constant guess 0.0017" in _row(tokens, "Accuracy")[0]
    assert _row(tokens, "Best baseline") == ["Markov 1loss 6.7100"] * 2 + [NOTHING]
    assert _row(tokens, "The same") == ["+0.1587", "+1.1587", NOTHING]
    assert _row(tokens, "Tokenizer")[0] == "vq, 1,024 codesababababab"
    assert _row(tokens, "Tokens trained") == ["4,079", "4,079", NOTHING]
    assert "levels compare only where the tokenizer is the same" in root.by_id("tokens").text


def test_runs_of_other_tokenizers_say_why_their_losses_are_not_tested(tmp_path: Path) -> None:
    data = _with_tokens(make_comparison())
    data["tests"][0]["tokens"] = {"n_common": 0, "comparable": False, "reason": "other tokenizers"}
    tests = _table(_page(tmp_path, data), "tests")
    assert _row(tests, "Common tokens") == ["0other tokenizers"]
    assert _row(tests, "Loss of tokens saved") == [NOTHING]


def test_only_settings_that_differ_are_shown_and_a_missing_one_is_a_dash(root: Node) -> None:
    settings = _table(root, "settings")
    assert _row(settings, "model.widths") == ["[64, 32]", "–", "–"]
    assert "70 settings agree" in root.by_id("settings").text


def test_what_an_older_run_did_not_keep_is_a_dash(root: Node) -> None:
    cost = _table(root, "cost")
    assert _row(cost, "Peak memory") == ["–", "3.00 GiB", "3.00 GiB"]
    assert _row(cost, "Stage: training") == ["–", "1 min 0 s", "1 min 0 s"]
    assert _row(cost, "Peak GPU memory") == ["–"] * 3


def test_runs_that_cannot_be_compared_say_why_and_mark_nothing(tmp_path: Path) -> None:
    root = _page(tmp_path, make_comparison(comparable=False))
    assert "no row is common to both" in _row(_table(root, "tests"), "Common rows")[0]
    assert "better than A" not in root.text.replace("Is any run better than A?", "")
    choice = root.by_id("choice")
    assert list(choice.all("table")) == []
    assert "cannot be told: no other run can be set against it by log loss." in choice.text
    assert "cannot be told: 5 days in common, at least 80 needed." in choice.text
    ids = [node.attributes.get("id", "") for node in root.all("div", "plot")]
    assert ids == ["plot-equity", "plot-losses"]


def test_where_nothing_differs_it_is_said(tmp_path: Path) -> None:
    data = make_comparison()
    data["settings"]["differ"] = []
    assert "Nothing differs: 70 settings agree." in _page(tmp_path, data).by_id("settings").text


def test_runs_without_curves_or_baselines_leave_a_sentence(tmp_path: Path) -> None:
    data = make_comparison()
    for run in data["runs"]:
        run |= {"curves": {"equity": None, "training": None}, "baseline": None}
    root = _page(tmp_path, data)
    assert "No equity curves in these runs" in root.by_id("backtest").text
    assert "No training in these runs" in root.by_id("training").text
    assert _row(_table(root, "measures"), "Strongest baseline") == ["–", "–"]


def test_hostile_names_and_notes_stay_words(tmp_path: Path) -> None:
    root = _page(tmp_path, make_comparison((_EVIL, "safe"), note=f"</script>{_EVIL}"))
    assert list(root.all("img")) == []
    assert f"</script>{_EVIL}" in root.by_id("verdict").text
    assert _EVIL in _row(_table(root, "settings"), "data.bars")[0]


def test_more_runs_than_colours_are_told_apart_by_dashes(tmp_path: Path) -> None:
    root = _page(tmp_path, make_comparison(tuple(f"run{k}" for k in range(8))))
    key = next(root.by_id("backtest").all("ul", "key"))
    marks = [next(item.all("span")).attributes for item in key.all("li")]
    seen = {(mark["class"], mark["style"]) for mark in marks}
    assert len(seen) == 8


def test_the_page_is_written_whole_and_the_data_stays_as_it_was(tmp_path: Path) -> None:
    data = make_comparison()
    before = copy.deepcopy(data)
    path = write_comparison(data, tmp_path / "deep" / "page.html")
    assert path.stat().st_size < 6_000_000
    assert data == before
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
