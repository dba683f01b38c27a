"""Runs side by side: what differs, what the data can tell, and what is refused."""

import json
import re

import numpy as np
import polars as pl
import pytest

from compared_runs import DAY_MS, P, rewrite, wiser
from evaluation.forecast_tables import baseline_of, walk
from token_runs import SAVED, add_tokens
from walkforge import evaluation, study
from walkforge.base import RunError, UsageError, json_text
from walkforge.study._compare_runs import letter_of, short_names


def _set(folder, old, new):
    path = folder / "study.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _test_of(data, run=1):
    return next(test for test in data["tests"] if test["run"] == run)


def _trade_once_a_day(folder, mean_pnl, seed):
    """Give a run one decision and one trade a day, over 250 days."""
    n = 250
    stamps = pl.Series(1_704_067_200_000 + DAY_MS * np.arange(n)).cast(pl.Datetime("ms", "UTC"))
    first = pl.read_parquet(folder / "predictions.parquet").filter(
        (pl.col("symbol") == "AAA") & (pl.col("seed") == 0)
    )[:n]
    first.with_columns(timestamp=stamps, resolved_at=stamps.dt.offset_by("3m")).write_parquet(
        folder / "predictions.parquet"
    )
    # Decided at the close of the day's first bar; the last trade of the day counts to that day.
    pnl = np.random.default_rng(seed).normal(mean_pnl, 5.0, n)
    pl.DataFrame({"decided_at": stamps.dt.offset_by("1m"), "pnl": pnl}).write_parquet(
        folder / "trades.parquet"
    )
    return pnl


def test_a_run_and_its_copy_predict_alike_and_nothing_differs(small_run, copy):
    data = study.compare([small_run, copy("twin")])
    assert data["headline"] == "The same predictions"
    assert data["settings"]["differ"] == []
    assert data["settings"]["n_same"] > 50
    assert data["notes"] == []
    found = _test_of(data)["predictions"]
    assert found["identical"]
    assert found["log_loss"]["p_value"] == found["log_loss"]["p_holm"] == 1.0
    assert found["log_loss"]["says"] == "unclear"
    assert "predict alike" in data["sentences"][0]


def test_the_shape_that_other_programs_read(small_run, copy):
    data = json.loads(json_text(study.compare([small_run, copy("twin")])))
    assert data.keys() == {"headline", "sentences", "runs", "settings", "tests", "best_of",
                           "overfitting", "notes"}  # fmt: skip
    run = data["runs"][0]
    assert {"letter", "name", "folder", "kind", "verdict", "measures", "baseline", "tokens",
            "trading", "cost", "curves"} <= run.keys()  # fmt: skip
    assert [run["letter"] for run in data["runs"]] == ["A", "B"]
    metrics = json.loads((small_run / "metrics.json").read_text())
    assert run["measures"]["log_loss"] == metrics["model"]["pooled"]["log_loss"]
    losses = {name: b["pooled"]["log_loss"]["value"] for name, b in metrics["baselines"].items()}
    assert run["baseline"]["name"] == min(losses, key=losses.get)
    account = json.loads((small_run / "backtest.json").read_text())["pooled"]
    assert run["trading"]["pnl"] == account["pnl"]
    assert run["cost"]["epochs"] == 3
    assert run["cost"]["rows_per_s"] > 0
    assert len(run["curves"]["training"]["epoch"]) == 3
    assert run["curves"]["equity"]["return_frac"][-1] == pytest.approx(account["roi_frac"])
    verdict = json.loads((small_run / "verdict.json").read_text())
    assert run["verdict"]["n_passed"] == sum(gate["passed"] for gate in verdict["gates"])
    test = data["tests"][0]
    assert {"reference", "run", "names", "predictions", "daily_pnl", "sentences"} <= test.keys()
    for kind in ("log_loss", "accuracy", "balanced_accuracy"):
        entry = test["predictions"][kind]
        assert {"value", "low", "high", "n", "p_value", "p_holm", "says"} <= entry.keys()


def test_a_run_that_knows_more_is_found_whichever_is_named_first(small_run, copy):
    wise = copy("wise")
    rewrite(wise, wiser)
    there, back = study.compare([small_run, wise]), study.compare([wise, small_run])
    assert there["headline"] == "B has a lower log loss than A"
    assert back["headline"] == "A has a lower log loss than B"
    gain = _test_of(there)["predictions"]["log_loss"]
    assert gain["says"] == "better"
    assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert _test_of(back)["predictions"]["log_loss"]["says"] == "worse"
    pattern = (
        r"B \(wise\) has a lower log loss than A \(small\) on 1,1\d\d common rows: by 0\.\d{4}"
    )
    assert re.match(pattern, there["sentences"][0])
    assert "has a higher log loss" in back["sentences"][0]
    assert " -" not in back["sentences"][0], "the sentence names the direction, not a sign"


def test_three_runs_are_tested_against_the_first_and_adjusted_by_holm(small_run, copy):
    wise, noisy = copy("wise"), copy("noisy")
    rewrite(wise, wiser)
    random = np.random.default_rng(3)

    def shaken(table):
        p = table.select(P).to_numpy() * np.exp(random.normal(0, 0.02, (len(table), 3)))
        p /= p.sum(axis=1, keepdims=True)
        return table.with_columns(pl.Series(name, p[:, k]) for k, name in enumerate(P))

    rewrite(noisy, shaken)
    data = study.compare([small_run, wise, noisy])
    assert [(test["reference"], test["run"]) for test in data["tests"]] == [(0, 1), (0, 2)]
    first, second = (test["predictions"]["log_loss"] for test in data["tests"])
    assert first["p_holm"] == pytest.approx(2 * first["p_value"])
    assert second["p_holm"] == second["p_value"]
    assert (first["says"], second["says"]) == ("better", "unclear")
    assert data["headline"] == "B has a lower log loss than A"
    assert "No difference in log loss between C (noisy) and A (small)" in data["sentences"][2]


def test_runs_without_common_rows_say_so(small_run, copy):
    later = copy("later")
    rewrite(later, lambda t: t.with_columns(pl.col("timestamp").dt.offset_by("900d")))
    data = study.compare([small_run, later])
    assert data["headline"] == "Not comparable"
    assert "no row is common" in data["sentences"][0]
    assert _test_of(data)["predictions"]["n_common"] == 0


def test_under_another_label_rule_no_loss_is_compared(small_run, copy):
    other = copy("other")
    _set(other, "horizon_bars: 3", "horizon_bars: 4")
    # One label in a hundred differs: with the same rule that would be a limit that moved a little.
    row = pl.int_range(pl.len())
    moved = pl.when(row % 100 == 0).then((pl.col("label") + 1) % 3).otherwise(pl.col("label"))
    rewrite(other, lambda t: t.with_columns(moved.cast(pl.Int8)))
    data = study.compare([small_run, other])
    reason = _test_of(data)["predictions"]["reason"]
    assert reason.startswith("another label rule (labels.horizon_bars)")
    assert data["headline"] == "Not comparable"
    _set(other, "horizon_bars: 4", "horizon_bars: 3")
    found = _test_of(study.compare([small_run, other]))["predictions"]
    assert found["comparable"]
    assert found["n_labels_differ"] > 0


def test_settings_that_differ_are_shown_with_every_value_and_the_others_are_not(small_run, copy):
    one, two = copy("one"), copy("two")
    _set(one, "learning_rate: 0.001", "learning_rate: 0.01")
    _set(two, "  batch_size: 64\n", "")
    data = study.compare([small_run, one, two])
    assert data["settings"]["differ"] == [
        {"key": "training.batch_size", "values": [64, 64, None], "missing_in": ["C"]},
        {"key": "training.learning_rate", "values": [0.001, 0.01, 0.001], "missing_in": []},
    ]


def test_what_was_earned_by_day_is_compared_on_common_days(copy):
    one, other = copy("one"), copy("other")
    less, more = _trade_once_a_day(one, 0.0, 1), _trade_once_a_day(other, 3.0, 2)
    data = study.compare([one, other])
    found = _test_of(data)["daily_pnl"]
    assert (found["n_common_days"], found["from"]) == (250, "2024-01-01")
    assert found["value"] == pytest.approx((more - less).mean())
    assert found["says"] == "better"
    assert "B (other) earned more than A (one) on 250 common days" in data["sentences"][1]


def _forecasting(folder, noise):
    """Give a run forecasts of random walks, off by some noise."""
    rows = baseline_of(walk(600), "x", noise=noise, point=False).drop("baseline")
    rows.write_parquet(folder / "forecasts.parquet")
    path = folder / "metrics.json"
    found = evaluation.forecast_metrics(rows, None, n_resamples=100)
    path.write_text(json_text(json.loads(path.read_text()) | {"forecast": found}))
    return found["model"]["pooled"]


def test_forecasts_of_two_runs_are_tested_on_common_rows(copy):
    folders = [copy("good"), copy("bad"), copy("classes")]
    of_good, of_bad = (
        _forecasting(folder, noise) for folder, noise in zip(folders[:2], (0.0, 0.01), strict=True)
    )
    data = study.compare(folders)
    assert [run["forecast"] is None for run in data["runs"]] == [False, False, True]
    assert data["runs"][1]["forecast"]["crps_bps"] == json.loads(json_text(of_bad["crps_bps"]))
    test, without = data["tests"]
    assert without["forecasts"] is None
    entry = test["forecasts"]["crps"]
    expected = of_good["crps_bps"]["value"] - of_bad["crps_bps"]["value"]
    assert entry["value"] == pytest.approx(expected)
    assert entry["says"] == "worse"
    assert entry["p_holm"] == entry["p_value"], "only one pair of runs forecasts"
    sentence = test["sentences"][1]
    assert re.match(r"B \(bad\) has a higher CRPS than A \(good\) on 4,800 common", sentence)
    assert " bps, 95 % interval" in sentence
    assert len(without["sentences"]) == 2


def test_a_few_days_are_too_few_to_compare_accounts(small_run, copy):
    found = _test_of(study.compare([small_run, copy("twin")]))["daily_pnl"]
    assert not found["comparable"]
    assert "at least 20 needed" in found["reason"]


def test_what_makes_numbers_less_alike_is_noted(small_run, copy):
    other = copy("other")
    info = json.loads((other / "data_info.json").read_text())
    info["BBB"]["digest"] = "0" * 64
    info["AAA"]["instrument"]["tick_size"] *= 10
    (other / "data_info.json").write_text(json.dumps(info))
    _set(other, "fee_frac: 0.00018", "fee_frac: 0.0005")
    facts = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(facts | {"kind": "judged", "device": "cuda:0"}))
    notes = "\n".join(study.compare([small_run, other])["notes"])
    assert "The bars of BBB are not the same" in notes
    assert "The instruments or funding rates of AAA are not the same" in notes
    assert "backtest.costs.fee_frac" in notes
    assert "A cpu, B cuda:0" in notes
    assert "B (other): predictions that were made elsewhere" in notes


def test_a_file_of_ones_own_that_was_edited_is_noted(copy):
    folders = [copy(name) for name in ("before", "after")]
    for folder, sha256 in zip(folders, ("a" * 64, "b" * 64), strict=True):
        facts = json.loads((folder / "run.json").read_text())
        own = {"features": {"own": "mine.py:make", "sha256": sha256}}
        (folder / "run.json").write_text(json.dumps(facts | {"own": own}))
    assert (
        "mine.py:make was edited between the runs (run.json, sha256)."
        in (study.compare(folders)["notes"])
    )
    assert not [note for note in study.compare(folders[:1] * 2)["notes"] if "edited" in note]


def test_what_an_older_run_did_not_keep_is_none(small_run, copy):
    old = copy("old")
    for name in ("run.json", "training_log.jsonl", "trades.parquet", "equity.parquet"):
        (old / name).unlink()
    run = study.compare([small_run, old])["runs"][1]
    assert run["cost"]["peak_memory_bytes"] is None
    assert run["cost"]["epochs"] is None
    assert run["curves"] == {"equity": None, "training": None}


def test_the_last_line_of_a_log_may_be_cut_off_but_no_other(small_run, copy):
    cut = copy("cut")
    path = cut / "training_log.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert study.compare([small_run, cut])["runs"][1]["cost"]["epochs"] == 2
    path.write_text("{oops\n" + whole)
    with pytest.raises(RunError, match=r"training_log\.jsonl, line 1: not valid JSON"):
        study.compare([small_run, cut])


def test_fewer_than_two_or_the_same_folder_twice_is_refused(small_run):
    with pytest.raises(UsageError, match="at least two"):
        study.compare([small_run])
    with pytest.raises(UsageError, match="the same folder"):
        study.compare([small_run, small_run / ".." / small_run.name])


def test_what_is_no_run_or_not_finished_is_refused_with_the_way_out(small_run, copy, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no run here"):
        study.compare([small_run, tmp_path / "empty"])
    cut = copy("cut")
    (cut / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"unfinished \(metrics\.json is missing\).*resume .*cut"):
        study.compare([small_run, cut])


def test_damaged_files_are_refused_by_name(small_run, copy):
    broken = copy("broken")
    (broken / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"predictions\.parquet"):
        study.compare([small_run, broken])
    for name in ("metrics.json", "study.yaml"):
        damaged = copy(f"damaged_{name}")
        (damaged / name).write_text("{[")
        with pytest.raises(RunError, match=re.escape(name)):
            study.compare([small_run, damaged])


def test_names_are_as_short_as_they_can_be_and_different(tmp_path):
    paths = [tmp_path / "a" / "demo", tmp_path / "b" / "demo", tmp_path / "b" / "wide"]
    assert short_names(paths) == ["a/demo", "b/demo", "wide"]
    deep = [tmp_path / "x" / "n" / "r", tmp_path / "y" / "n" / "r", tmp_path / "n" / "r"]
    assert short_names(deep)[:2] == ["x/n/r", "y/n/r"]
    assert len(set(short_names(deep))) == 3
    assert [letter_of(k) for k in (0, 25, 26, 27)] == ["A", "Z", "AA", "AB"]


def _tokens_of(data, run=1):
    return _test_of(data, run)["tokens"]


def test_a_run_without_tokens_has_none_and_is_not_tested_on_them(small_run, copy):
    data = study.compare([small_run, add_tokens(copy("market"))], n_resamples=100)
    assert [run["tokens"] is None for run in data["runs"]] == [True, False]
    assert _tokens_of(data) is None
    assert not [sentence for sentence in data["sentences"] if "token" in sentence]


def test_tokens_stand_beside_the_best_baseline_in_nats_and_bits(small_run, copy):
    data = study.compare([small_run, add_tokens(copy("market"), seeds=(0, 1))], n_resamples=100)
    found = data["runs"][1]["tokens"]
    assert found["baseline"]["name"] == "markov_1"
    assert found["gain"]["value"] == pytest.approx(SAVED, abs=0.005)
    assert found["gain_bits"] == pytest.approx(found["gain"]["value"] / np.log(2))
    assert found["perplexity"]["value"] == pytest.approx(np.exp(found["log_loss"]["value"]))
    assert found["accuracy"]["value"] > found["best_constant"]["value"]
    assert (found["kind"], found["vocabulary"], found["parameters"]) == ("vq", 64, 714)
    assert found["tokenizers"] == ["aa"]


def test_models_of_one_tokenizer_are_tested_on_their_common_tokens(copy):
    good = add_tokens(copy("good"), saved=0.13, seeds=(0, 1), first=100)
    runs = [add_tokens(copy("base")), good, add_tokens(copy("bad"), saved=0.05)]
    data = study.compare(runs, n_resamples=500)
    better, worse = _tokens_of(data, 1), _tokens_of(data, 2)
    assert (better["n_common"], worse["n_common"]) == (1000, 1200), "seeds are averaged"
    assert better["share_of_reference"] == pytest.approx(1000 / 1200)
    assert better["log_loss"]["value"] == pytest.approx(0.03, abs=0.005)
    assert (better["log_loss"]["says"], worse["log_loss"]["says"]) == ("better", "worse")
    assert better["log_loss"]["p_holm"] >= better["log_loss"]["p_value"]
    assert better["accuracy"]["says"] == "unclear"
    said = "B (good) has a lower loss of tokens than A (base) on 1,000 common tokens: by 0.0"
    assert any(sentence.startswith(said) for sentence in data["sentences"])
    back = _tokens_of(study.compare(runs[1::-1], n_resamples=500))
    assert back["log_loss"]["value"] == pytest.approx(-better["log_loss"]["value"])


def test_the_same_losses_are_told_alike(copy):
    data = study.compare([add_tokens(copy("base")), add_tokens(copy("twin"))], n_resamples=100)
    assert _tokens_of(data)["identical"]
    assert (
        "B (twin) and A (base) foretell alike: no loss differs on 1,200 common tokens."
        in (data["sentences"])
    )


def test_losses_of_other_tokenizers_are_not_compared_but_what_each_saves_is_told(copy):
    other = add_tokens(copy("bins"), digest="bb", saved=0.3, kind="bins", vocabulary=32)
    data = study.compare([add_tokens(copy("base")), other], n_resamples=100)
    found = _tokens_of(data)
    assert not found["comparable"]
    assert "log_loss" not in found
    reason = "The token losses of B (bins) and A (base) cannot be compared: they have other token"
    assert any(sentence.startswith(reason) for sentence in data["sentences"])
    own = data["sentences"][-3]
    assert own.startswith("Each beside its own best baseline: A (base) saves 0.1")
    assert "B (bins) saves 0.3" in own


def test_one_tokenizer_at_other_times_leaves_nothing_to_compare(copy):
    later = add_tokens(copy("later"), first=5000)
    found = _tokens_of(study.compare([add_tokens(copy("base")), later], n_resamples=100))
    assert not found["comparable"]
    assert found["n_common"] == 0
    assert found["reason"].startswith("no token is common to both")


def test_losses_that_are_not_finite_are_left_out_and_counted_out(copy):
    odd = add_tokens(copy("odd"), saved=0.2)
    path = odd / "tokens.parquet"
    table = pl.read_parquet(path).with_row_index()
    lost = pl.when(pl.col("index") < 40).then(float("nan")).otherwise(pl.col("loss"))
    table.with_columns(loss=lost).drop("index").write_parquet(path)
    found = _tokens_of(study.compare([add_tokens(copy("base")), odd], n_resamples=100))
    assert (found["n_common"], found["n"]) == (1200, 1160)
    assert found["log_loss"]["value"] == pytest.approx(0.1, abs=0.01)


def test_seeds_with_tokenizers_of_their_own_meet_only_their_like(copy):
    mixed = add_tokens(copy("mixed"), seeds=(0, 1))
    path = mixed / "models" / "market_fold0_seed1" / "config.json"
    path.write_text(path.read_text().replace('"aa"', '"bb"'))
    data = study.compare([add_tokens(copy("base")), mixed], n_resamples=100)
    assert data["runs"][1]["tokens"]["tokenizers"] == ["aa", "bb"]
    found = _tokens_of(data)
    assert found["n_common"] == 1200
    assert found["share_of_other"] == 0.5


def test_trainings_one_after_the_other_are_epochs_of_their_own(copy):
    run = add_tokens(copy("market"))
    reports = [
        {"epoch": 2 * seed + epoch, "member_epoch": epoch, "tokens_per_s": 1000.0 * epoch,
         "members": [{"validation_loss": 3.0 - epoch - 0.5 * seed}], "rows_per_s": 1.0}
        for seed in (0, 1)
        for epoch in (1, 2)
    ]  # fmt: skip
    log = "".join(f"{json_text(report)}\n" for report in reports)
    (run / "training_log.jsonl").write_text(log)
    found = study.compare([copy("base"), run], n_resamples=100)["runs"][1]
    assert found["curves"]["training"] == {"epoch": [1, 2], "median_validation_loss": [1.75, 0.75]}
    assert (found["cost"]["epochs"], found["cost"]["tokens_per_s"]) == (2, 1500.0)
