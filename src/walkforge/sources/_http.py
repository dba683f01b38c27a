"""Asking web servers: tries again where that helps, waits where it must, errors in one line.

No message holds the user, the password or the query of an address, and no log line of httpx the
user or the password.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from walkforge import __version__
from walkforge.base import FetchError, SourceUnreachableError, UsageError, utc_text

from ._waits import LONGEST_WAIT_S, moment_ms, retry_after_s, stop_when_enough

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

FIRST_WAIT_S = 1.0  # doubles with every try; as much again is added by chance
_CONNECT_S = 10.0
_CHECK_NETWORK = "check the network, or name a mirror with --url"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the body, and the headers by their names in lower case."""

    content: bytes
    headers: Mapping[str, str]

    def moment_ms(self, header: str) -> int | None:
        """Return the time that a header such as `date` tells, None where it tells none."""
        return moment_ms(self.headers.get(header, ""))


class HttpClient:
    """A client for `connections` threads at once, which keeps connections open."""

    def __init__(self, *, connections: int, read_s: float = 30.0) -> None:
        import httpx

        self._read_s = read_s
        self._closed = False
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._client = httpx.Client(
            follow_redirects=True,
            headers={"User-Agent": f"walkforge/{__version__}"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=httpx.Timeout(read_s, connect=_CONNECT_S, pool=None),
        )

    def get(
        self, url: str, *, halt: Event, params: Mapping[str, str] | None = None
    ) -> Answer | None:
        """Return what lies at an address, None where nothing does (404).

        Tries up to five times, and waits up to ten minutes in all. Raises SourceUnreachableError
        where the server cannot be reached, bans, or asks for a long wait; FetchError for
        everything else, and where `halt` is set.
        """
        from tenacity import Retrying, retry_if_exception_type

        tries = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_when_enough,
            wait=_pause_s,
            sleep=lambda pause_s: _wait(halt, pause_s, url),
            reraise=True,
        )
        try:
            return tries(self._once, url, params, halt)
        except _Again as again:
            raise again.at_last(tries.statistics["attempt_number"]) from None

    def close(self) -> None:
        """Close the connections; downloads under way end as interrupted."""
        self._closed = True
        for each in list(self._sockets):
            # Closing alone leaves a thread that reads waiting until its time is out.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._client.close()

    def _once(self, url: str, params: Mapping[str, str] | None, halt: Event) -> Answer | None:
        import httpx

        # httpx logs addresses as they are: user and password travel beside them.
        address = httpx.URL(url)
        plain = address.copy_with(userinfo=b"")
        auth = (address.username, address.password) if address.userinfo else None
        opened = {"trace": self._remember_socket}
        self._refuse_interrupted(halt, url)
        try:
            with self._client.stream(
                "GET", plain, params=params, auth=auth, extensions=opened
            ) as response:
                _judge(response, url)
                chunks = []
                for chunk in response.iter_bytes():
                    self._refuse_interrupted(halt, url)
                    chunks.append(chunk)
                headers = {name.lower(): text for name, text in response.headers.items()}
                found = response.is_success
        except (httpx.HTTPError, RuntimeError) as error:
            self._refuse_interrupted(halt, url)
            if isinstance(error, httpx.HTTPError):
                raise self._failure(error, url) from None
            raise
        return Answer(b"".join(chunks), headers) if found else None

    def _refuse_interrupted(self, halt: Event, url: str) -> None:
        if self._closed or halt.is_set():
            raise _interrupted(url)

    def _remember_socket(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.add(info["return_value"].get_extra_info("socket"))

    def _failure(self, error: httpx.HTTPError, url: str) -> Exception:
        """Return what a failure of the connection means: try again, or give up."""
        import httpx

        if isinstance(error, httpx.UnsupportedProtocol | httpx.TooManyRedirects):
            return FetchError(f"{shown_url(url)}: redirected to nowhere; name a mirror with --url")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            reason = _reason(error)
            words = f"{host_of(url)} cannot be reached: {reason}"
            return _Again(SourceUnreachableError, words, _CHECK_NETWORK)
        if isinstance(error, httpx.TimeoutException):
            what = f"no answer for {self._read_s:g} s"
        else:
            what = f"the connection broke off ({_reason(error)})"
        return _Again(FetchError, f"{shown_url(url)}: {what}", _CHECK_NETWORK)


class _Again(Exception):  # noqa: N818
    """A try failed and another one may help, after `after_s` where the server named it."""

    def __init__(
        self, kind: type[FetchError], words: str, hint: str, after_s: float | None = None
    ) -> None:
        super().__init__(words)
        self.after_s = after_s
        self._kind = kind
        self._words = words
        self._hint = hint

    def at_last(self, tries: int) -> FetchError:
        """Return what to raise where no try helped."""
        return self._kind(f"{self._words} ({tries} tries); {self._hint}")


def base_url(key: str, url: str) -> str:
    """Return a base address without the slash at its end.

    Raises UsageError where it is none, or has a query.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if sound and not re.search(r"[?#\s]", url):
            return url.rstrip("/")
    except ValueError:  # such as a port that is no number
        pass
    raise UsageError(
        f"the URL of {key!r} is {shown_url(url)!r}, expected one such as "
        "https://example.org/archive, without a query"
    )


def shown_url(url: str) -> str:
    """Return an address as messages show it: without user, password, query and fragment."""
    # Up to the last @: a password may hold anything, a slash or a question mark too.
    return re.split(r"[?#]", re.sub(r"^(\w+://)?.*@", r"\1", url), maxsplit=1)[0]


def host_of(url: str) -> str:
    """Return the host of an address, with its port where it names one."""
    return shown_url(url).split("//", 1)[-1].split("/", 1)[0]


def refuse_page(answer: Answer, url: str, expected: str) -> None:
    """Raise FetchError where a web page came instead of what was expected."""
    head = answer.content[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.startswith((b"<html", b"<!doctype html")):
        return
    title = re.search(rb"<title[^>]*>([^<]{1,80})", answer.content[:20_000], re.IGNORECASE)
    words = " ".join(title[1].decode("utf-8", "replace").split()) if title else ""
    raise FetchError(
        f"{shown_url(url)}: a web page{f' ({words!r})' if words else ''} came instead of "
        f"{expected}; a login of the network or a block may stand between: {_CHECK_NETWORK}"
    )


def _judge(response: httpx.Response, url: str) -> None:
    """Raise what a status other than 200 and 404 means."""
    status = response.status_code
    if response.is_success or status in (404, 410):
        return
    host = host_of(url)
    if status == 418:
        until = _until(response) or "for a time that it does not tell"
        raise SourceUnreachableError(
            f"{host} bans this address {until} (status 418: too many requests went on after a "
            "warning); run the same command again after that"
        )
    if status == 429 or status >= 500:
        after_s = _after_s(response)
        if after_s is not None and after_s > LONGEST_WAIT_S:
            raise SourceUnreachableError(
                f"{host} answers no more {_until(response)} (status {status}); longer than "
                f"{LONGEST_WAIT_S:g} s nobody waits here: run the same command again after that"
            )
        kind = SourceUnreachableError if status == 429 else FetchError
        what = "too many requests" if status == 429 else "its server has trouble"
        raise _Again(
            kind, f"{shown_url(url)}: answered {status}, {what}", "try again later", after_s
        )
    hints = {
        401: "it asks for a password: write the URL as https://USER:PASSWORD@...",
        403: f"it may refuse this country or network: {_CHECK_NETWORK}",
        451: f"it refuses this country for legal reasons: {_CHECK_NETWORK}",
    }
    hint = hints.get(status, "expected 200; is the URL the right one?")
    raise FetchError(f"{shown_url(url)}: answered {status}; {hint}")


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = (error.after_s or 0.0) if isinstance(error, _Again) else 0.0
    doubled_s = FIRST_WAIT_S * 2 ** (state.attempt_number - 1)
    return max(asked_s, doubled_s + random.uniform(0.0, FIRST_WAIT_S))


def _wait(halt: Event, pause_s: float, url: str) -> None:
    if halt.wait(pause_s):
        raise _interrupted(url)


def _interrupted(url: str) -> FetchError:
    return FetchError(f"{shown_url(url)}: interrupted")


def _after_s(response: httpx.Response) -> float | None:
    return retry_after_s(response.headers.get("retry-after", ""), _now_ms(response))


def _until(response: httpx.Response) -> str:
    after_s = _after_s(response)
    if after_s is None:
        return ""
    return f"until {utc_text(int(_now_ms(response) + 1000 * after_s) // 1000 * 1000)} UTC"


def _now_ms(response: httpx.Response) -> int:
    """Return the time by the server's clock, by ours where it does not tell."""
    told = moment_ms(response.headers.get("date", ""))
    return int(datetime.now(tz=UTC).timestamp() * 1000) if told is None else told


def _reason(error: Exception) -> str:
    """Return an error of the network in a few words, without its number."""
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip().split("\n")[0])
    # What a proxy or a peer says may hold anything, an address with a password too.
    text = re.sub(r"\S*(://|@)\S*", "...", text)[:120]
    return text or type(error).__name__
