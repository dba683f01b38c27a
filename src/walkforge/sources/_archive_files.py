"""The files of one series in the archive: a month each, or a day each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import Event

from walkforge.market import Span, touches

from ._archive_listing import BucketListing, Entry


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A zip of the archive, and the month or the day whose bars it holds."""

    name: str
    key: str
    span: Span
    version: str
    size_bytes: int | None


class SeriesFiles:
    """What the archive has of one series, each thing asked for once.

    `stem` begins the name of every file, such as `BTCUSDT-1m`; `folder` lies below `monthly/` and
    `daily/`, which lie below `root`.
    """

    def __init__(self, listing: BucketListing, *, root: str, folder: str, stem: str) -> None:
        self._listing = listing
        self._monthly_prefix = f"{root}/monthly/{folder}/"
        self._daily_prefix = f"{root}/daily/{folder}/"
        self._stem = stem
        self._daily: tuple[int, list[ArchiveFile]] | None = None

    @cached_property
    def monthly(self) -> list[ArchiveFile]:
        """The files of whole months, in time order."""
        return self._files(self._listing.files(self._monthly_prefix))

    @cached_property
    def begin_ms(self) -> int | None:
        """Where the first file begins, None where there is none."""
        begins = [file.span.start_ms for file in (*self.monthly[:1], *self._first_days)]
        return min(begins, default=None)

    @cached_property
    def first_ms(self) -> int | None:
        """Where the first bar is to be looked for: within the first month its days tell.

        A few symbols have bars before, in a month whose first days have no file of their own.
        """
        if self.monthly and self._first_days:
            day = self._first_days[0].span
            if touches(day, [self.monthly[0].span]):
                return day.start_ms
        return self.begin_ms

    @cached_property
    def last_ms(self) -> int | None:
        """Where the last file ends, None where there is none."""
        if not self.monthly:
            return max((file.span.end_ms for file in self.daily(0)), default=None)
        # A month is written whole also where its symbol was delisted within it; days tell.
        last = self.monthly[-1].span
        days = [file.span.end_ms for file in self.daily(last.start_ms)]
        return max(days, default=last.end_ms)

    def daily(self, from_ms: int) -> list[ArchiveFile]:
        """Return the files of single days, in time order: at least those from a moment on."""
        if self._daily is None or from_ms < self._daily[0]:
            # Years of days are many pages, and the months before are seldom asked for.
            after = f"{self._daily_prefix}{self._stem}-{_month_of(from_ms)}"
            files = self._files(self._listing.files(self._daily_prefix, after=after))
            self._daily = (from_ms, files)
        return self._daily[1]

    def days_in(self, month: Span, halt: Event) -> list[ArchiveFile]:
        """Return the files of the days of one month, in time order; asks for these alone.

        Ends as interrupted where `halt` is set.
        """
        prefix = f"{self._daily_prefix}{self._stem}-{_month_of(month.start_ms)}-"
        return self._files(self._listing.until(halt).files(prefix))

    def span_of(self, name: str) -> Span | None:
        """Return the month or day of a file of this series, None for other names."""
        return _span_of(name, self._stem)

    @cached_property
    def _first_days(self) -> list[ArchiveFile]:
        """The first day that has a file of its own, alone."""
        # Four names are the first two days and their checksums.
        return self._files(self._listing.first_files(self._daily_prefix, most=4))[:1]

    def _files(self, entries: list[Entry]) -> list[ArchiveFile]:
        found = []
        for entry in entries:
            name = entry.key.rsplit("/", 1)[-1]
            span = self.span_of(name)
            if span is not None:
                found.append(ArchiveFile(name, entry.key, span, entry.etag, entry.size_bytes))
        return sorted(found, key=lambda file: file.span)


def _span_of(name: str, stem: str) -> Span | None:
    # A few months are written with one digit: ADABKRW-1d-2020-8.zip.
    parts = re.fullmatch(re.escape(stem) + r"-(\d{4})-(\d{1,2})(?:-(\d{1,2}))?\.zip", name)
    if parts is None:
        return None
    year, month, day = int(parts[1]), int(parts[2]), parts[3]
    try:
        first = datetime(year, month, int(day or 1), tzinfo=UTC)
    except ValueError:
        return None
    last = first if day else (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Span(_ms(first), _ms(last + timedelta(days=1)))


def _month_of(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, tz=UTC):%Y-%m}"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
