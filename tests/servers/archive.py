"""Binance's public archive on 127.0.0.1, with the bars that a test gives it.

    with ArchiveServer() as archive:
        archive.add_bars("BTCUSDT", "1h", frame)
        source = binance_archive(urls=archive.urls)

It speaks what the real one speaks: a bucket's listing in pages, zips of CSV a month and a day
each, their checksums, ETag and Last-Modified. `archive.server` is the LocalServer behind it, which
fails as it is told and remembers what was asked for. Prices parse to the given float64 to the bit.
"""

import hashlib
import io
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

import polars as pl

from servers.local import LocalServer, Request, Response
from walkforge.base import timeframe_ms

HEADER = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
ROOTS = {"spot": "data/spot", "perpetual": "data/futures/um"}
WRITTEN = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When every file was written."""


@dataclass
class _File:
    content: bytes
    etag: str
    there: bool = True


class ArchiveServer:
    """Serves an archive; a page of its listing holds `page_size` names (1000 in the real one).

    One that is `like` another begins with the other's files: to make them takes longer than most
    tests.
    """

    def __init__(self, *, page_size: int = 1000, like: "ArchiveServer | None" = None) -> None:
        self.server = LocalServer(self._answer)
        self._page_size = page_size
        self._files = {key: replace(file) for key, file in like._files.items()} if like else {}

    def __enter__(self) -> "ArchiveServer":
        self.server.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self.server.__exit__(*problem)

    @property
    def urls(self) -> dict[str, str]:
        """What `binance_archive(urls=...)` takes; the listing answers at the root too."""
        return {"files": self.server.url, "listing": f"{self.server.url}/bucket"}

    @property
    def keys(self) -> list[str]:
        """What is listed, in order."""
        return sorted(self._files)

    def add_bars(
        self,
        symbol: str,
        timeframe: str,
        frame: pl.DataFrame,
        *,
        market: str = "spot",
        header: bool | None = None,
        unit: str | None = None,
        without: Collection[str] = (),
        delisted: bool = False,
    ) -> None:
        """Serve bars (`timestamp`, open, high, low, close, volume): a zip for each month that is
        over at the last bar's close, and one for each day; months and days without a bar have none.

        Given again with other bars, the files are issued anew. `without` names months (2024-02)
        and days (2024-02-10) that the archive shall lack. Of a delisted symbol the last month is
        there although its bars end before. Header and unit (`ms`, `us`) are those of the real
        archive unless named: a header for perpetuals, `us` for spot from 2025 on.
        """
        step_ms = timeframe_ms(timeframe)
        header = market == "perpetual" if header is None else header
        frame = frame.sort("timestamp").with_columns(pl.col("timestamp").dt.cast_time_unit("ms"))
        end = frame["timestamp"].dt.epoch("ms")[-1] + step_ms
        for period, form in _PERIODS.items():
            folder = f"{ROOTS[market]}/{period}/klines/{symbol}/{timeframe}"
            named = frame.with_columns(pl.col("timestamp").dt.strftime(form).alias("period"))
            for (when,), bars in named.group_by("period", maintain_order=True):
                over = _end_ms(str(when)) <= end or (delisted and period == "monthly")
                if not over or when in without:
                    continue
                own_unit = unit or ("us" if market == "spot" and str(when) >= "2025" else "ms")
                cells = kline_csv(bars, step_ms, header=header, unit=own_unit)
                name = f"{symbol}-{timeframe}-{when}"
                self.put(f"{folder}/{name}.zip", zip_of(f"{name}.csv", cells))

    def add_funding(self, symbol: str, frame: pl.DataFrame, *, late_ms: int = 3) -> None:
        """Serve funding rates (`timestamp`, `rate`), a zip for each month; the archive's moments
        lie a few milliseconds late.
        """
        folder = f"{ROOTS['perpetual']}/monthly/fundingRate/{symbol}"
        named = frame.with_columns(pl.col("timestamp").dt.strftime("%Y-%m").alias("period"))
        for (month,), rates in named.group_by("period", maintain_order=True):
            cells = rates.select(
                (pl.col("timestamp").dt.epoch("ms") + late_ms).alias("calc_time"),
                pl.lit(8).alias("funding_interval_hours"),
                pl.col("rate").alias("last_funding_rate"),
            ).write_csv()
            name = f"{symbol}-fundingRate-{month}"
            self.put(f"{folder}/{name}.zip", zip_of(f"{name}.csv", cells.encode()))

    def put(self, key: str, content: bytes, *, checksum: bytes | None = b"") -> None:
        """Serve a file as it is, with a true checksum beside it, or the one given, or none."""
        name = key.rsplit("/", 1)[-1]
        true = f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()
        self._files[key] = _File(content, _md5(content))
        self._files.pop(f"{key}.CHECKSUM", None)
        if checksum is not None:
            self._files[f"{key}.CHECKSUM"] = _File(checksum or true, _md5(true))

    def lose(self, key: str) -> None:
        """Go on listing a file that is not there any more: 404."""
        self._files[key].there = False

    def remove(self, key: str) -> None:
        """Neither list nor serve a file and its checksum."""
        self._files.pop(key)
        self._files.pop(f"{key}.CHECKSUM", None)

    def content(self, key: str) -> bytes:
        """Return a file as it is served."""
        return self._files[key].content

    def _answer(self, request: Request) -> Response:
        if request.path in ("/", "/bucket"):
            return Response(self._listing(request.query), content_type="application/xml")
        file = self._files.get(request.path.lstrip("/"))
        if file is None or not file.there:
            missing = b"<Error><Code>NoSuchKey</Code></Error>"
            return Response(missing, 404, content_type="application/xml")
        written = format_datetime(WRITTEN, usegmt=True)
        headers = {"ETag": f'"{file.etag}"', "Last-Modified": written}
        return Response(file.content, headers=headers)

    def _listing(self, query: dict[str, str]) -> bytes:
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        most = min(self._page_size, int(query.get("max-keys", self._page_size)))
        names = self._names(prefix, query.get("delimiter", ""))
        left = [name for name in names if name > marker]
        page, more = left[:most], len(left) > most
        keys = "".join(map(self._contents, (name for name in page if name in self._files)))
        folders = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            for name in page
            if name not in self._files
        )
        # The bucket names where the next page begins only where names are grouped.
        grouped = more and "delimiter" in query
        following = f"<NextMarker>{escape(page[-1])}</NextMarker>" if grouped else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<Marker>{escape(marker)}</Marker>{following}<MaxKeys>{most}</MaxKeys>"
            f"<Delimiter>/</Delimiter><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{keys}{folders}</ListBucketResult>"
        ).encode()

    def _names(self, prefix: str, delimiter: str) -> list[str]:
        """Return the keys below a prefix, those below a further delimiter as one."""
        names = set()
        for key in list(self._files):
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
                names.add(prefix + head + found)
        return sorted(names)

    def _contents(self, key: str) -> str:
        file = self._files[key]
        return (
            f"<Contents><Key>{escape(key)}</Key>"
            f"<LastModified>{WRITTEN:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>&quot;{file.etag}&quot;</ETag><Size>{len(file.content)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def kline_csv(bars: pl.DataFrame, step_ms: int, *, header: bool, unit: str) -> bytes:
    """Return bars as the 12 columns of the archive; the last six are made up but sensible."""
    per_ms = {"ms": 1, "us": 1000}[unit]
    open_ms = pl.col("timestamp").dt.epoch("ms")
    columns = bars.select(
        (open_ms * per_ms).alias("open_time"),
        *("open", "high", "low", "close", "volume"),
        ((open_ms + step_ms) * per_ms - 1).alias("close_time"),
        (pl.col("volume") * pl.col("close")).alias("quote_volume"),
        pl.lit(7).alias("count"),
        (pl.col("volume") / 2).alias("taker_buy_volume"),
        (pl.col("volume") * pl.col("close") / 2).alias("taker_buy_quote_volume"),
        pl.lit(0).alias("ignore"),
    )
    assert tuple(columns.columns) == HEADER
    return columns.write_csv(include_header=header).encode()


def zip_of(name: str, content: bytes) -> bytes:
    """Return a zip with one file; the same content is the same zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        file = zipfile.ZipInfo(name, (2026, 1, 5, 9, 0, 0))
        archive.writestr(file, content, zipfile.ZIP_DEFLATED, compresslevel=1)
    return packed.getvalue()


_PERIODS = {"monthly": "%Y-%m", "daily": "%Y-%m-%d"}


def _end_ms(period: str) -> int:
    first = pl.Series([period + "-01" * (2 - period.count("-"))]).str.to_date()
    after = first.dt.offset_by("1d" if period.count("-") == 2 else "1mo")
    return int(after.cast(pl.Datetime("ms")).dt.epoch("ms")[0])


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
