"""Everything that is tried stands in the ledger, once, and what is taken out of it shows."""

import json
import multiprocessing
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest

from command import call
from study.searches import search
from study.trial_entries import entry, series
from study_runs import small_bars, small_study
from walkforge import study
from walkforge.base import RunError, Silent
from walkforge.market import bars_to_frame
from walkforge.statistics import deflated_sharpe, moments_of
from walkforge.study._trial_entries import settings_of
from walkforge.study._trial_ledger import read_ledger
from walkforge.study._trials import enter, entries_of

Process = multiprocessing.get_context("fork").Process

QUICK = [
    "seeds=[0]",
    "training.epochs=1",
    "judge.baselines=[majority, prior]",
    "judge.n_resamples=100",
    "backtest.n_random=5",
]


class Noting(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, line):
        self.notes.append(line)


class CutOff(Silent):
    """Ends a run the moment it wants to learn, as one does who does not like what is to come."""

    def stage(self, name):
        if name == "training":
            raise KeyboardInterrupt


def quick(*more):
    return small_study(*QUICK, *more)


def quick_run(place, *more, watcher=None):
    return study.run(quick(*more), place, bars=small_bars(), watcher=watcher)


def kept(folder, name="run.json"):
    return json.loads((folder / name).read_text())["ledger"]


def notes_of(folder):
    return " ".join(json.loads((folder / "verdict.json").read_text())["notes"])


def counted(*entries):
    """Return how many trials the last of these entries makes on its bars."""
    return [enter([one], Silent())["trials"] for one in entries][-1]


# The file


def test_each_line_holds_the_digest_of_the_one_before_it(workspace):
    for name in ("s1", "s2", "s3"):
        enter([entry(name)], Silent())
    ledger = read_ledger()
    assert ledger.path == workspace / "trials.jsonl"
    assert [line["kind"] for line in ledger.lines] == ["begin", "run", "run", "run"]
    assert [line["before"] for line in ledger.lines] == ["", *ledger.digests[:-1]]
    assert ledger.broken_at is None
    assert study.trials()["trouble"] is None


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"s1", b"s0"), *lines[2:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: [*lines[:2], b"", *lines[2:]], 4),
    ],
    ids=["edited", "taken away", "first one taken away", "swapped", "a line more"],
)
def test_a_line_that_was_touched_breaks_the_chain_and_the_command_exits_1(change, broken_at):
    for name in ("s1", "s2", "s3"):
        enter([entry(name)], Silent())
    path = read_ledger().path
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())) + b"\n")
    assert read_ledger().broken_at == broken_at
    status, out, _ = call("trials")
    assert status == 1
    assert f"line {broken_at} does not follow" in out


def test_wherever_a_killed_process_was_cut_off_the_others_lines_stay_and_the_chain_holds():
    enter([entry("s1")], Silent())
    path = read_ledger().path
    whole = path.read_bytes()
    enter([entry("s2")], Silent())
    line = path.read_bytes()[len(whole) :]
    for n_bytes in (1, 2, len(line) // 2, len(line) - 2, len(line) - 1):
        path.write_bytes(whole + line[:n_bytes])
        enter([entry("s3")], Silent())
        ledger = read_ledger()
        is_whole = n_bytes == len(line) - 1  # only its line break is missing
        found = [one.settings for one in entries_of(ledger)]
        assert found == (["s1", "s2", "s3"] if is_whole else ["s1", "s3"])
        assert ledger.n_unfinished == (0 if is_whole else 1)
        assert path.read_bytes().startswith(whole + line[:n_bytes]), "nothing is ever taken out"
        assert study.trials()["trouble"] is None


def _enter_many(name, n_lines):
    for number in range(n_lines):
        enter([entry(f"{name}-{number}", folder=name)], Silent())


def test_several_processes_at_once_make_one_chain():
    names = ("one", "two", "three")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads; ours rest
        processes = [Process(target=_enter_many, args=(name, 20)) for name in names]
        for process in processes:
            process.start()
    for process in processes:
        process.join()
    ledger = read_ledger()
    found = [one.settings for one in entries_of(ledger)]
    assert sorted(found) == sorted(f"{name}-{n}" for name in names for n in range(20))
    assert len(ledger) == 61
    assert ledger.broken_at is None


def test_runs_without_a_folder_of_their_own_lie_beside_the_ledger(workspace, monkeypatch):
    assert study.default_folder("mine").parent == workspace
    monkeypatch.delenv("WALKFORGE_WORKSPACE")
    assert str(study.default_folder("mine").parent) == "runs"


def test_what_cannot_be_entered_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WALKFORGE_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"cannot be read and written.*WALKFORGE_WORKSPACE"):
        quick_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What counts


def test_the_same_again_is_no_new_trial_other_settings_and_other_seeds_are():
    assert counted(entry("s1"), entry("s1", folder="runs/b")) == 1
    assert counted(entry("s2")) == 2
    assert counted(entry("s2", seeds=(0, 1, 2))) == 4


@pytest.mark.parametrize(
    ("changes", "n_trials"),
    [
        ({"digest": "d2", "last": "2024-09-30 23:00", "tested": ("2024-06-01", "2024-10-01")}, 2),
        ({"digest": "d2", "tested": ("2024-07-01 00:00", "2024-10-01 00:00")}, 1),
        ({"tested": ("2024-07-01 00:00", "2024-10-01 00:00")}, 1),
        ({"digest": "d2", "timeframe": "15m"}, 2),
        ({"venue": "copied", "symbol": "BTC"}, 2),
        ({"digest": "d2", "venue": "bybit"}, 1),
        ({"digest": "d2", "symbol": "ETHUSDT"}, 1),
        ({"digest": "d2", "provenance": "simulated"}, 1),
        ({"provenance": "simulated"}, 2),
    ],
    ids=["newer bars", "newer bars, later test", "later test", "other timeframe", "renamed",
         "other venue", "other symbol", "made up under one name", "made up, the same"],
)  # fmt: skip
def test_trials_count_where_the_same_prices_were_tested_at_the_same_time(changes, n_trials):
    assert counted(entry("s1"), entry("s2", **changes)) == n_trials


def test_one_common_series_makes_two_portfolios_trials_on_the_same_bars():
    ether = series(symbol="ETHUSDT", digest="d2")
    assert counted(entry("s1", series(), ether), entry("s1", ether)) == 2


@pytest.mark.parametrize(
    "same", ["name=other", "note=again", "seeds=[7]", "device.device=cpu", "judge.n_trials=9",
             "judge.profile=v8", "tune.trials=3", "backtest.costs.fee_frac=0.001",
             "backtest.capital=5000", "data.bars=elsewhere", "judge.n_resamples=300"],
)  # fmt: skip
def test_what_changes_no_prediction_and_no_trade_is_no_setting(same):
    assert settings_of(small_study(same)) == settings_of(small_study())


@pytest.mark.parametrize(
    "other", ["features.set=v8", "labels.horizon_bars=4", "folds.test=310", "model.widths=[8]",
              "training.epochs=4", "judge.min_edge=0.1", "judge.calibration=platt",
              "backtest.bracket.stop_atr=2.0", "data.most_liquid=5"],
)  # fmt: skip
def test_whatever_changes_predictions_or_trades_is_another_setting(other):
    assert settings_of(small_study(other)) != settings_of(small_study())


# Runs


def test_a_run_counts_from_before_it_learns_and_once(tmp_path, workspace):
    with pytest.raises(KeyboardInterrupt):
        quick_run(tmp_path / "cut", watcher=CutOff())
    (line,) = entries_of(read_ledger())
    assert (line.kind, line.folder, line.seeds) == ("run", str(tmp_path / "cut"), (0,))
    info = json.loads((tmp_path / "cut" / "data_info.json").read_text())
    assert {one.symbol: one.digest for one in line.series} == {
        name: told["digest"] for name, told in info.items()
    }
    folder = quick_run(tmp_path / "other", "training.batch_size=32")
    assert kept(folder) == {
        "path": str(workspace / "trials.jsonl"),
        "lines": 3,
        "head": read_ledger().head,
        "settings": 2,
        "trials": 2,
        "trouble": None,
    }


def test_a_run_that_is_taken_up_again_is_not_counted_again(tmp_path):
    venue = tmp_path / "venue"
    for symbol, bars in small_bars().items():
        (venue / symbol).mkdir(parents=True)
        bars_to_frame(bars).write_parquet(venue / symbol / "1m.parquet")
    with pytest.raises(KeyboardInterrupt):
        study.run(quick(f"data.bars={venue}"), tmp_path / "run", watcher=CutOff())
    before = kept(tmp_path / "run")
    study.resume(tmp_path / "run")
    assert kept(tmp_path / "run") == before
    assert len(read_ledger()) == 2
    # Killed after the ledger was written and before the run's folder was.
    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        study.run(quick(f"data.bars={venue}"), again, watcher=CutOff())
    facts = json.loads((again / "run.json").read_text())
    del facts["ledger"]
    (again / "run.json").write_text(json.dumps(facts))
    study.resume(again)
    assert len(read_ledger()) == 3
    assert kept(again)["trials"] == 1


def test_the_deflated_sharpe_ratio_counts_the_ledgers_trials_and_verdict_and_report_say_so(
    tmp_path,
):
    first = quick_run(tmp_path / "first")
    quick_run(tmp_path / "second", "training.batch_size=32", "seeds=[0, 1]")
    third = quick_run(tmp_path / "third", "training.batch_size=16")
    numbers = [
        json.loads((one / "backtest.json").read_text())["pooled"]["n_trials"]
        for one in (first, third)
    ]
    assert numbers == [1, 4]
    assert "4 trials counted: 4 on these bars by the trial ledger (3 settings;" in notes_of(third)
    page = (third / "report.html").read_text()
    assert "4 trials counted: 4 on these bars by the trial ledger" in page
    assert "4 counted; 4 on these bars by the trial ledger" in page


def test_a_study_that_counts_more_itself_has_the_last_word(tmp_path):
    folder = quick_run(tmp_path / "run", "judge.n_trials=7", "seeds=[0, 1]")
    backtest = json.loads((folder / "backtest.json").read_text())
    assert backtest["pooled"]["n_trials"] == 14
    assert "14 trials counted, by judge.n_trials; there are 2 on these bars" in notes_of(folder)


def test_a_finished_verdict_stays_and_judge_says_that_there_are_more_trials_by_now(tmp_path):
    folder = quick_run(tmp_path / "run")
    before = (folder / "verdict.json").read_bytes()
    assert study.later_trials_told(folder) is None
    enter([replace(entries_of(read_ledger())[0], settings="other", folder="b")], Silent())
    status, _, err = call("judge", str(folder))
    assert status == 0
    assert "by now the trial ledger has 2 trials on these bars; the verdict counts the 1" in err
    assert (folder / "verdict.json").read_bytes() == before


def test_a_search_enters_all_its_trials_and_its_best_is_no_new_setting(tmp_path):
    bars = small_bars()
    folder = study.tune(search(), tmp_path / "search", bars=bars)
    lines = entries_of(read_ledger())
    assert [(one.kind, one.trial, one.seeds) for one in lines] == [
        ("trial", number, (0,)) for number in range(1, 11)
    ]
    told = kept(folder, "tune.json")
    assert (told["settings"], told["trials"], told["lines"]) == (10, 10, 11)
    best = study.load(folder / "best.yaml", QUICK[2:])
    run = study.run(best, tmp_path / "best", bars=bars)
    assert kept(run)["settings"] == 10
    assert kept(run)["trials"] == 11  # the best one's second seed


def test_an_ensemble_predictions_from_elsewhere_and_another_bracket_are_trials(tmp_path):
    venue = tmp_path / "venue"
    for symbol, bars in small_bars().items():
        (venue / symbol).mkdir(parents=True)
        bars_to_frame(bars).write_parquet(venue / symbol / "1m.parquet")
    own = (f"data.bars={venue}", "folds.test=400")
    plans = (quick(*own), quick(*own, "training.batch_size=32"))
    runs = [study.run(plan, tmp_path / name) for plan, name in zip(plans, "ab", strict=True)]
    joined, _ = study.ensemble(runs, out=tmp_path / "joined", with_lightgbm=False)
    assert kept(joined)["settings"] == 3
    words = ["judge.baselines=[majority, prior]", "judge.n_resamples=100", "backtest.n_random=5"]
    table = runs[0] / "predictions.parquet"
    for name in ("judged", "again"):
        made, _ = study.judge_predictions(table, venue, out=tmp_path / name, overrides=words)
        assert kept(made)["settings"] == 4
    assert entries_of(read_ledger())[-1].folder == str(tmp_path / "again")
    assert study.backtest_again(runs[0], ["capital=5000"])["pooled"]["n_trials"] == 1
    other = study.backtest_again(runs[0], ["bracket.stop_atr=2.0"])
    assert other["pooled"]["n_trials"] == 5
    assert [one.kind for one in entries_of(read_ledger())] == [
        "run", "run", "ensemble", "judged", "judged", "backtest",
    ]  # fmt: skip


def test_a_study_run_twice_gives_the_same_numbers_and_stays_one_trial(tmp_path):
    one, two = (quick_run(tmp_path / name) for name in ("one", "two"))
    for file in ("backtest.json", "metrics.json", "verdict.json"):
        assert (one / file).read_bytes() == (two / file).read_bytes()


# What is gone


@pytest.fixture
def remembering(workspace):
    """Return the folder of a run, in the workspace, that remembers a ledger of three lines."""
    enter([entry("s1", digest="other", venue="other")], Silent())
    return quick_run(workspace / "first")


def test_a_ledger_that_was_deleted_shows_in_judge_doctor_trials_and_the_next_run(
    remembering, workspace
):
    (workspace / "trials.jsonl").unlink()
    words = f"the trial ledger is gone, and with it the 3 lines that {remembering} remembers"
    study.judge(remembering)
    assert words in notes_of(remembering)
    findings = study.doctor(speed=False)["findings"]
    assert any(words in one["what"] for one in findings)
    status, out, _ = call("trials")
    assert status == 1
    assert words in out.replace("\n", " ")
    listener = Noting()
    second = quick_run(workspace / "second", "training.batch_size=32", watcher=listener)
    assert any(line.startswith("warning: ") and words in line for line in listener.notes)
    assert f"began anew on {read_ledger().lines[0]['when']} UTC" in notes_of(second)
    assert f"without the 3 lines that {remembering} remembers" in notes_of(second)
    first_line = read_ledger().lines[0]
    assert words in first_line["in_place_of"]
    # From now on the new ledger itself says it, also when no run is left to remember the old one.
    assert "began anew on" in study.trials()["trouble"]
    shutil.rmtree(remembering)
    assert "began anew on" in study.trials()["trouble"]


def test_a_ledger_that_was_cut_short_shows_even_when_it_has_grown_again(remembering, workspace):
    path = workspace / "trials.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert read_ledger().broken_at is None
    assert f"the 3 lines that {remembering} remembers" in study.trials()["trouble"]
    for name in ("s2", "s3", "s4"):
        enter([entry(name)], Silent())
    assert "was cut short or edited" in study.trials()["trouble"]


def test_a_run_elsewhere_remembers_the_ledger_that_it_was_entered_in(
    tmp_path, workspace, monkeypatch
):
    folder = quick_run(tmp_path / "elsewhere")
    (workspace / "trials.jsonl").unlink()
    study.judge(folder)
    assert "the trial ledger is gone" in notes_of(folder)
    monkeypatch.setenv("WALKFORGE_WORKSPACE", str(tmp_path / "mine"))
    study.judge(folder)  # one that somebody else made, say
    assert "gone" not in notes_of(folder)


# What it shows


def test_trials_lists_per_market_what_was_tried(workspace):
    status, out, _ = call("trials")
    assert (status, read_ledger().lines) == (0, ())
    assert "nothing has been tried" in out
    ether = series(symbol="ETHUSDT", digest="d2")
    enter([entry("s1", series(), ether, seeds=(0, 1))], Silent())
    enter([entry("s2", series(), ether)], Silent())
    enter([entry("s3", series(symbol="SOLUSDT", digest="d3"), folder="runs/c")], Silent())
    status, out, _ = call("trials")
    assert status == 0
    assert "the chain holds" in out
    status, out, _ = call("trials", "--json")
    first, second = json.loads(out)["data"]
    assert first["series"] == ["binance/BTCUSDT/1h", "binance/ETHUSDT/1h"]
    assert (first["settings"], first["trials"], first["runs"]) == (2, 3, ["runs/a"])
    assert first["tested"] == ["2024-01-01 00:00", "2024-07-01 00:00"]
    assert (first["first"], first["last"]) == ("2026-01-01 12:00:00", "2026-01-01 12:00:00")
    assert (second["series"], second["trials"]) == (["binance/SOLUSDT/1h"], 1)
    assert not list(workspace.glob("*.part"))


def test_more_trials_raise_the_bar_of_the_same_returns():
    moments = moments_of(np.random.default_rng(3).normal(0.002, 0.01, 300))
    few, many = (deflated_sharpe(moments, n_trials=n) for n in (1, 50))
    assert many < few
