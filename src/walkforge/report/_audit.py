"""Writes the page of an audit's rates: how many models were let out first, then by which gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from walkforge.base import write_text

from ._audit_pictures import p_value_picture, passed_picture, power_picture
from ._blocks import Section, absent, facts, join, prose, source, table
from ._frame import framed
from ._html import Html, tag
from ._words import count, decimals, duration, exact, number, percent, span, titled


def write_audit(data: dict[str, Any], path: Path) -> Path:
    """Write the page of what `audit.measure_null` or `measure_planted` returned, and return `path`.

    It is written whole or not at all. The page needs nothing else, and asks nothing of any network.
    """
    write_text(path, _page(data))
    return path


def _page(data: dict[str, Any]) -> str:
    return framed(
        title=f"{_said(data)} · audit · Walkforge",
        headline=_headline(data),
        sections=[
            *([_power(data)] if data["about"] == "planted" else [_p_values(data)]),
            _gates(data),
            _settings(data),
        ],
        footer=tag(
            "footer",
            tag(
                "p",
                "Written by Walkforge from the audit's folder. Hover a number for all its digits. "
                "Markets that were made tell something about the pipeline, and nothing about a "
                "market.",
            ),
            tag("noscript", tag("p", "The pictures need JavaScript; the tables do not.")),
        ),
    )


def _said(data: dict[str, Any]) -> str:
    if data["about"] == "null":
        return f"{percent(data['results'][0]['rate']['value'])} of null markets let out"
    least, most = data["results"][0], data["results"][-1]
    if least is most:
        return f"{percent(most['rate']['value'])} of planted markets let out"
    rates = " to ".join(percent(one["rate"]["value"], 0) for one in (least, most))
    return f"{rates} of planted markets let out"


def _headline(data: dict[str, Any]) -> Html:
    kinds = {"null": "false alarms", "planted": "misses"}
    return tag(
        "header",
        tag("p", "Walkforge", " · ", f"audit: {kinds[data['about']]}", class_="overline"),
        tag("h1", _said(data), class_="said"),
        tag("p", _lead(data), class_="lead"),
        _rates(data),
        id="verdict",
    )


def _lead(data: dict[str, Any]) -> str:
    profile = data["study"]["judge"]["profile"]
    if data["about"] == "null":
        return (
            f"Nobody can know the direction of these {data['results'][0]['n_markets']} markets, so "
            f"every model that the profile “{profile}” lets out is a false alarm."
        )
    reached = data["reached"]["rate"]
    least = (
        "No measured edge is let out at least 95 times in 100."
        if reached is None
        else "The smallest measured edge that is let out at least 95 times in 100 gives an oracle "
        f"a net Sharpe ratio of {decimals(reached, 2)} a year."
    )
    return (
        f"In these markets something is there to be known, so every model that the profile "
        f"“{profile}” holds back is a miss: of the gates, or of the model that did not find it. "
        f"{least}"
    )


def _rates(data: dict[str, Any]) -> Html:
    """Return the table of rates, a row per strength."""
    planted = data["about"] == "planted"
    more = ("Oracle's Sharpe", "Edge", "Models' Sharpe") if planted else ()
    rows = []
    for one in data["results"]:
        rate = one["rate"]
        known = [
            exact(rate["value"], percent(rate["value"])),
            " … ".join(percent(rate[end]) for end in ("low", "high")),
            f"{number(one['n_fit'])} of {number(one['n_markets'])}",
        ]
        rows.append([*(_strength(one) if planted else [data["markets"]["kind"]]), *known])
    return table(
        label="Rates",
        head=(*(more or ("Markets",)), "Let out", "95 % interval", "Models"),
        rows=rows,
        origin=source("audit.json", "results.*.rate", *(("results.*.oracle",) if planted else ())),
    )


def _strength(one: dict[str, Any]) -> list[Html | str]:
    oracle, mean = one["oracle"], one["sharpe_annual_mean"]
    return [
        exact(oracle["sharpe"], f"{decimals(oracle['sharpe'], 2)} ± "
              f"{decimals(1.96 * oracle['standard_error'], 2)}"),
        exact(oracle["edge"], decimals(oracle["edge"], 3)),
        exact(mean, decimals(mean, 2)),
    ]  # fmt: skip


def _power(data: dict[str, Any]) -> Section:
    body = join(
        prose(
            "An oracle is told every expected move and trades by the study's own backtest: its net "
            "Sharpe ratio a year, over all bars, says how strong an edge is. The models have to "
            "find it, and are tested on a part of the time."
        ),
        power_picture(data),
    )
    return Section("power", "Power", body)


def _p_values(data: dict[str, Any]) -> Section:
    tests = data["results"][0]["p_values"]
    if not tests:
        few = absent("Too few markets to tell how p-values are distributed.")
        return Section("p-values", "p-values on null markets", few)
    rows = [
        [
            titled(name),
            "yes" if test["exact"] else "need not be",
            exact(test["uniformity"]["statistic"], decimals(test["uniformity"]["statistic"], 3)),
            exact(test["uniformity"]["p_value"], decimals(test["uniformity"]["p_value"], 3))
            if test["exact"]
            else "",
            exact(test["below_5_percent"]["value"], percent(test["below_5_percent"]["value"])),
            span(_in_percent(test["below_5_percent"]), 1),
        ]
        for name, test in tests.items()
    ]
    body = join(
        prose(
            "A gate that is a test has a one-sided p-value: how often luck alone would do as well. "
            "Where a number is luck alone it is uniform. What a network saves in log loss is not: "
            "on such markets it pays for the noise that it learned, and so do learned baselines, "
            "perhaps more. Nor is what its trades earn after costs."
        ),
        p_value_picture(data),
        table(
            label="p-values",
            head=("Gate", "Uniform", "KS distance", "KS p-value", "p below 5 %",
                  "95 % interval, %"),
            rows=rows,
            words=(1,),
            origin=source("audit.json", "results.*.p_values"),
        ),
    )  # fmt: skip
    return Section("p-values", "p-values on null markets", body)


def _in_percent(measure: dict[str, Any]) -> dict[str, float]:
    return {end: 100 * measure[end] for end in ("low", "high")}


def _gates(data: dict[str, Any]) -> Section:
    body = join(
        prose(
            "How many models each gate lets pass, and how many it alone held back: all other gates "
            "would have let these out."
        ),
        *(passed_picture(data, place) for place in range(len(data["results"]))),
        _gate_table(data),
    )
    return Section("gates", "Gates", body)


def _gate_table(data: dict[str, Any]) -> Html:
    results = data["results"]
    names = list(dict.fromkeys(name for one in results for name in one["gates"]))
    heads = [
        f"at {decimals(one['oracle']['sharpe'], 1)}" if "oracle" in one else "null"
        for one in results
    ]
    return table(
        label="Share that passed each gate",
        head=("Gate", *(f"{way}, {head}" for way in ("Passed", "Alone") for head in heads)),
        rows=[
            [
                titled(name),
                *(_share(one["gates"][name]["passed"]["value"]) for one in results),
                *(number(one["gates"][name]["alone"]) for one in results),
            ]
            for name in names
        ],
        origin=source("audit.json", "results.*.gates"),
    )


def _share(frac: float) -> Html:
    return exact(frac, percent(frac))


def _settings(data: dict[str, Any]) -> Section:
    markets, study, machine = data["markets"], data["study"], data["machine"]
    seconds = sum(one["seconds"] for one in data["results"])
    n = sum(one["n_markets"] for one in data["results"])
    bars = f"{count(markets['n_bars'], 'bar')} of {markets['timeframe']}"
    folds, seeds = study["folds"]["count"], len(study["seeds"])
    said = [study["model"]["name"], count(folds, "fold"), count(seeds, "seed")]
    pairs = [
        ("Markets", f"{markets['kind']}, {bars}, seed {markets['seed']}"),
        ("Made from", ", ".join(markets.get("real") or {})),
        ("Study", f"{study['name']}: {', '.join(said)}"),
        ("Walkforge", data["walkforge"]),
        ("Machine", f"{machine['processor']}, {count(machine['cores'], 'core')}"),
        ("Took", f"{duration(seconds)}, {duration(seconds / n)} a market"),
    ]
    body = join(facts(pairs), source("audit.json", "markets", "study", "machine"))
    return Section("settings", "Settings", body)
