"""What was found and dropped, in lines for the log: each series its own, unless there are many."""

from collections import Counter
from collections.abc import Mapping

from walkforge.market import Bars

from ._prepare import Prepared
from ._watcher import Watcher

_EACH_ITS_LINE = 40
_NAMED = 8


def tell_bars(bars: Mapping[str, Bars], watcher: Watcher) -> None:
    """Say how many bars there are."""
    if len(bars) <= _EACH_ITS_LINE:
        for one in bars.values():
            watcher.note(f"{one.name}: {len(one)} bars in {len(one.segments)} segments")
        return
    n_bars, n_segments = (
        sum(len(part) for part in parts)
        for parts in (bars.values(), (one.segments for one in bars.values()))
    )
    watcher.note(f"{len(bars)} series: {n_bars:,} bars in {n_segments:,} segments")


def tell_rows(prepared: Prepared, watcher: Watcher) -> None:
    """Say which rows are usable, and which series are left out or teach only."""
    series = prepared.series
    if len(series) <= _EACH_ITS_LINE:
        for name, one in series.items():
            watcher.note(f"{name}: {int(one.usable.sum())} usable rows; {_dropped(one.dropped)}")
    else:
        n_usable = sum(int(one.usable.sum()) for one in series.values())
        dropped: Counter[str] = Counter()
        for one in series.values():
            dropped.update(one.dropped)
        watcher.note(f"{len(series)} series: {n_usable:,} usable rows; {_dropped(dropped)}")
    teaching = [n for n in prepared.left_out if n in series and series[n].vectors is not None]
    for what, names in (
        ("teaches but is not judged", teaching),
        ("left out", [n for n in prepared.left_out if n not in teaching]),
    ):
        _tell_left_out(what, names, prepared, watcher)
    _tell_part_time(prepared, watcher)


def _tell_part_time(prepared: Prepared, watcher: Watcher) -> None:
    """Say how many series are judged in some of the folds only."""
    n_folds = len({part.fold.index for part in prepared.parts})
    counts = Counter(part.series for part in prepared.parts)
    if few := sum(count < n_folds for count in counts.values()):
        watcher.note(
            f"{few} of {len(counts)} series have rows for some of the {n_folds} folds only"
        )


def _tell_left_out(what: str, names: list[str], prepared: Prepared, watcher: Watcher) -> None:
    if len(names) <= _NAMED:
        for name in names:
            watcher.note(f"warning: {name} {what}: {prepared.left_out[name]}")
        return
    watcher.note(
        f"warning: of {len(names)} series each {what}: {', '.join(names[:_NAMED])} and "
        f"{len(names) - _NAMED} more (reasons: left_out in run.json), such as "
        f"{prepared.left_out[names[0]]}"
    )


def _dropped(dropped: Mapping[str, int]) -> str:
    return f"dropped: {', '.join(f'{n} {why}' for why, n in dropped.items() if n) or '0'}"
