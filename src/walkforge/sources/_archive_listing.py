"""The listing of an archive that lies in an S3 bucket: which folders and files it has.

The bucket answers in XML, a thousand names a page. Documents that declare entities are refused:
a listing has none, and expanding them is how XML is made to fill a memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from walkforge.base import FetchError

from ._http import HttpClient, refuse_page, shown_url


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the bucket."""

    key: str
    etag: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Page:
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    last: str | None
    """After which name the next page begins; None where this is the last page."""


class BucketListing:
    """Asks a bucket for its names; `halt` ends a wait between tries."""

    def __init__(self, client: HttpClient, url: str, halt: Event) -> None:
        self._client = client
        self._url = url
        self._halt = halt

    def until(self, halt: Event) -> BucketListing:
        """Return the same listing with another event that ends its waits."""
        return BucketListing(self._client, self._url, halt)

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders right below a prefix that ends in a slash."""
        pages = self._pages(prefix)
        return [name[len(prefix) :].rstrip("/") for page in pages for name in page.folders]

    def files(self, prefix: str, *, after: str = "") -> list[Entry]:
        """Return the files whose key begins with a prefix, but for those in folders below it.

        Those alone whose key comes after `after`.
        """
        return [entry for page in self._pages(prefix, after=after) for entry in page.entries]

    def first_files(self, prefix: str, most: int) -> list[Entry]:
        """Return the first few files right below a prefix."""
        return list(next(self._pages(prefix, most=most)).entries)

    def _pages(self, prefix: str, *, after: str = "", most: int | None = None) -> Iterator[_Page]:
        asked = {"delimiter": "/", "prefix": prefix}
        if most is not None:
            asked["max-keys"] = str(most)
        while True:
            page = self._page({**asked, "marker": after} if after else asked)
            yield page
            if page.last is None:
                return
            if page.last <= after:
                raise FetchError(f"{shown_url(self._url)}: the listing of {prefix} goes in circles")
            after = page.last

    def _page(self, params: dict[str, str]) -> _Page:
        place = f"{shown_url(self._url)}: the listing of {params['prefix']}"
        answer = self._client.get(self._url, halt=self._halt, params=params)
        if answer is None:
            raise FetchError(f"{place} is not there (404); name the bucket's address with --url")
        refuse_page(answer, self._url, "a listing of files")
        try:
            return _read_page(answer.content)
        except (expat.ExpatError, ValueError) as error:
            raise FetchError(f"{place} cannot be read: {error}; try again later") from None


def _read_page(content: bytes) -> _Page:
    """Read one page of a listing; raise ValueError or ExpatError where it is none."""
    root = _parse(content)
    if root.tag != "ListBucketResult":
        raise ValueError(f"it is a {root.tag[:40]!r}, expected a ListBucketResult")
    entries = tuple(
        Entry(
            key=_text(found, "Key"),
            etag=_text(found, "ETag").strip('"'),
            size_bytes=int(_text(found, "Size") or 0) or None,
        )
        for found in root.iterfind("Contents")
    )
    folders = tuple(_text(found, "Prefix") for found in root.iterfind("CommonPrefixes"))
    if _text(root, "IsTruncated") != "true":
        return _Page(entries, folders, None)
    names = [*(entry.key for entry in entries), *folders]
    if not names:
        raise ValueError("a page without a name says that there are more")
    return _Page(entries, folders, _text(root, "NextMarker") or max(names))


def _parse(content: bytes) -> Element:
    builder = TreeBuilder()
    # Without a separator expat leaves names as they stand, free of the namespace of S3.
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.Parse(content, True)
    return builder.close()


def _refuse_document_type(*_: Any) -> None:
    raise ValueError("it declares a document type, which no listing does")


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()
