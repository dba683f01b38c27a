"""A search for better settings: honest about what it sees, and about how much it tried."""

import json

import numpy as np
import pytest

from forked import exit_code
from study.killed import search_or_resume
from study.searches import CutOff, Onlooker, ledger, search
from study_runs import small_bars, small_study
from walkforge import study
from walkforge.base import FoldError, RunError, Silent, StudyError, TrainingError
from walkforge.market import Instrument, bars_to_frame, write_instruments
from walkforge.study import _tune_search
from walkforge.study._prepare import prepare
from walkforge.study._tune_ask import ask
from walkforge.study._tune_ledger import Trial
from walkforge.study._tune_pack import packs_of, train_trials
from walkforge.study._tune_space import ranges_of, with_settings
from walkforge.study._tune_worlds import Worlds


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    """Return a folder with the small bars, for searches that go on in another call."""
    return _write_bars(tmp_path_factory.mktemp("venue"))


def _write_bars(folder):
    for symbol, bars in small_bars().items():
        path = folder / symbol / "1m.parquet"
        path.parent.mkdir(parents=True)
        bars_to_frame(bars).write_parquet(path)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, venue):
    """Return the folder of a search that nothing cut off, and what was seen meanwhile."""
    seen = Onlooker()
    out = tmp_path_factory.mktemp("searches") / "whole"
    return study.tune(search(f"data.bars={venue}"), out, watcher=seen), seen


def _never(losses):
    return False


def _searched(tmp_path, *settings, bars=None, watcher=None):
    return study.tune(
        search(*settings), tmp_path / "search", bars=bars or small_bars(), watcher=watcher
    )


def test_every_trial_stands_in_the_ledger_and_counts(whole):
    folder, _ = whole
    trials = ledger(folder)
    assert [one["number"] for one in trials] == list(range(1, 11))
    assert [one["batch"] for one in trials] == [1] * 6 + [2] * 4
    summary = json.loads((folder / "tune.json").read_text())
    assert summary["n_trials"] == sum(summary["states"].values()) == 10
    assert summary["states"]["pruned"] >= 1
    best = min((one for one in trials if one["state"] == "complete"), key=lambda one: one["value"])
    assert summary["best"]["number"] == best["number"]
    assert summary["best"]["settings"] == best["settings"]
    assert not (folder / "checkpoints").exists()
    assert not list(folder.rglob(".*.part"))


def test_the_first_trial_is_the_study_as_it_stands(whole):
    folder, _ = whole
    plan = study.load(folder / "study.yaml")
    assert ledger(folder)[0]["settings"] == {
        "training.learning_rate": plan.training.learning_rate,
        "model.dropout": plan.model.dropout,
    }


@pytest.fixture(scope="module")
def best_run(whole, tmp_path_factory):
    """Return the folder of a run of the best study."""
    overrides = ["judge.baselines=[prior]", "judge.n_resamples=100", "backtest.n_random=5"]
    best = study.load(whole[0] / "best.yaml", overrides)
    return study.run(best, tmp_path_factory.mktemp("runs") / "best")


def test_the_best_study_has_the_settings_and_its_gates_know_how_many_were_tried(whole, best_run):
    folder, _ = whole
    best = study.load(folder / "best.yaml")
    trial = json.loads((folder / "tune.json").read_text())["best"]
    assert best.training.learning_rate == trial["settings"]["training.learning_rate"]
    assert best.model.dropout == trial["settings"]["model.dropout"]
    assert best.judge.n_trials == 10
    assert "the best of 10 trials" in best.note
    pooled = json.loads((best_run / "backtest.json").read_text())["pooled"]
    assert pooled["n_trials"] == 10 * len(best.seeds)


def test_a_run_of_the_best_study_trains_the_network_that_the_trial_did(whole, best_run):
    lines = (best_run / "training_log.jsonl").read_text().splitlines()
    losses: dict[str, list[float]] = {}
    for one in (one for line in lines for one in json.loads(line)["members"]):
        if one["fold"] == one["seed"] == 0:
            losses.setdefault(one["symbol"], []).append(one["validation_loss"])
    trial = json.loads((whole[0] / "tune.json").read_text())["best"]
    value = np.mean([min(own) for own in losses.values()])
    assert trial["value"] == pytest.approx(value, rel=1e-5)


def test_what_was_tried_before_the_search_counts_as_well(tmp_path):
    folder = _searched(tmp_path, "judge.n_trials=3", "tune.trials=2", "note=Mine.")
    best = study.load(folder / "best.yaml")
    assert best.judge.n_trials == 6
    assert best.note.startswith("Mine. Tuned: ")


def test_trials_of_one_network_train_as_members_of_one_pack(whole):
    _, seen = whole
    widths = seen.widths()
    assert list(widths) == [
        "trials 1, 3, 5 of 10", "trials 2, 4, 6 of 10", "trials 7, 9 of 10", "trials 8, 10 of 10"
    ]  # fmt: skip
    assert [width[0] for width in widths.values()] == [6, 6, 4, 4]  # trials times symbols


def test_a_trial_in_a_pack_is_what_it_is_alone(tmp_path):
    """Within the tolerance of float32: a wider pack rounds in another order."""
    plan = search()
    world = Worlds(small_bars(), plan, ranges_of(plan)).of(plan)
    rates = {1: 1e-3, 4: 1e-2, 7: 3e-4}
    trials = {
        number: with_settings(plan, {"training.learning_rate": rate})
        for number, rate in rates.items()
    }
    assert packs_of(trials) == [[1, 4, 7]]
    settings = {"is_hopeless": _never, "watcher": Silent()}
    packed = train_trials(trials, world, checkpoints=tmp_path / "all", **settings)
    for number, one in trials.items():
        alone = train_trials({number: one}, world, checkpoints=tmp_path / str(number), **settings)
        np.testing.assert_allclose(packed[number]["losses"], alone[number]["losses"], rtol=1e-5)
        assert packed[number]["members"] == 2
        assert packed[number]["best_epoch"] == alone[number]["best_epoch"]
    assert len({one["value"] for one in packed.values()}) == 3


def test_other_settings_than_rate_and_decay_make_another_pack():
    plan = search()
    changes = {
        1: {"training.learning_rate": 0.1, "training.weight_decay": 0.2},
        2: {"model.dropout": 0.3},
        3: {"training.weight_decay": 0.0},
        4: {"training.batch_size": 32},
        5: {"features.window_bars": 2},
        6: {"model.dropout": 0.3, "training.learning_rate": 0.5},
        7: {"model.hidden": 5},  # which an mlp does not read
    }
    trials = {number: with_settings(plan, one) for number, one in changes.items()}
    assert packs_of(trials) == [[1, 3, 7], [2, 6], [4], [5]]


def test_pruned_trials_leave_their_pack_and_the_others_stay_as_they_are(whole, tmp_path, venue):
    """Within rounding: the second batch's packs hold fewer trials in the calm search. Members that
    stay in one and the same pack are bit-identical; see the tests of the trainer."""
    folder, seen = whole
    pruned = [one for one in ledger(folder) if one["state"] == "pruned"]
    assert all(2 <= one["epochs"] < 4 for one in pruned)
    narrowed = [width for width in seen.widths().values() if width[-1] < width[0]]
    assert narrowed, "no pack became narrower"
    assert sum(width[0] - width[-1] for width in narrowed) <= 2 * len(pruned)
    calm = Onlooker()
    out = study.tune(
        search("tune.pruning=false", "tune.trials=8", f"data.bars={venue}"),
        tmp_path / "calm",
        watcher=calm,
    )
    assert {one["state"] for one in ledger(out)} == {"complete"}
    assert all(width == [width[0]] * 4 for width in calm.widths().values())
    for before, after in zip(ledger(folder), ledger(out), strict=False):
        assert before["settings"] == after["settings"]
        assert before["losses"] == pytest.approx(after["losses"][: before["epochs"]], rel=1e-6)


def _with_noise(bars, from_ms):
    """Return bars with wild noise in every bar that is not complete before `from_ms`."""
    random = np.random.default_rng(7)
    late = bars.closes_at >= from_ms
    close = 300.0 * np.exp(np.cumsum(random.normal(0, 0.05, late.sum())))
    noise = {"open": close * 1.01, "close": close, "high": close * 1.2, "low": close * 0.8,
             "volume": random.lognormal(9, 3, late.sum())}  # fmt: skip
    fields = ("venue", "symbol", "timeframe", "timestamp", "provenance", "calendar")
    changed = {name: getattr(bars, name).copy() for name in noise}
    for name, values in noise.items():
        changed[name][late] = values
    return type(bars)(**{name: getattr(bars, name) for name in fields}, **changed)


@pytest.mark.parametrize("space", [[], ["tune.space.features.window_bars={low: 1, high: 3}"]],
                         ids=["settings", "windows"])  # fmt: skip
def test_noise_after_validation_leaves_every_trial_bit_identical(space, tmp_path):
    few = ["tune.trials=4", "training.epochs=2", *space]
    bars = small_bars()
    fold = prepare(bars, search()).parts[0].fold
    late = {name: _with_noise(one, fold.validation.to_ms) for name, one in bars.items()}
    early = {name: _with_noise(one, fold.validation.from_ms) for name, one in bars.items()}
    clean = ledger(study.tune(search(*few), tmp_path / "clean", bars=bars))
    assert ledger(study.tune(search(*few), tmp_path / "late", bars=late)) == clean
    if not space:
        # Guard of the guard: one slice earlier the same noise is noticed.
        assert ledger(study.tune(search(*few), tmp_path / "early", bars=early)) != clean


def test_all_folds_are_used_only_where_asked_for_and_the_best_study_says_so(tmp_path):
    seen = Onlooker()
    folder = _searched(tmp_path, "tune.folds=all", "tune.trials=2", watcher=seen)
    assert [one["members"] for one in ledger(folder)] == [4, 4]  # symbols times folds
    assert "test slices of earlier folds" in study.load(folder / "best.yaml").note
    assert any("warning" in note and "earlier folds" in note for note in seen.notes)


def test_other_windows_are_measured_on_the_same_validation_rows():
    plan = search("tune.space.features.window_bars={choices: [1, 9]}", "folds.kind=ratio")
    worlds = Worlds(small_bars(), plan, ranges_of(plan))
    narrow, wide = (
        worlds.of(with_settings(plan, {"features.window_bars": bars})) for bars in (1, 9)
    )
    own = prepare(small_bars(), plan)
    for one, other, alone in zip(narrow.parts, wide.parts, own.parts, strict=True):
        np.testing.assert_array_equal(one.rows.validation, other.rows.validation)
        assert set(one.rows.validation) < set(alone.rows.validation)
        assert len(one.rows.train) > len(other.rows.train)
    assert worlds.of(plan).table is narrow.table, "prepared twice"


def test_windows_that_leave_no_rows_are_refused_and_nothing_stays_behind(tmp_path):
    with pytest.raises(StudyError, match=r"features\.window_bars"):
        _searched(tmp_path, "tune.space.features.window_bars={low: 0, high: 5}")
    with pytest.raises(FoldError):
        _searched(tmp_path, "tune.space.features.window_bars={low: 1, high: 1900}")
    assert not (tmp_path / "search").exists()


# How it goes on


def _go(venue, folder, dies_at=0) -> int:
    """Search or go on in a process of its own; return its exit status."""
    code = exit_code(search_or_resume, venue, folder, dies_at)
    assert code in (0, -9)
    return code


def _assert_same_search(folder, whole):
    assert ledger(folder) == ledger(whole)
    assert (folder / "best.yaml").read_text() == (whole / "best.yaml").read_text()
    summaries = [json.loads((one / "tune.json").read_text()) for one in (folder, whole)]
    for key in ("best", "states", "n_trials", "data_digest", "space", "n_wanted"):
        assert summaries[0][key] == summaries[1][key], key
    assert not (folder / "checkpoints").exists()
    assert not list(folder.rglob(".*.part"))


def test_killed_twice_in_the_middle_a_search_comes_out_the_same(venue, whole, tmp_path):
    folder = tmp_path / "search"
    assert _go(venue, folder, 260) == -9
    assert list((folder / "checkpoints").iterdir())
    assert _go(venue, folder, 240) == -9
    assert _go(venue, folder) == 0
    _assert_same_search(folder, whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", range(30, 560, 75))
def test_killed_at_any_moment_a_search_comes_out_the_same(dies_at, venue, whole, tmp_path):
    folder = tmp_path / "search"
    assert _go(venue, folder, dies_at) == -9
    assert _go(venue, folder) == 0
    _assert_same_search(folder, whole[0])


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
def test_interrupted_anywhere_a_search_comes_out_the_same(share, venue, whole, tmp_path):
    folder, at = tmp_path / "search", int(share * whole[1].moves)
    with pytest.raises(KeyboardInterrupt):
        study.tune(search(f"data.bars={venue}"), folder, watcher=CutOff(at))
    study.resume_tuning(folder)
    _assert_same_search(folder, whole[0])


def test_damaged_checkpoints_cost_time_and_no_trial(venue, whole, tmp_path):
    folder = tmp_path / "search"
    with pytest.raises(KeyboardInterrupt):
        study.tune(search(f"data.bars={venue}"), folder, watcher=CutOff(150))
    files = list((folder / "checkpoints").rglob("*.safetensors"))
    assert files
    for path in files:
        path.write_bytes(b"not a checkpoint")
    seen = Onlooker()
    study.resume_tuning(folder, watcher=seen)
    assert any("from the start" in note for note in seen.notes)
    _assert_same_search(folder, whole[0])


def test_a_log_that_lost_its_end_costs_time_and_no_trial(venue, whole, tmp_path):
    folder = tmp_path / "search"
    with pytest.raises(KeyboardInterrupt):
        study.tune(search(f"data.bars={venue}"), folder, watcher=CutOff(150))
    (log,) = (folder / "checkpoints").rglob("training_log.jsonl")
    lines = log.read_text().splitlines()
    assert lines
    log.write_text("")
    study.resume_tuning(folder)
    _assert_same_search(folder, whole[0])


def test_a_finished_search_is_not_computed_again(venue, whole):
    folder, _ = whole
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    seen = Onlooker()
    assert study.resume_tuning(folder, watcher=seen) == folder
    assert not seen.reports
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_with_more_trials_a_finished_search_goes_on(venue, tmp_path):
    folder = study.tune(search("tune.trials=4", f"data.bars={venue}"), tmp_path / "search")
    first = ledger(folder)
    study.resume_tuning(folder, trials=7)
    assert ledger(folder)[:4] == first
    assert len(ledger(folder)) == 7
    assert study.load(folder / "best.yaml").judge.n_trials == 7
    study.resume_tuning(folder)
    assert len(ledger(folder)) == 7


def test_bars_or_a_study_that_changed_are_refused(tmp_path):
    venue = _write_bars(tmp_path / "venue")
    plan = search("tune.trials=2", f"data.bars={venue}")
    folder = study.tune(plan, tmp_path / "search")
    other = small_bars()["AAA"].take(slice(0, 2190))
    bars_to_frame(other).write_parquet(venue / "AAA" / "1m.parquet")
    with pytest.raises(RunError, match="the bars of AAA have changed"):
        study.resume_tuning(folder, trials=4)
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("epochs: 4", "epochs: 5"))
    with pytest.raises(RunError, match=r"study\.yaml has changed since the search began"):
        study.resume_tuning(folder, trials=4)


def test_all_trials_of_a_search_share_the_instruments_that_it_began_with(tmp_path):
    venue = _write_bars(tmp_path / "venue")
    settings = ("labels.kind=triple_barrier", f"data.bars={venue}")
    alone = study.tune(search("tune.trials=4", *settings), tmp_path / "alone")
    folder = study.tune(search("tune.trials=2", *settings), tmp_path / "search")
    began = json.loads((folder / "data_info.json").read_text())["AAA"]["instrument"]
    other = Instrument(**began | {"tick_size": 100 * began["tick_size"]})
    write_instruments(venue, {"AAA": other}, source="made", fetched_at="later")
    study.resume_tuning(folder, trials=4)
    assert ledger(folder) == ledger(alone)
    assert json.loads((folder / "data_info.json").read_text())["AAA"]["instrument"] == began


def test_a_folder_in_use_and_a_folder_without_a_search_are_refused(whole, tmp_path):
    folder, _ = whole
    with pytest.raises(RunError, match=r"not empty.*walkforge tune --resume"):
        study.tune(search(), folder, bars=small_bars())
    with pytest.raises(RunError, match="no search here"):
        study.resume_tuning(tmp_path)


# What fails


def test_a_trial_that_diverges_failed_and_counts(tmp_path):
    folder = _searched(
        tmp_path,
        "tune.space={training.learning_rate: {choices: [1.0e+30, 1.0e-3]}}",
        "training.learning_rate=1e30",
        "tune.trials=2",
    )
    first, second = ledger(folder)
    assert (first["state"], first["value"], first["epochs"]) == ("failed", None, 2)
    assert "2 of 2 members never had a finite validation loss" in first["reason"]
    assert second["state"] == "complete"
    assert study.load(folder / "best.yaml").judge.n_trials == 2


def test_a_search_in_which_nothing_was_completed_says_why(tmp_path):
    with pytest.raises(TrainingError, match=r"none of 2 trials was completed.*never had a finite"):
        _searched(
            tmp_path,
            "tune.space={training.learning_rate: {low: 1.0e+30, high: 1.0e+31}}",
            "tune.trials=2",
        )
    assert not (tmp_path / "search" / "best.yaml").exists()
    assert json.loads((tmp_path / "search" / "tune.json").read_text())["best"] is None


def test_a_pack_without_room_is_halved_and_a_trial_without_room_failed(tmp_path, monkeypatch):
    tried = []

    def narrow(trials, prepared, **settings):
        tried.append(list(trials))
        if len(trials) > 1 or 5 in trials:
            raise TrainingError("not enough memory")
        return train_trials(trials, prepared, **settings)

    monkeypatch.setattr(_tune_search, "train_trials", narrow)
    folder = _searched(tmp_path, "tune.trials=6")
    assert tried == [[1, 3, 5], [1], [3, 5], [3], [5], [2, 4, 6], [2], [4, 6], [4], [6]]
    states = {one["number"]: (one["state"], one["reason"]) for one in ledger(folder)}
    assert states[5] == ("failed", "not enough memory")
    assert sum(state == "complete" for state, _ in states.values()) == 5


def test_a_search_ends_where_there_are_no_further_settings(tmp_path):
    folder = _searched(
        tmp_path,
        "tune.space={training.schedule: {choices: [cosine, constant]}}",
        "tune.trials=9",
    )
    assert len(ledger(folder)) == 2
    assert {one["state"] for one in ledger(folder)} == {"complete"}


def test_a_forecaster_is_tuned_likewise(tmp_path):
    folder = _searched(
        tmp_path,
        "model.name=bilstm", "model.encoder=[4]", "model.decoder_hidden=4",
        "features.window_bars=4", "training.epochs=1", "tune.trials=2",
        "tune.space={training.learning_rate: {low: 1e-3, high: 1e-2}}",
    )  # fmt: skip
    assert [one["state"] for one in ledger(folder)] == ["complete", "complete"]
    assert study.load(folder / "best.yaml").model.forecasts


# What is asked


def _trial(number, settings, value, batch=1):
    return Trial(number=number, batch=batch, settings=settings, state="complete", value=value,
                 losses=[value])  # fmt: skip


SPACE = ["tune.space={training.learning_rate: {low: 1e-4, high: 1e-1, log: true}, "
         "model.dropout: {low: 0, high: 0.5}}"]  # fmt: skip


def test_the_same_is_asked_for_again_and_a_pack_shares_what_it_must():
    plan = small_study(*SPACE, "tune.packs_at_once=2")
    ranges = ranges_of(plan)
    start = {"training.learning_rate": 1e-3, "model.dropout": 0.0}
    first = ask(plan.tune, ranges, [], batch=1, n_trials=8, start=start)
    assert first == ask(plan.tune, ranges, [], batch=1, n_trials=8, start=start)
    assert first[:3] == ask(plan.tune, ranges, [], batch=1, n_trials=3, start=start)
    assert first[0] == start
    assert len({one["model.dropout"] for one in first}) == 2
    assert len({one["training.learning_rate"] for one in first}) == 8
    tried = [_trial(n, one, float(n)) for n, one in enumerate(first, 1)]
    second = ask(plan.tune, ranges, tried, batch=2, n_trials=4, start=start)
    assert second == ask(plan.tune, ranges, tried, batch=2, n_trials=4, start=start)
    other = small_study(*SPACE, "tune.seed=1")
    assert second != ask(other.tune, ranges, tried, batch=2, n_trials=4, start=start)


def test_later_trials_come_nearer_to_what_was_good():
    plan = small_study(*SPACE)
    ranges = ranges_of(plan)
    start = {"training.learning_rate": 1e-3, "model.dropout": 0.0}

    def distance(settings):
        return abs(np.log10(settings["training.learning_rate"]) + 2)  # from 0.01

    tried: list[Trial] = []
    for batch in range(1, 7):
        asked = ask(plan.tune, ranges, tried, batch=batch, n_trials=8, start=start)
        number = len(tried) + 1
        tried += [_trial(number + n, one, distance(one), batch) for n, one in enumerate(asked)]
    far = [distance(one.settings) for one in tried]
    assert np.median(far[-16:]) < 0.5 * np.median(far[:8])


def test_whole_numbers_steps_and_lists_come_out_as_the_study_has_them():
    plan = small_study(
        "tune.space={training.batch_size: {low: 16, high: 64, step: 16}, "
        "training.clip_norm: {low: 0.5, high: 2, step: 0.5}, "
        "training.plateau_patience: {low: 1, high: 9, log: true}, "
        "model.widths: {choices: [[8], [8, 4]]}, model.norm: {choices: [layer, none]}}"
    )
    ranges = ranges_of(plan)
    for settings in ask(plan.tune, ranges, [], batch=1, n_trials=12, start={"model.norm": "batch"}):
        assert settings["training.batch_size"] in (16, 32, 48, 64)
        assert isinstance(settings["training.batch_size"], int)
        assert settings["training.clip_norm"] in (0.5, 1.0, 1.5, 2.0)
        assert settings["training.plateau_patience"] in range(1, 10)
        tried = with_settings(plan, settings)
        assert tried.model.widths in ((8,), (8, 4))
        assert tried.training.batch_size == settings["training.batch_size"]


# What may be tuned


REFUSED = {
    "labels.horizon_bars={low: 1, high: 9}": "may not be tuned: it changes the question",
    "folds.count={low: 1, high: 9}": "folds.count may not be tuned: it changes the question",
    "data.timeframe={choices: [1m, 5m]}": "data.timeframe may not be tuned",
    "judge.min_edge={low: 0, high: 1}": "judge.min_edge may not be tuned: it changes the question",
    "backtest.bracket.stop_atr={low: 1, high: 2}": "backtest.bracket.stop_atr may not be tuned",
    "device.precision={choices: [float32, bfloat16]}": "where and how exactly is computed",
    "seeds={choices: [[0], [1]]}": "a seed is luck and not a setting",
    "training.loss={choices: [focal, cross_entropy]}": "it changes the loss itself",
    "training.focal_gamma={low: 1, high: 2}": "it changes the loss itself",
    "training.label_smoothing={low: 0, high: 0.2}": "it changes the loss itself",
    "training.class_weights={choices: [none, balanced]}": "it changes the loss itself",
    "training.heads.ohlc={low: 0, high: 1}": "training.heads.ohlc may not be tuned",
    "model.learned_weights={choices: [true, false]}": "it changes the loss itself",
    "training.learning_rat={low: 0.1, high: 1}": "(did you mean 'training.learning_rate'?)",
    "trainin.epochs={low: 1, high: 2}": "unknown key 'trainin.epochs'",
    "training.learning_rate={lo: 0.1, high: 1}": "unknown key 'lo' (did you mean 'low'?)",
    "training.learning_rate={low: 0.1}": "has no high; expected both",
    "training.learning_rate={low: 1, high: 0.1}": "low must be below high",
    "training.learning_rate={low: 0, high: 0.1, log: true}": "with log: true it must be above 0",
    "training.learning_rate={low: fast, high: 0.1}": "low is 'fast'; expected a number",
    "training.learning_rate={low: 0.1, high: .inf}": "high is inf; expected a number",
    "training.learning_rate={low: 0.1, high: 1, log: maybe}": "expected true or false",
    "training.learning_rate={low: 0.1, high: 1, step: 2}": "step is 2",
    "training.learning_rate={choices: [0.1]}": "expected a list of at least two",
    "training.learning_rate={choices: [0.1, 1e-1]}": "expected each once",
    "training.learning_rate={choices: [0.1, 1], low: 0}": "has both choices and low",
    "training.learning_rate=0.1": "learning_rate is 0.1; expected {low: 1, high: 10}",
    "training.epochs={low: 1.5, high: 3}": "takes whole numbers",
    "training.epochs={low: 0, high: 3}": "training.epochs is 0; it must be at least 1",
    "training.schedule={low: 0, high: 3}": "training.schedule is no number; give {choices",
    "training.schedule={choices: [cosine, cosin]}": "training.schedule is 'cosin'; choose",
    "model.dropout={low: 0, high: 1}": "model.dropout is 1.0; expected 0 to below 1",
    "model.hidden={low: 4, high: 8}": "model.name mlp does not read model.hidden",
    "model.name={choices: [mlp, gruu]}": "model.name is 'gruu'",
    "model.name={choices: [mlp, bilstm]}": "some tell classes and some forecast",
    "features.set={choices: [gru, v9]}": "unknown feature set 'v9'",
}


@pytest.mark.parametrize("space", REFUSED)
def test_what_cannot_be_tuned_is_refused_with_the_reason(space):
    with pytest.raises(StudyError) as refused:
        ranges_of(small_study(f"tune.space.{space}"))
    assert REFUSED[space] in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trials=0", r"tune\.trials is 0; expected at least 1"),
        ("at_once=0", r"tune\.at_once is 0"),
        ("packs_at_once=0", r"tune\.packs_at_once is 0"),
        ("warmup_epochs=-1", r"tune\.warmup_epochs is -1"),
        ("seed=-1", r"tune\.seed is -1"),
        ("trial=3", r"unknown key 'tune\.trial' \(did you mean 'trials'\?\)"),
        ("folds=last", r"tune\.folds is 'last'"),
    ],
)
def test_nonsense_in_the_section_is_refused(setting, message):
    with pytest.raises(StudyError, match=message):
        small_study(f"tune.{setting}")


def test_a_space_is_the_same_flat_nested_and_from_its_own_yaml(tmp_path):
    rate = "{low: 1e-4, high: 1e-2, log: true}"
    nested = small_study(f"tune.space.training.learning_rate={rate}")
    flat = small_study(f"tune.space={{training.learning_rate: {rate}}}")
    assert nested == flat
    assert nested.tune.space == {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    (tmp_path / "mine.yaml").write_text(study.as_yaml(nested))
    assert study.load(tmp_path / "mine.yaml") == nested


@pytest.mark.parametrize("preset", study.preset_names())
def test_every_preset_can_be_tuned_without_naming_a_range(preset):
    from walkforge.study._tune_space import DEFAULT_SPACE

    plan = study.load(preset)
    space = {path: json.dumps(one) for path, one in DEFAULT_SPACE.items()}
    overrides = [f"tune.space.{path}={one}" for path, one in space.items()]
    assert list(ranges_of(study.load(preset, overrides))) == list(DEFAULT_SPACE)
    assert not plan.tune.space
