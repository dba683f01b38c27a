"""Verdicts to rates, on made verdicts whose answers are known."""

import numpy as np
import pytest

from walkforge.audit import MarketVerdict
from walkforge.audit._limit_curves import P_LIMITS, limit_curves
from walkforge.audit._summary import power_reached, summary
from walkforge.gates import _limits as limits
from walkforge.gates import judge

GATES = ("knows_direction", "mean_trade_profit", "enough_trades")


def _verdict(number: int, *failed: str, p: float = 0.5, **more) -> MarketVerdict:
    plain = {
        "market": number,
        "fit": not failed,
        "failed": failed,
        "p_values": {"knows_direction": p, "mean_trade_profit": 1.0 - p},
        "measured": {"enough_trades": (40.0, 30.0)},
        "sharpe_annual": 2.0,
        "n_trades": 40,
        "alarms": (),
        "gates": GATES,
        "seconds": 0.5,
    }
    return MarketVerdict(**plain | more)


def test_rates_count_models_gates_and_what_one_gate_alone_held_back():
    verdicts = [
        *(_verdict(n) for n in range(6)),
        *(_verdict(n, "knows_direction") for n in range(6, 9)),
        _verdict(9, "knows_direction", "mean_trade_profit", sharpe_annual=None),
    ]
    found = summary(verdicts, costs=True)
    assert (found["n_markets"], found["n_fit"], found["seconds"]) == (10, 6, 5.0)
    # Clopper and Pearson for 6 of 10, as R's binom.test has it.
    assert found["rate"]["low"] == pytest.approx(0.2624, abs=5e-5)
    assert found["rate"]["high"] == pytest.approx(0.8784, abs=5e-5)
    assert found["sharpe_annual_mean"] == 2.0
    passed = {name: gate["passed"]["value"] for name, gate in found["gates"].items()}
    assert passed == {"knows_direction": 0.6, "mean_trade_profit": 0.9, "enough_trades": 1.0}
    assert {name: gate["alone"] for name, gate in found["gates"].items()} == {
        "knows_direction": 3, "mean_trade_profit": 0, "enough_trades": 0,
    }  # fmt: skip


def test_uniform_p_values_are_told_from_others_that_crowd():
    uniform = (np.arange(200) + 0.5) / 200
    spread = summary([_verdict(n, p=p) for n, p in enumerate(uniform)], costs=True)
    told = spread["p_values"]["knows_direction"]
    assert told["exact"]
    assert told["uniformity"]["p_value"] > 0.99
    assert told["below_5_percent"]["value"] == pytest.approx(0.05)
    crowded = summary([_verdict(n, p=p**2) for n, p in enumerate(uniform)], costs=True)
    assert crowded["p_values"]["knows_direction"]["uniformity"]["p_value"] < 1e-6


def test_profit_must_be_luck_only_where_trades_cost_nothing():
    verdicts = [_verdict(n) for n in range(20)]
    for costs in (True, False):
        told = summary(verdicts, costs=costs)["p_values"]["mean_trade_profit"]
        assert told["exact"] is not costs


def test_a_gate_on_trades_is_no_test_of_a_model_that_hardly_trades():
    few = [_verdict(n, "enough_trades", n_trades=3) for n in range(4)]
    many = [_verdict(n) for n in range(4, 30)]
    found = summary([*few, *many], costs=True)["p_values"]
    assert len(found["knows_direction"]["values"]) == 30
    assert len(found["mean_trade_profit"]["values"]) == 26
    assert summary(many[:19], costs=True)["p_values"] == {}  # too few to say anything


def _strength(sharpe: float, rate: float, low: float) -> dict:
    return {"oracle": {"sharpe": sharpe}, "rate": {"value": rate, "low": low}}


def test_power_is_reached_at_the_smallest_edge_from_which_on_all_are_let_out():
    curve = [
        _strength(2.0, 0.96, 0.90),
        _strength(3.0, 0.90, 0.80),
        _strength(5.0, 0.96, 0.92),
        _strength(7.0, 1.00, 0.96),
    ]
    assert power_reached(curve) == {"rate": 5.0, "surely": 7.0}
    assert power_reached(curve[:2]) == {"rate": None, "surely": None}


def test_a_limit_has_the_values_of_all_markets_and_the_way_they_pass():
    verdicts = [
        _verdict(
            n,
            *(["enough_trades"] if n < 3 else []),
            p=0.01 * (9 - n),
            measured={"enough_trades": (10.0 * n, 30.0)},
        )
        for n in range(10)
    ]
    curves = summary(verdicts, costs=True)["limits"]
    assert curves["knows_direction"]["by"] == "p_value"
    assert curves["knows_direction"]["limit"] == 0.025
    assert curves["knows_direction"]["values"] == pytest.approx([0.01 * k for k in range(10)])
    assert curves["enough_trades"] == {
        "by": "value", "limit": 30.0, "less_passes": False, "values": [10.0 * k for k in range(10)],
    }  # fmt: skip


def test_the_limit_of_a_curve_is_where_the_gate_itself_begins_to_pass():
    def profit(low: float) -> dict:
        pooled = {"mean_trade_pnl": {"value": 1.0, "low": low, "high": 2.0, "n": 100}}
        verdict = judge(metrics={}, diagnostics={}, backtest={"pooled": pooled}, data_info={})
        return next(one for one in verdict["gates"] if one["name"] == "mean_trade_profit")

    curve = limit_curves([_verdict(0, gates=("mean_trade_profit",))])["mean_trade_profit"]
    for gate in (profit(1e-4), profit(-1e-4)):
        assert gate["passed"] == (gate["p_value"] < curve["limit"])
        assert gate["p_value"] == pytest.approx(curve["limit"], rel=1e-3)


def test_limits_of_p_values_and_ways_to_pass_are_those_of_the_gates():
    assert {
        "beats_random_entries": limits.RANDOM_P,
        "deflated_sharpe": pytest.approx(1 - limits.DEFLATED_SHARPE),
    } == P_LIMITS
    numbers = {"calibrated": (0.02, 0.05), "train_test_gap": (0.01, 0.1), "net_profit": (3.0, 0.0)}
    curves = limit_curves([_verdict(0, measured=numbers, p_values={}, gates=tuple(numbers))])
    assert {name: one["less_passes"] for name, one in curves.items()} == {
        "calibrated": True, "train_test_gap": True, "net_profit": False,
    }  # fmt: skip


def test_a_curve_at_the_limit_in_force_is_the_share_that_passed():
    """Of ten markets four made nothing, which is not above 0, and one lives by its best fold."""
    verdicts = [
        _verdict(
            n,
            *(["net_profit"] if n < 4 else []),
            *(["stable_over_folds"] if n in (8, 9) else []),
            measured={
                "net_profit": (0.0 if n < 4 else float(n), 0.0),
                "stable_over_folds": (0.5 if n == 9 else 0.75, 0.6),
            },
            p_values={},
            gates=("net_profit", "stable_over_folds"),
        )
        for n in range(10)
    ]
    found = summary(verdicts, costs=True)
    for name, curve in found["limits"].items():
        passing = sum(value >= curve["limit"] for value in curve["values"])
        assert passing / 10 == found["gates"][name]["passed"]["value"], name
