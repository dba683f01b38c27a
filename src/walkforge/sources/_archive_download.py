"""Downloads a file of the archive and compares it with the checksum beside it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from threading import Event

from walkforge.base import FetchError

from ._http import HttpClient, refuse_page, shown_url


@dataclass(frozen=True, slots=True)
class Download:
    """A file as it came."""

    url: str
    """Where from, without user and password."""
    content: bytes
    sha256: str
    checksum_agreed: bool
    """False where no checksum lies beside the file."""
    received_bytes: int


def download(client: HttpClient, url: str, halt: Event) -> Download:
    """Download a zip and its .CHECKSUM; where they differ, both once more.

    A zip without a checksum is taken. Raises FetchError where they differ again, where the zip is
    not there, or where a web page came instead; otherwise as `HttpClient.get`.
    """
    place = shown_url(url)
    for _ in range(2):
        zipped = client.get(url, halt=halt)
        if zipped is None:
            raise FetchError(f"{place}: listed, but not there (404); try again later")
        refuse_page(zipped, url, "a zip")
        beside = client.get(f"{url}.CHECKSUM", halt=halt)
        if beside is not None:
            refuse_page(beside, url, "a checksum")
        expected = None if beside is None else _sha256_in(beside.content, place)
        found = hashlib.sha256(zipped.content).hexdigest()
        if expected in (None, found):
            return Download(
                url=place,
                content=zipped.content,
                sha256=found,
                checksum_agreed=expected is not None,
                received_bytes=len(zipped.content) + (len(beside.content) if beside else 0),
            )
    raise FetchError(
        f"{place}: SHA-256 {found[:12]}... differs from {str(expected)[:12]}... in its .CHECKSUM, "
        "also when both were downloaded again; nothing of it is stored, try again later"
    )


def _sha256_in(content: bytes, place: str) -> str:
    word = content[:200].decode("utf-8", "replace").split(maxsplit=1)[:1]
    if not word or not re.fullmatch(r"[0-9a-fA-F]{64}", word[0]):
        raise FetchError(
            f"{place}.CHECKSUM: no SHA-256 in it, expected 64 hex digits and the file's name; "
            "try again later"
        )
    return word[0].lower()
