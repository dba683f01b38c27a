"""A comparison of runs as a person reads it in a terminal."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_NOTHING = "-"
# Three runs fit into 80 columns.
_FIRST_COLUMN = 20
_SETTING_COLUMN = 32
_RUN_COLUMN = 17

_MEASURES = {
    "log_loss": "log loss", "balanced_accuracy": "balanced accuracy", "accuracy": "accuracy",
    "mcc": "MCC", "brier": "Brier", "ece": "calibration error", "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
}  # fmt: skip
_FORECAST = {
    "crps_bps": ("CRPS, bps", "{:.3f}"), "mae_bps": ("absolute error, bps", "{:.3f}"),
    "rmse_bps": ("RMSE, bps", "{:.3f}"), "direction_accuracy": ("right direction", "{:.4f}"),
    "coverage_90": ("within 90 % range", "{:.4f}"), "qlike": ("QLIKE", "{:.4f}"),
}  # fmt: skip
_MARKS = {"better": "[green]better than A[/]", "worse": "[red]worse than A[/]"}

Row = tuple[str, list[str]]


def print_comparison(data: dict[str, Any]) -> None:
    """Print what the data can tell, then tables with a column per run."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(f"\n[bold]{data['headline']}[/]\n")
    for sentence in [*data["sentences"], *data["notes"]]:
        console.print(escape(sentence))
    runs, tests = data["runs"], data["tests"]
    heads = [f"{run['letter']}\n{escape(run['name'])}" for run in runs]
    tested = [heads[test["run"]] for test in tests]
    adjusted = " (p after Holm)" if len(tests) > 1 else ""
    _table(console, f"Tests against A on common rows{adjusted}", tested, _tests(tests))
    _print_settings(console, data["settings"], heads)
    _table(console, "Measures (in brackets the strongest baseline)", heads, _measures(data))
    if any(run["forecast"] for run in runs):
        _table(console, "Forecasts", heads, _forecasts(data))
    if any(run["tokens"] for run in runs):
        _table(console, "Tokens (each on its own; levels of other vocabularies do not compare)",
               heads, _tokens(runs))  # fmt: skip
    _table(console, "Backtest and verdict", heads, _backtests(data))
    _table(console, "Time and memory", heads, _costs(runs))


def _table(
    console: "Console",
    title: str,
    heads: Sequence[str],
    rows: Sequence[Row],
    *,
    first: int = _FIRST_COLUMN,
) -> None:
    """Print rows; where the terminal is too narrow for all runs, some runs at a time."""
    from rich.table import Table

    fit = max(1, (console.width - first - 2) // (_RUN_COLUMN + 2))
    console.print(f"\n[bold]{title}[/]")
    for start in range(0, len(heads), fit):
        part = slice(start, start + fit)
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("", max_width=first, overflow="fold")
        for head in heads[part]:
            table.add_column(head, justify="right", overflow="fold", min_width=_RUN_COLUMN)
        for name, cells in rows:
            table.add_row(name, *cells[part])
        console.print(table)


def _print_settings(console: "Console", settings: dict[str, Any], heads: Sequence[str]) -> None:
    from rich.markup import escape

    if not settings["differ"]:
        console.print(f"\n[bold]Settings[/]: nothing differs, {settings['n_same']} agree")
        return
    rows = [
        (escape(row["key"]), [escape(_setting(value)) for value in row["values"]])
        for row in settings["differ"]
    ]
    title = f"Settings that differ ({settings['n_same']} agree)"
    _table(console, title, heads, rows, first=_SETTING_COLUMN)


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return _NOTHING if value is None else str(value)


def _tests(tests: Sequence[dict[str, Any]]) -> list[Row]:
    found = [test["predictions"] for test in tests]
    money = [test["daily_pnl"] for test in tests]
    shares = [
        f"{one['share_of_reference']:.1%} of A's,\n{one['share_of_other']:.1%} of its own"
        for one in found
    ]
    return [
        ("common rows", [f"{one['n_common']:,}" for one in found]),
        ("", shares),
        ("log loss saved, nats", [_gain(one.get("log_loss"), "{:+.4f}") for one in found]),
        ("accuracy gained", [_gain(one.get("accuracy"), "{:+.4f}") for one in found]),
        *_forecast_tests([test["forecasts"] or {} for test in tests]),
        *_token_tests([test["tokens"] or {} for test in tests]),
        ("common days", [_count(one.get("n_common_days")) for one in money]),
        ("daily profit gained", [_gain(one, "{:+,.2f}") for one in money]),
    ]


def _count(n: int | None) -> str:
    return _NOTHING if n is None else f"{n:,}"


def _forecast_tests(found: Sequence[dict[str, Any]]) -> list[Row]:
    """Return what the tests of forecasts say; nothing where no two runs forecast."""
    if not any(found):
        return []
    return [
        ("common forecasts", [_number(one.get("n_common"), "{:,}") for one in found]),
        ("CRPS saved, bps", [_gain(one.get("crps"), "{:+.3f}") for one in found]),
        (
            "absolute error saved, bps",
            [_gain(one.get("absolute_error"), "{:+.3f}") for one in found],
        ),
    ]


def _token_tests(found: Sequence[dict[str, Any]]) -> list[Row]:
    """Return what the tests of tokens say; nothing where no two runs foretell any."""
    if not any(found):
        return []
    return [
        ("common tokens", [_number(one.get("n_common"), "{:,}") for one in found]),
        ("token loss saved, nats", [_gain(one.get("log_loss"), "{:+.4f}") for one in found]),
        ("token accuracy gained", [_gain(one.get("accuracy"), "{:+.4f}") for one in found]),
    ]


def _gain(entry: dict[str, Any] | None, form: str) -> str:
    if entry is None or entry.get("value") is None:
        return _NOTHING
    p = entry["p_holm"]
    told = "" if p is None else "\np < 0.001" if p < 0.001 else f"\np = {p:.2g}"
    mark = _MARKS.get(entry["says"], "")
    return _measure(entry, form) + told + (f"\n{mark}" if mark else "")


def _measure(entry: dict[str, Any] | None, form: str, rival: float | None = None) -> str:
    """Return a value, in brackets that of the rival, and below it the interval."""
    value = None if entry is None else entry.get("value")
    if entry is None or value is None:
        return _NOTHING
    beside = "" if rival is None else f" ({_number(rival, form)})"
    low, high = (_number(entry.get(end), form) for end in ("low", "high"))
    below = "" if entry.get("low") is None else f"\n[dim]{low} … {high}[/]"
    return f"{_number(value, form)}{beside}{below}"


def _measures(data: dict[str, Any]) -> list[Row]:
    runs = data["runs"]
    names = [(run["baseline"] or {}).get("name", _NOTHING) for run in runs]
    says = {
        (test["run"], key): test["predictions"].get(key, {}).get("says")
        for test in data["tests"]
        for key in _MEASURES
    }
    rows: list[Row] = [("strongest baseline", names)]
    for key, name in _MEASURES.items():
        cells = []
        for place, run in enumerate(runs):
            rival = ((run["baseline"] or {}).get("measures", {}).get(key) or {}).get("value")
            mark = _MARKS.get(says.get((place, key)) or "", "")
            cells.append(_measure(run["measures"][key], "{:.4f}", rival) + (mark and f"\n{mark}"))
        rows.append((name, cells))
    return rows


def _forecasts(data: dict[str, Any]) -> list[Row]:
    blocks = [run["forecast"] or {} for run in data["runs"]]
    return [
        (name, [_measure(block.get(key), form) for block in blocks])
        for key, (name, form) in _FORECAST.items()
    ]


def _tokens(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """Return what each run's model of tokens reached, beside its own best baseline."""
    blocks = [run["tokens"] or {} for run in runs]
    rivals = [block.get("baseline") or {} for block in blocks]
    constants = [_value(block.get("best_constant")) for block in blocks]
    return [
        ("tokenizer", [_tokenizer(block) for block in blocks]),
        ("parameters", [_number(block.get("parameters"), "{:,}") for block in blocks]),
        ("loss, nats a token", [_measure(block.get("log_loss"), "{:.4f}") for block in blocks]),
        ("perplexity", [_measure(block.get("perplexity"), "{:,.1f}") for block in blocks]),
        (
            "accuracy (best constant guess)",
            [
                _measure(block.get("accuracy"), "{:.4f}", constant)
                for block, constant in zip(blocks, constants, strict=True)
            ],
        ),
        ("best baseline", [rival.get("name", _NOTHING) for rival in rivals]),
        ("its loss", [_number(_value(rival.get("log_loss")), "{:.4f}") for rival in rivals]),
        ("saved on it, nats", [_measure(block.get("gain"), "{:+.4f}") for block in blocks]),
        ("the same in bits", [_number(block.get("gain_bits"), "{:+.4f}") for block in blocks]),
        (
            "tokens trained a second, median",
            [_number(run["cost"]["tokens_per_s"], "{:,.0f}") for run in runs],
        ),
    ]


def _tokenizer(block: dict[str, Any]) -> str:
    """Return kind, codes and the beginning of the digest; of several how many there are."""
    if not block.get("vocabulary"):
        return _NOTHING
    digests = block["tokenizers"]
    told = digests[0][:10] if len(digests) == 1 else f"{len(digests)} of them"
    return f"{block['kind']}, {block['vocabulary']:,}\n{told}"


def _value(entry: dict[str, Any] | None) -> float | None:
    return (entry or {}).get("value")


def _backtests(data: dict[str, Any]) -> list[Row]:
    runs = data["runs"]
    marks = {
        test["run"]: _MARKS.get(test["daily_pnl"].get("says", ""), "") for test in data["tests"]
    }
    accounts = [run["trading"] for run in runs]
    profit = [
        _number(one["pnl"], "{:+,.2f}") + (f"\n{marks[k]}" if marks.get(k) else "")
        for k, one in enumerate(accounts)
    ]
    return [
        ("verdict", [_verdict(run["verdict"]) for run in runs]),
        ("profit after fees", profit),
        ("return on capital", [_number(one["roi_frac"], "{:+.2%}") for one in accounts]),
        ("Sharpe, annual", [_measure(one["sharpe"], "{:.2f}") for one in accounts]),
        ("deflated Sharpe", [_number(one["deflated_sharpe"], "{:.1%}") for one in accounts]),
        ("deepest drawdown", [_number(one["max_drawdown_frac"], "{:.2%}") for one in accounts]),
        ("trades", [_number(one["n_trades"], "{:,}") for one in accounts]),
        ("fees", [_number(one["fees"], "{:,.2f}") for one in accounts]),
    ]


def _verdict(verdict: dict[str, Any]) -> str:
    word = {True: "[green]FIT[/]", False: "[red]NOT FIT[/]"}.get(verdict["fit"], _NOTHING)
    return f"{word}\n{verdict['n_passed']} of {verdict['n_gates']} gates"


def _costs(runs: Sequence[dict[str, Any]]) -> list[Row]:
    forms: dict[str, tuple[str, Callable[[Any], str]]] = {
        "seconds": ("whole run", _duration),
        "training_seconds": ("epochs of training", _duration),
        "rows_per_s": ("rows/s, median", "{:,.0f}".format),
        "epochs": ("epochs", str),
        "n_members": ("networks", "{:,}".format),
        "peak_memory_bytes": ("peak memory", _memory),
        "gpu_memory_bytes": ("peak GPU memory", _memory),
        "device": ("device", str),
        "threads": ("threads", str),
    }
    costs = [run["cost"] for run in runs]
    rows = [
        (name, [_NOTHING if one[key] is None else form(one[key]) for one in costs])
        for key, (name, form) in forms.items()
    ]
    stages = dict.fromkeys(stage for one in costs for stage in one["stage_seconds"] or {})
    return rows + [
        (stage, [_stage(one["stage_seconds"], stage) for one in costs]) for stage in stages
    ]


def _stage(seconds: dict[str, float] | None, stage: str) -> str:
    known = (seconds or {}).get(stage)
    return _NOTHING if known is None else _duration(known)


def _number(value: float | None, form: str) -> str:
    # A sign before 0 says nothing.
    form = form if value else form.replace("+", "")
    return _NOTHING if value is None else form.format(value)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _memory(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:,.2f} GiB"
