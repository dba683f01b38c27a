"""What was run: the question, the bars, the labels, the networks and the machine."""

from __future__ import annotations

from typing import Any

from ._blocks import facts, join, sources
from ._data import span_of, symbols_of
from ._html import Html
from ._run import Run, at, records
from ._words import count, duration, is_number, listed, moment, number

_FILES = ("run.json", "ensemble.json", "study.yaml", "data_info.json", "folds.json")


def what_was_run(run: Run) -> Html:
    """Return the facts that place the verdict."""
    info = run.run
    started, seconds = at(info, "started"), at(info, "seconds")
    return join(
        facts(
            [
                ("Question", _text(at(run.study, "note"))),
                ("Bars", _bars(run)),
                ("Predictions", _elsewhere(run)),
                ("Ensemble", _joined(run)),
                ("Labels", "" if _elsewhere(run) else _labels(run)),
                ("Networks", _networks(run)),
                ("Went on from", _base(run)),
                ("Trials", _trials(run)),
                ("Device", _chosen(at(info, "device"), at(info, "device_reason"))),
                ("Precision", _chosen(at(info, "precision"), at(info, "precision_reason"))),
                ("Started", f"{moment(started)} UTC" if started is not None else ""),
                ("Took", duration(seconds) if is_number(seconds) else ""),
            ]
        ),
        sources({name: () for name in _FILES if (run.folder / name).is_file()}),
    )


def _elsewhere(run: Run) -> str:
    """Return where predictions came from that no network of ours made."""
    if at(run.run, "kind") != "judged":
        return ""
    return f"made elsewhere: {at(run.run, 'source')}; the first 40 % of their time is not judged"


def _joined(run: Run) -> str:
    """Return the runs that an ensemble joins."""
    joined = records(run.run, "runs")
    if at(run.run, "kind") != "ensemble" or not joined:
        return ""
    each = [f"{at(one, 'name')}: {at(one, 'model')}, {at(one, 'run')}" for one in joined]
    return f"{'; '.join(each)}. The weights of its models stand in ensemble.json"


def _trials(run: Run) -> str:
    """Return how many trials were counted, and how many the trial ledger knew of."""
    counted, known = at(run.backtest, "pooled", "n_trials"), at(run.run, "ledger", "trials")
    if not (is_number(counted) and is_number(known)):
        return ""
    return f"{number(counted)} counted; {number(known)} on these bars by the trial ledger"


def _bars(run: Run) -> str:
    by_symbol = symbols_of(run)
    if not by_symbol:
        return ""
    provenances = {str(info.get("provenance", "")) for info in by_symbol.values()} - {""}
    parts = [
        listed(list(by_symbol), 6),
        _timeframes(run),
        span_of(run),
        ", ".join(sorted(provenances)),
    ]
    return " · ".join(part for part in parts if part)


def _timeframes(run: Run) -> str:
    more = at(run.study, "data", "more_timeframes")
    every = [at(run.study, "data", "timeframe"), *(more if isinstance(more, list) else [])]
    return ", ".join(_text(one) for one in every if one)


def _labels(run: Run) -> str:
    kind, horizon = at(run.study, "labels", "kind"), at(run.study, "labels", "horizon_bars")
    if not kind:
        return ""
    spoken_kind = str(kind).replace("_", " ")
    # A triple barrier ends where its bracket does, not at the horizon.
    if kind == "triple_barrier" or not is_number(horizon):
        return spoken_kind
    return f"{spoken_kind}, {count(horizon, 'bar')} ahead"


def _networks(run: Run) -> str:
    n_members = at(run.run, "n_members")
    if not is_number(n_members):
        return ""
    kind = at(run.study, "model", "name")
    weights = at(run.run, "n_parameters")
    folds = {str(fold.get("fold")) for fold in records(run.folds)}
    seeds = at(run.run, "seeds")
    by_symbol = symbols_of(run)
    timeframes = {str(info.get("timeframe")) for info in by_symbol.values()}
    together = kind == "marketgpt"
    judged = {str(fold.get("series") or fold.get("symbol")) for fold in records(run.folds)}
    n_series = len(by_symbol) if together or not judged else len(judged)
    series = count(n_series, *(("series", "series") if len(timeframes) > 1 else ("symbol",)))
    parts = [
        "" if together else series,
        count(len(folds), "fold"),
        count(len(seeds), "seed") if isinstance(seeds, list) else "",
    ]
    return (
        f"{number(n_members)}{f' {kind}' if kind else ''}: {' × '.join(p for p in parts if p)}"
        + (f", each of all {series} together{_judged(run)}" if together else "")
        + (f"; {number(weights)} weights each" if is_number(weights) else "")
    )


def _base(run: Run) -> str:
    """Return which run a fine-tuned one began with, and what it taught anew."""
    tuned = at(run.study, "fine_tune")
    if not at(tuned, "run"):
        return ""
    rank, categories = at(tuned, "rank"), at(tuned, "categories")
    lora = at(tuned, "method") == "lora"
    parts = [
        _text(at(tuned, "run")),
        f"factors of rank {number(rank)} (LoRA) learned" if lora else "all weights learned",
        f"on {', '.join(map(str, categories))}" if isinstance(categories, list) else "",
    ]
    return ", ".join(part for part in parts if part.strip() not in ("", "on"))


def _judged(run: Run) -> str:
    """Return how many of the series are judged, where some only teach."""
    names = {str(fold.get("series") or fold.get("symbol")) for fold in records(run.folds)}
    alone = len(names) < len(symbols_of(run))
    return f", {number(len(names))} of them judged" if names and alone else ""


def _text(value: Any) -> str:
    return str(value) if value else ""


def _chosen(choice: Any, reason: Any) -> str:
    if not choice:
        return ""
    return f"{choice}: {reason}" if reason else str(choice)
