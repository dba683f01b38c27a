"""Every planted fault is caught, by the guard that is meant, and nothing sound is reported."""

from contextlib import contextmanager

import pytest

from study.token_studies import token_study, two_symbols
from study_runs import small_bars, small_study
from walkforge import audit, study
from walkforge.audit import FAULTS, GUARDS, Fault, audit_study
from walkforge.audit import _audit_study as room
from walkforge.audit._faults_bars import lent_universe
from walkforge.audit._specimen import Specimen
from walkforge.base import Silent, UsageError

N_BARS = 2_600
CAUGHT_BY = {
    "scaler_all_rows": "poison of fits",
    "limits_all_rows": "poison of fits",
    "random_split": "rows",
    "stratified_split": "rows",
    "no_purge": "rows",
    "no_embargo": "rows",
    "rows_twice": "rows",
    "feature_one_bar_ahead": "poison of fits",
    "centred_mean": "poison of fits",
    "longer_bar_too_soon": "poison of fits",
    "target_as_feature": "poison of fits",
    "calibrated_on_test": "poison of weights",
    "stopped_on_test": "networks",
    "chosen_on_test": "poison of the search",
    "other_layers_in_training": "networks",
    "other_scaling_in_training": "networks",
    "temperature_in_loss": "networks",
    "class_collapse": "networks",
    "logit_explosion": "networks",
    "frozen_weights": "networks",
    "constant_predictions": "networks",
    "entry_at_decision": "fills",
    "stop_after_entry_bar": "fills",
    "target_first": "fills",
    "no_fees": "fills",
    "survivors_only": "universe",
    "random_walk": "bars",
    "repeated_blocks": "bars",
    "no_ticks": "bars",
    "wrong_time_zone": "bars",
}
NO_MEANING = {"tokenizer_all_rows", "no_gaps"}


@pytest.fixture(scope="module")
def report():
    """Return the audit of `demo`, short, over three seeds."""
    return audit_study(study.load("demo"), n_bars=N_BARS, n_seeds=3)


def test_every_fault_is_caught_by_the_guard_that_is_meant(report):
    assert {one.fault: one.guard for one in report.faults if one.state == "caught"} == CAUGHT_BY
    assert {one.fault for one in report.faults if one.state == "no meaning"} == NO_MEANING
    assert all(one.words for one in report.faults)


def test_the_sound_pipeline_is_not_reported(report):
    assert report.seeds == (0, 1, 2)
    assert report.alarms == ()
    assert report.passed


def test_every_fault_and_guard_has_a_name_of_its_own():
    assert len({one.name for one in FAULTS}) == len(FAULTS) == len(CAUGHT_BY) + len(NO_MEANING)
    assert {*CAUGHT_BY.values()} <= {one.name for one in GUARDS}


@contextmanager
def _harmless(sound):
    yield sound.from_stage("trade")


def test_a_fault_that_no_guard_sees_is_missed_and_said_to_be(monkeypatch):
    fault = Fault(name="harmless", says="nothing is wrong", stage="trade", planted=_harmless)
    monkeypatch.setattr(room, "FAULTS", (fault,))
    found = audit_study(small_study(), bars=small_bars(), n_bars=2_200)
    assert [one.state for one in found.faults] == ["missed"]
    assert found.alarms == ()
    assert not found.passed


def test_what_the_sound_pipeline_shows_too_is_no_catch(monkeypatch):
    def suspicious(specimen):
        yield "something is always wrong"

    guard = audit.Guard("suspicious", "reports everything", "trade", suspicious)
    fault = Fault(name="harmless", says="nothing is wrong", stage="trade", planted=_harmless)
    monkeypatch.setattr(room, "FAULTS", (fault,))
    monkeypatch.setattr(room, "GUARDS", (guard,))
    found = audit_study(small_study(), bars=small_bars(), n_bars=2_200)
    assert [one.state for one in found.faults] == ["missed"]
    assert [found.words for _, found in found.alarms] == ["something is always wrong"]
    assert found.as_dict()["sound"]["findings"] == [
        {"seed": 0, "guard": "suspicious", "words": "something is always wrong"}
    ]


def test_an_unknown_fault_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="no_purge"):
        audit_study(small_study(), bars=small_bars(), faults=["no_purgy"])


def test_rooms_are_as_they_were_after_a_fault():
    from walkforge import features, folds

    before = folds.rows_of, features.build_all
    audit_study(small_study(), bars=small_bars(), faults=["no_purge", "centred_mean"], n_bars=2_200)
    assert (folds.rows_of, features.build_all) == before


def test_the_tokenizer_of_a_market_gpt_is_watched():
    found = audit_study(
        token_study(), bars=two_symbols(), n_bars=1_400, faults=["tokenizer_all_rows"]
    )
    assert found.alarms == ()
    assert [(one.state, one.guard) for one in found.faults] == [("caught", "poison of fits")]


def test_a_universe_that_keeps_its_dead_is_not_reported():
    sound = Specimen.of(small_study(), small_bars())
    with lent_universe(sound) as lent:
        assert len(lent.source) == len(sound.source) + 1
        assert list(_guard("universe").find(lent)) == []


def _guard(name):
    return next(one for one in GUARDS if one.name == name)


def test_progress_is_told():
    class Told(Silent):
        def __init__(self):
            self.lines = []

        def stage(self, name):
            self.lines.append(name)

        def item(self, done, total, what):
            self.lines.append(f"{done}/{total} {what}")

    told = Told()
    audit_study(small_study(), bars=small_bars(), faults=["no_purge"], n_bars=2_200, watcher=told)
    assert told.lines == ["the sound pipeline", "0/1 seed 0", "planted faults", "0/1 no_purge"]
