"""Which files of an archive fill what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from walkforge.market import Span, spans_left, touches

from ._archive_files import ArchiveFile, SeriesFiles

Chosen = tuple[ArchiveFile, bool]
"""A file to fetch, and whether its bars take the place of stored ones that differ."""


def choose_files(
    series: SeriesFiles, *, wanted: Span, missing: Sequence[Span], files: Mapping[str, str]
) -> list[Chosen]:
    """Return the files to fetch, in time order: months first, days for what no month covers.

    A file in `files` (name: version) comes again where its version changed, and never else: the
    same bytes hold the same bars. What a month that was fetched leaves open is for those of its
    days that were not. A day without a version never came: it failed when it was to mend its month.
    """
    if series.begin_ms is None:
        return []
    # Nothing lies before the first file; asking the days for it would list them all.
    missing = _within(missing, Span(series.begin_ms, max(series.begin_ms, wanted.end_ms)))
    months = [(file, _issued_anew(file, files)) for file in _touching(series.monthly, [wanted])]
    chosen = [
        (file, anew or _has_days_of(file, series, files))
        for file, anew in months
        if anew or (file.name not in files and touches(file.span, missing))
    ]
    left = spans_left(missing, [file.span for file, _ in chosen])
    days = _days(series, wanted=wanted, left=left, files=files)
    # Of a month and a day that begin together the month comes first: a day issued anew is newer.
    return sorted([*chosen, *days], key=lambda pair: (pair[0].span.start_ms, -pair[0].span.end_ms))


def _days(
    series: SeriesFiles, *, wanted: Span, left: Sequence[Span], files: Mapping[str, str]
) -> list[Chosen]:
    """Return the files of days that `left` needs, and those that were issued anew."""
    month_names = {file.name for file in series.monthly}
    held = [series.span_of(name) for name in files if name not in month_names]
    held_in_wanted = _within([span for span in held if span is not None], wanted)
    needed = [span.start_ms for span in (*left, *held_in_wanted)]
    if not needed:
        return []
    days = [
        (file, _issued_anew(file, files)) for file in _touching(series.daily(min(needed)), [wanted])
    ]
    return [
        (file, anew and files[file.name] != "")
        for file, anew in days
        if anew or (file.name not in files and touches(file.span, left))
    ]


def _issued_anew(file: ArchiveFile, files: Mapping[str, str]) -> bool:
    return file.name in files and files[file.name] != file.version


def _has_days_of(month: ArchiveFile, series: SeriesFiles, files: Mapping[str, str]) -> bool:
    """Return whether days of a month were fetched one by one; what the month says is newer."""
    held = (series.span_of(name) for name in files)
    return any(span is not None and touches(span, [month.span]) for span in held)


def _touching(found: Iterable[ArchiveFile], spans: Sequence[Span]) -> list[ArchiveFile]:
    return [file for file in found if touches(file.span, spans)]


def _within(spans: Sequence[Span], limits: Span) -> list[Span]:
    return [
        Span(max(span.start_ms, limits.start_ms), min(span.end_ms, limits.end_ms))
        for span in spans
        if touches(span, [limits])
    ]
