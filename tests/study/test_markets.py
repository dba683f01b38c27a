"""A market without signal lets no model out; the same market with a planted edge does.

Both are one study on simulated bars: GARCH volatility and fat tails, with and without a pattern
in the shocks that says something about the next bar. Rates over many markets are another matter;
here one of each goes the whole way.
"""

import json

import pytest

from walkforge import study
from walkforge.market import BarStore

STUDY = {
    "name": "markets",
    "seeds": [0, 1],
    "data": {"source": "simulated", "timeframe": "1h"},
    "features": {"set": "v8", "scaler": "robust"},
    "labels": {
        "kind": "volatility",
        "horizon_bars": 1,
        "volatility_bars": 60,
        "volatility_multiple": 0.43,
    },
    "folds": {
        "kind": "walk_forward",
        "unit": "bars",
        "count": 2,
        "validation": 500,
        "calibration": 500,
        "test": 1200,
        "embargo_bars": 5,
    },
    "model": {"name": "mlp", "widths": [64, 32], "dropout": 0.1},
    "training": {
        "epochs": 30,
        "batch_size": 128,
        "learning_rate": 0.002,
        "weight_decay": 0.01,
        "patience": 6,
    },
    "judge": {"n_resamples": 500},
    "backtest": {
        "size_capital_frac": 0.5,
        "sizes": [0.5],
        "n_random": 100,
        "n_resamples": 500,
        "bracket": {"stop_atr": 3.0, "target_atr": 4.0, "max_hold_bars": 1},
    },
}


def _verdict(kind: str, out):
    plain = json.loads(json.dumps(STUDY))
    plain["data"]["simulated"] = {"kind": kind, "n_bars": 9000, "seed": 11, "edge": 0.8}
    folder = study.run(study.from_plain(plain, "test"), out)
    verdict = json.loads((folder / "verdict.json").read_text())
    return verdict, _by_name(verdict)


def _by_name(verdict):
    return {gate["name"]: gate for gate in verdict["gates"]}


@pytest.mark.slow
def test_a_market_without_signal_lets_no_model_out(tmp_path):
    verdict, gates = _verdict("garch", tmp_path / "null")
    assert verdict["fit"] is False
    assert not gates["knows_direction"]["passed"]


@pytest.mark.slow
def test_the_same_market_with_a_strong_planted_edge_lets_the_model_out_but_not_up(tmp_path):
    verdict, gates = _verdict("planted", tmp_path / "planted")
    assert verdict["fit"] is True, [g["reason"] for g in gates.values() if not g["passed"]]
    assert verdict["promotable"] is False
    assert verdict["alarms"] == []
    _assert_fit_as_somebody_elses(tmp_path)


def _assert_fit_as_somebody_elses(tmp_path):
    """The same predictions are fit too when they come as a table from elsewhere."""
    plan = study.load(tmp_path / "planted" / "study.yaml")
    bars = study.read_bars(plan)["SIM"]
    BarStore(tmp_path / "store").write(bars)
    settings = plan.backtest
    _, verdict = study.judge_predictions(
        tmp_path / "planted" / "predictions.parquet",
        tmp_path / "store" / bars.venue,
        out=tmp_path / "judged",
        overrides=[
            f"backtest.size_capital_frac={settings.size_capital_frac}",
            "backtest.bracket={stop_atr: 3.0, target_atr: 4.0, max_hold_bars: 1}",
        ],
    )
    assert verdict["fit"] is True, [g["reason"] for g in verdict["gates"] if not g["passed"]]
    assert verdict["promotable"] is False
    assert any("train_test_gap was not asked" in note for note in verdict["notes"])
