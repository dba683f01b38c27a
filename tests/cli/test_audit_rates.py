"""`walkforge audit --null` and `--planted`: what is asked, told, kept and refused."""

import json

import pytest

from command import call
from walkforge import study
from walkforge.base import write_text

QUICK = """
name: quick
data: {source: simulated, symbols: [M0000], timeframe: 1h, simulated: {n_bars: 2600}}
features: {set: returns, window_bars: 3}
labels: {kind: direction, horizon_bars: 1}
folds: {kind: walk_forward, unit: bars, count: 2, validation: 200, calibration: 150, test: 500}
model: {name: gru, hidden: 4}
training: {epochs: 1}
judge: {baselines: [prior], n_resamples: 100}
backtest: {n_random: 20, n_resamples: 100, size_capital_frac: 0.5, sizes: [0.5]}
"""


@pytest.fixture
def quick(tmp_path) -> str:
    path = tmp_path / "quick.yaml"
    write_text(path, QUICK)
    return str(path)


def test_null_markets_are_measured_kept_and_shown(quick, tmp_path):
    out = tmp_path / "null"
    status, told, _ = call("audit", quick, "--null", "2", "--out", str(out))
    assert status == 0
    assert "0.0 % let out: 0 of 2 null markets (garch), 95 % interval 0.0 to 84.2 %" in told
    assert told.splitlines()[-1] == str(out / "audit.html")
    assert {path.name for path in out.iterdir()} == {"audit.html", "audit.json", "markets.jsonl"}
    assert study.trials()["lines"] == 0


def test_json_has_what_the_folder_keeps(quick, tmp_path):
    out = tmp_path / "null"
    status, told, _ = call("audit", quick, "--null", "1", "--out", str(out), "--json")
    data = json.loads(told)
    assert status == 0
    assert {"audit": str(out), **json.loads((out / "audit.json").read_text())} == data


def test_other_settings_are_refused_in_a_folder_that_has_some(quick, tmp_path):
    asked = ("audit", quick, "--null", "1", "--out", str(tmp_path / "a"))
    assert call(*asked)[0] == 0
    status, _, problem = call(*asked, "--seed", "3")
    assert status == 2
    assert "markets.seed is 0 there and 3 here" in problem


def test_markets_of_signs_are_made_from_real_bars(quick, tmp_path):
    from drawn import random_bars
    from walkforge.market import BarStore

    BarStore(tmp_path / "bars").write(random_bars(3000, symbol="REAL", timeframe="1h"))
    asked = ("audit", quick, "--null", "1", "--kind", "signs", "--json", "--out")
    status, told, problem = call(
        *asked, str(tmp_path / "s"), "--bars", str(tmp_path / "bars/drawn")
    )
    assert (status, "real" in told) == (0, True), problem
    assert list(json.loads(told)["markets"]["real"]) == ["REAL"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--null", "2", "--planted", "2"), "two measurements"),
        (("--null", "2", "--edge", "5"), "--edge belongs to --planted"),
        (("--planted", "2", "--kind", "signs"), "--kind belongs to --null"),
        (("--null", "2", "--kind", "signs"), "--bars FOLDER and --kind signs or blocks"),
        (("--null", "2", "--bars", "bars"), "--bars FOLDER and --kind signs or blocks"),
        (("--null", "2", "--kind", "garhc"), "did you mean 'garch'"),
        (("demo", "--limits", "audits/null"), "ask for it by itself"),
        (("nobody", "--null", "2"), "no preset and no file named 'nobody'"),
    ],
)
def test_what_does_not_go_together_is_refused(words, said):
    status, _, problem = call("audit", *words)
    assert status == 2
    assert said in problem


def test_too_many_false_alarms_end_with_status_1(quick, tmp_path, monkeypatch):
    from walkforge import audit

    def alarming(plan, folder, **asked):
        data = real(plan, folder, **asked)
        data["results"][0]["rate"] |= {"value": 0.1, "low": 0.02}
        return data

    real = audit.measure_null
    monkeypatch.setattr(audit, "measure_null", alarming)
    assert call("audit", quick, "--null", "1", "--out", str(tmp_path / "a"))[0] == 1


def test_limits_are_drawn_from_measurements(quick, tmp_path):
    folders = []
    for seed in ("1", "2"):
        folders += ["--limits", str(tmp_path / seed)]
        asked = ("--null", "1", "--seed", seed, "--out", str(tmp_path / seed))
        assert call("audit", quick, *asked)[0] == 0
    status, told, _ = call("audit", *folders, "--out", str(tmp_path / "page.html"))
    assert (status, told.strip()) == (0, str(tmp_path / "page.html"))
    assert "null: garch" in (tmp_path / "page.html").read_text()


def test_limits_of_nothing_are_refused(quick, tmp_path):
    status, _, problem = call("audit", "--limits", str(tmp_path))
    assert status != 0
    assert "audit.json: not found" in problem
    (tmp_path / "audit.json").write_text('{"results": null}')
    status, _, problem = call("audit", "--limits", str(tmp_path))
    assert status != 0
    assert "is not finished" in problem
    (tmp_path / "audit.json").write_text('{"results": [{"rate": {}}]}')
    status, _, problem = call("audit", "--limits", str(tmp_path))
    assert status != 0
    assert "an older version measured it" in problem


def test_a_measurement_by_other_gates_is_not_gone_on_with(quick, tmp_path):
    asked = ("audit", quick, "--null", "1", "--out", str(tmp_path / "a"))
    assert call(*asked)[0] == 0
    path = tmp_path / "a" / "audit.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"gates": kept["gates"] | {"RANDOM_P": 0.01}}))
    status, _, problem = call(*asked)
    assert status != 0
    assert "gates.RANDOM_P is 0.01 there and 0.05 here" in problem
    path.write_text(json.dumps({k: v for k, v in kept.items() if k != "gates"}))
    status, _, problem = call(*asked)
    assert status != 0
    assert "gates is not told there, as of an older version" in problem
