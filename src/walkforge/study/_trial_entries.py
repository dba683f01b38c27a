"""What a line of the trial ledger says, and which lines are trials on the same bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from walkforge.base import digest_of_json, timeframe_ms, utc_text

from ._bars import by_series
from ._load import as_yaml
from ._own import OwnParts
from ._study import Study

Spans = Mapping[str, Sequence[str]]
"""First and last moment, `[from, to)` in UTC as text, by series."""

# Names change no number; seeds are counted one by one; the device is where and not what.
_NO_SETTING = ("name", "note", "seeds", "device", "tune")
# Of these sections only what one may choose among. Bars are known by their digest; costs, capital
# and resamples say how a result is reckoned, and not what was tried.
_CHOICES = {
    "data": ("universe", "most_liquid", "liquid_days"),
    "judge": ("calibration", "min_edge"),
    "backtest": ("bracket",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedSeries:
    """One series on which something was tried."""

    venue: str
    symbol: str
    timeframe: str
    digest: str
    provenance: str
    first: str
    """When the first bar opened."""
    last: str
    tested: tuple[str, str]
    """From when to before when it was tried, in UTC."""

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Return by what the same prices are known: two series that share any are the same.

        Bars with one digest are the same whatever they are called. Bars of one venue and symbol are
        of one market, longer or repaired, also in another timeframe; but a name says nothing about
        prices that were made up.
        """
        own: list[tuple[str, ...]] = [("digest", self.digest)]
        return own if self.provenance == "simulated" else [*own, (self.venue, self.symbol, "real")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line: something that was tried."""

    when: str
    kind: str
    """`run`, `fine-tune`, `trial` of a search, `ensemble`, `judged` or `backtest`."""
    folder: str
    name: str
    settings: str
    """Digest of what was chosen: all of a study that changes its trades, but bars and seeds."""
    seeds: tuple[int, ...]
    series: tuple[TriedSeries, ...]
    study: str = ""
    """Digest of the whole study."""
    trial: int | None = None
    """Number of a search's trial."""

    @property
    def setting(self) -> tuple[str, frozenset[str]]:
        """Return what makes it one setting on some bars: tried again it gives the same numbers."""
        return self.settings, frozenset(one.digest for one in self.series)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Return what a process that goes on where another was cut off enters again."""
        return self.folder, self.kind, self.seeds, self.setting

    def as_plain(self) -> dict[str, Any]:
        """Return the line, less the digest of the line before it."""
        return asdict(self)


def entry_of(
    study: Study,
    folder: Path,
    *,
    kind: str,
    info: Mapping[str, Mapping[str, Any]],
    spans: Spans,
    settings: str | None = None,
    seeds: Sequence[int] | None = None,
    trial: int | None = None,
) -> Entry:
    """Return the line of what is tried now, with every series of `spans`.

    `info` is what `data_info.json` holds. `settings` and `seeds` are the study's where left out.
    """
    return Entry(
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        kind=kind,
        folder=str(folder.resolve()),
        name=study.name,
        study=digest_of_json(as_yaml(study)),
        settings=settings or settings_of(study),
        seeds=tuple(sorted(study.seeds if seeds is None else seeds)),
        series=tuple(_series_of(info[name], span) for name, span in spans.items()),
        trial=trial,
    )


def read_entry(line: Mapping[str, Any] | None) -> Entry | None:
    """Return what a line of the ledger tells of a trial; None for any other line."""
    if line is None or "settings" not in line:
        return None
    try:
        own = {name: line[name] for name in Entry.__dataclass_fields__}
        return Entry(**own | {"seeds": tuple(line["seeds"]), "series": _read_series(line)})
    except (KeyError, TypeError):
        return None


def settings_of(study: Study) -> str:
    """Return the digest of what was chosen in a study: what changes its predictions or trades."""
    plain = yaml.safe_load(as_yaml(study))
    chosen = {key: value for key, value in plain.items() if key not in _NO_SETTING}
    for section, keys in _CHOICES.items():
        chosen[section] = {key: plain[section][key] for key in keys}
    # A file of one's own that was edited is another setting under the same name.
    chosen["own"] = {name: part["sha256"] for name, part in OwnParts.of(study).as_dict().items()}
    return digest_of_json(chosen)


def same_data(entries: Iterable[Entry], series: Iterable[TriedSeries]) -> list[Entry]:
    """Return those entries that were tried on any of the same bars, at times that overlap."""
    spans: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for one in series:
        for name in one.names:
            spans.setdefault(name, []).append(one.tested)
    return [entry for entry in entries if any(_is_tried(one, spans) for one in entry.series)]


def count_trials(entries: Iterable[Entry]) -> tuple[int, int]:
    """Return how many settings the entries hold, and how many trials: each seed is one."""
    trials = {(entry.setting, seed) for entry in entries for seed in entry.seeds}
    return len({setting for setting, _ in trials}), len(trials)


def spans_of_folds(folds: Iterable[Mapping[str, Any]], since: str = "test") -> dict[str, list[str]]:
    """Return from the first `since` slice to the last test slice of every series.

    `folds` are entries of `folds.json`, whose times as text sort as they follow each other.
    """
    found: dict[str, list[str]] = {}
    for fold in folds:
        begins, ends = fold[since][0], fold["test"][1]
        first, last = found.get(fold["series"], (begins, ends))
        found[fold["series"]] = [min(first, begins), max(last, ends)]
    return found


def spans_of_rows(predictions: pl.DataFrame) -> dict[str, list[str]]:
    """Return from the first to the last bar of every series in a table of predictions."""
    stamp = pl.col("timestamp").dt.epoch("ms")
    rows = by_series(predictions).group_by("symbol", maintain_order=True)
    table = rows.agg(stamp.min().alias("from"), stamp.max().alias("to"), pl.first("timeframe"))
    return {
        name: [utc_text(begins), utc_text(ends + timeframe_ms(timeframe))]
        for name, begins, ends, timeframe in table.iter_rows()
    }


def _is_tried(one: TriedSeries, spans: Mapping[tuple[str, ...], Sequence[tuple[str, str]]]) -> bool:
    begins, ends = one.tested
    return any(
        begins < last and first < ends for name in one.names for first, last in spans.get(name, ())
    )


def _series_of(info: Mapping[str, Any], span: Sequence[str]) -> TriedSeries:
    names = ("venue", "symbol", "timeframe", "digest", "provenance", "first", "last")
    return TriedSeries(**{name: info[name] for name in names}, tested=(span[0], span[1]))


def _read_series(line: Mapping[str, Any]) -> tuple[TriedSeries, ...]:
    return tuple(TriedSeries(**one | {"tested": tuple(one["tested"])}) for one in line["series"])
