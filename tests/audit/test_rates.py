"""The rates of the whole pipeline, in a short form: nothing gets out of nothing, an edge does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from walkforge import audit, study
from walkforge.audit import Planted, Recipe, measure_markets, null_market, read_verdicts
from walkforge.base import UsageError

SHORT = [
    "data.simulated.n_bars=2600",
    "folds.unit=bars",
    "folds.count=2",
    "folds.validation=200",
    "folds.calibration=150",
    "folds.test=500",
    "model.hidden=8",
    "training.epochs=10",
    "training.batch_size=32",
    "judge.n_resamples=200",
    "backtest.n_random=40",
    "backtest.n_resamples=200",
]
PLAN = study.load("honesty", SHORT)
QUICK = study.load("honesty", [*SHORT, "training.epochs=1", "judge.baselines=[prior]"])
GARCH = Recipe("garch", 11, 2600, "1h")
# An edge far beyond any market's, so that a year's learning fits into three months.
PLANTED = Planted(seed=11, n_bars=2600, timeframe="1h", edge=1.0)


def _null(number: int):
    return null_market(GARCH, number)


@pytest.fixture(scope="module")
def null(tmp_path_factory) -> list[audit.MarketVerdict]:
    return measure_markets(PLAN, _null, 8, tmp_path_factory.mktemp("null"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> list[audit.MarketVerdict]:
    return measure_markets(PLAN, PLANTED.market, 4, tmp_path_factory.mktemp("planted"))


def test_no_model_gets_out_of_null_markets(null):
    assert [one.fit for one in null] == [False] * 8
    assert all("knows_direction" in one.gates for one in null)


def test_models_get_out_of_markets_with_a_strong_edge(planted):
    assert sum(one.fit for one in planted) >= 2
    assert min(one.sharpe_annual for one in planted) > 3


def test_every_market_is_judged_by_all_gates_of_the_profile(null, planted):
    assert {one.gates for one in null} == {one.gates for one in planted}
    assert len(null[0].gates) == 21
    assert set(null[0].failed) <= set(null[0].gates)
    assert {"knows_direction", "beats_chance", "beats_random_entries"} <= null[0].p_values.keys()


def test_a_market_alone_and_in_a_pack_get_the_same_verdict(null, tmp_path):
    alone = measure_markets(PLAN, lambda number: _null(number + 5), 1, tmp_path)[0]
    among = replace(null[5], market=0, seconds=alone.seconds)
    assert alone.failed == among.failed
    assert alone.n_trades == among.n_trades
    assert alone.p_values == pytest.approx(among.p_values, abs=1e-6)


def test_a_measurement_goes_on_after_a_line_that_was_cut_off(tmp_path):
    whole = measure_markets(QUICK, _null, 3, tmp_path / "whole")
    lines = (tmp_path / "whole" / "markets.jsonl").read_text().splitlines(keepends=True)
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "markets.jsonl").write_text(lines[0] + lines[1][:40])
    assert list(read_verdicts(begun)) == [0]
    went_on = measure_markets(QUICK, _null, 3, begun)
    assert [replace(one, measured={}, seconds=0) for one in went_on] == [
        replace(one, measured={}, seconds=0) for one in whole
    ]
    # In a pack of another size the last digits differ.
    for one, other in zip(went_on, whole, strict=True):
        assert one.measured.keys() == other.measured.keys()
        for name, pair in one.measured.items():
            assert pair == pytest.approx(other.measured[name], abs=1e-4), name
    kept = (begun / "markets.jsonl").read_text().splitlines()
    assert kept[0] + "\n" == lines[0]
    assert [json.loads(line)["market"] for line in kept[2:]] == [1, 2]


def test_gates_that_ask_for_a_number_keep_it_beside_their_limit(null, tmp_path):
    one = null[0]
    assert one.measured["knows_direction"][1] == 0.5
    assert one.measured["enough_trades"] == (float(one.n_trades), 30.0)
    assert "not_one_class" not in one.measured  # a share per class
    measured = measure_markets(QUICK, _null, 1, tmp_path)[0].measured
    assert read_verdicts(tmp_path)[0].measured == measured


def test_what_stands_there_is_not_computed_again(tmp_path):
    first = measure_markets(QUICK, _null, 2, tmp_path)

    def forbidden(number: int):
        raise AssertionError(f"market {number} was made again")

    assert measure_markets(QUICK, forbidden, 1, tmp_path) == first


def test_no_market_is_no_measurement(tmp_path):
    with pytest.raises(UsageError, match="0 markets"):
        measure_markets(QUICK, _null, 0, tmp_path)


def test_a_measurement_enters_nothing_into_the_ledger_of_trials(workspace, tmp_path):
    measure_markets(QUICK, _null, 1, tmp_path)
    assert list(workspace.iterdir()) == []
    assert study.trials()["lines"] == 0


class TestFolder:
    """One measurement in a folder."""

    def test_settings_stand_there_from_the_beginning_and_others_are_refused(self, tmp_path):
        data = audit.measure_null(QUICK, tmp_path, n_markets=1, seed=4)
        assert data == json.loads((tmp_path / "audit.json").read_text())
        assert data["markets"] == {
            "kind": "garch", "seed": 4, "n_bars": 2600, "timeframe": "1h", "real": {},
        }  # fmt: skip
        with pytest.raises(UsageError, match=r"markets\.seed is 4 there and 5 here"):
            audit.measure_null(QUICK, tmp_path, n_markets=1, seed=5)
        other = replace(QUICK, training=replace(QUICK.training, epochs=2))
        with pytest.raises(UsageError, match=r"study\.training\.epochs is 1 there and 2 here"):
            audit.measure_null(other, tmp_path, n_markets=1, seed=4)

    def test_more_markets_go_on_with_what_is_there(self, tmp_path):
        one = audit.measure_null(QUICK, tmp_path, n_markets=1)["results"][0]
        two = audit.measure_null(QUICK, tmp_path, n_markets=2)["results"][0]
        assert (one["n_markets"], two["n_markets"]) == (1, 2)
        assert two["seconds"] > one["seconds"]

    def test_real_bars_that_are_too_short_are_refused_before_anything_is_written(self, tmp_path):
        short = [_null(0).take(slice(0, 500))]
        with pytest.raises(
            UsageError,
            match="none of 1 real series has 2600 bars without a long hole, the longest has 500",
        ):
            audit.measure_null(QUICK, tmp_path / "a", n_markets=1, kind="signs", real=short)
        with pytest.raises(UsageError, match="--bars"):
            audit.measure_null(QUICK, tmp_path / "a", n_markets=1, kind="blocks")
        assert not (tmp_path / "a").exists()

    def test_real_bars_with_a_hole_of_months_make_no_market(self, tmp_path):
        whole = _null(0)
        later = whole.timestamp + 2000 * 3_600_000 * (np.arange(2600) > 900)
        holed = replace(whole, symbol="HOLED", timestamp=later)
        found = audit.measure_null(
            QUICK, tmp_path / "a", n_markets=1, kind="signs", real=[holed, whole]
        )
        assert list(found["markets"]["real"]) == [whole.symbol]
        with pytest.raises(UsageError, match="without a long hole"):
            audit.measure_null(QUICK, tmp_path / "b", n_markets=1, kind="signs", real=[holed])
