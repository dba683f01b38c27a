"""The tables of docs/results.md, from run folders.

python lab/results.py RUN [RUN ...]
"""

import json
import sys
from pathlib import Path

FORECASTS = ("mae_bps", "rmse_bps", "crps_bps", "direction_accuracy", "coverage_90", "qlike")
SCORES = ("accuracy", "balanced_accuracy", "log_loss", "mcc", "roc_auc", "ece")


def main(*runs: Path) -> None:
    for run in runs:
        print(f"### {run.name}\n")
        for make in (_tokens, _scores, _forecasts, _gates, _money, _facts):
            if table := make(run):
                print(table + "\n")


def _read(run: Path, name: str) -> dict:
    return json.loads((run / name).read_text())


def _tokens(run: Path) -> str:
    found = _read(run, "metrics.json").get("tokens")
    if found is None:
        return ""
    lines = ["| | loss, nats a token | accuracy | loss that the model saves |", "|---" * 4 + "|"]
    rows = {"**model**": found["model"]} | found["baselines"]
    for name, blocks in rows.items():
        cells = [_interval(blocks["pooled"][measure]) for measure in ("log_loss", "accuracy")]
        saved = found["improvement"].get(name, {}).get("log_loss")
        lines.append(f"| {name} | {' | '.join(cells)} | {_interval(saved) if saved else ''} |")
    constant = _interval(found["model"]["pooled"]["best_constant"])
    return "\n".join([*lines, f"| best constant guess | | {constant} | |"])


def _scores(run: Path) -> str:
    metrics = _read(run, "metrics.json")
    lines = [f"| | {' | '.join(SCORES)} | log loss that the model saves |", "|---" * 8 + "|"]
    rows = {"**model**": metrics["model"]["pooled"]}
    if "ensemble" in metrics:
        rows["all seeds together"] = metrics["ensemble"]["pooled"]
    rows |= {name: blocks["pooled"] for name, blocks in metrics["baselines"].items()}
    for name, block in rows.items():
        saved = metrics["improvement"].get(name, {}).get("log_loss")
        cells = [_interval(block[score]) for score in SCORES]
        lines.append(f"| {name} | {' | '.join(cells)} | {_interval(saved) if saved else ''} |")
    return "\n".join(lines)


def _forecasts(run: Path) -> str:
    found = _read(run, "metrics.json").get("forecast")
    if found is None:
        return ""
    lines = [f"| | {' | '.join(FORECASTS)} | CRPS or squared error saved |", "|---" * 8 + "|"]
    rows = {"**model**": found["model"]} | found["baselines"]
    for name, blocks in rows.items():
        cells = [_interval(blocks["pooled"][measure], digits=3) for measure in FORECASTS]
        lines.append(f"| {name} | {' | '.join(cells)} | {_saved(found, name)} |")
    return "\n".join(lines)


def _saved(found: dict, name: str) -> str:
    tests = found["better_than"].get(name)
    if tests is None:
        return ""
    test = tests["crps" if tests["crps"]["baseline_has_quantiles"] else "squared_error"]
    span = "" if test["low"] is None else f" ({test['low']:.3g} to {test['high']:.3g})"
    return f"{test['mean_difference']:.3g} {test['unit']}{span}, p = {test['p_value']:.3g}"


def _gates(run: Path) -> str:
    verdict = _read(run, "verdict.json")
    word = "FIT" if verdict["fit"] else "NOT FIT"
    failed = [gate for gate in verdict["gates"] if not gate["passed"]]
    head = f"Verdict by profile `{verdict['profile']}`: **{word}**, {len(failed)} of "
    head += f"{len(verdict['gates'])} gates failed."
    return "\n".join([head, "", *(f"- `{gate['name']}`: {gate['reason']}" for gate in failed)])


def _money(run: Path) -> str:
    backtest = _read(run, "backtest.json")
    rows = {"as traded": backtest["pooled"], "at the taker fee": backtest["taker"]}
    rows |= {f"costs x{row['factor']:g}": row for row in backtest["cost_stress"]}
    rows |= {"last days": backtest["last_days"], "buy and hold": backtest["buy_and_hold"]}
    lines = ["| | trades | win rate | PnL | fees | ROI | Sharpe |", "|---" * 7 + "|"]
    for name, block in rows.items():
        rate, sharpe = block["win_rate"], block["sharpe_annual"]
        lines.append(
            f"| {name} | {block['n_trades']} | {'' if rate is None else f'{rate:.1%}'} | "
            f"{block['pnl']:.2f} | {block['fees']:.2f} | {block['roi_frac']:.2%} | "
            f"{'' if sharpe is None else f'{sharpe:.2f}'} |"
        )
    return "\n".join(lines)


def _facts(run: Path) -> str:
    facts = _read(run, "run.json")
    log = [json.loads(line) for line in (run / "training_log.jsonl").read_text().splitlines()]
    speed = sorted(line["rows_per_s"] for line in log)[len(log) // 2]
    return (
        f"{facts['n_members']} members of {facts['n_parameters']:,} weights, {len(log)} epochs, "
        f"{speed:,.0f} rows/s, {facts['seconds'] / 60:.0f} minutes in all on {facts['device']} "
        f"({facts['precision']})."
    )


def _interval(measure: dict, digits: int = 4) -> str:
    if measure["value"] is None:
        return "-"
    value, low, high = (f"{measure[end]:.{digits}f}" for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
