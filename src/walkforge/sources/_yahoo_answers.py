"""What Yahoo's chart API answers: a chart with its clock, or trouble of some kind."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from walkforge.base import FetchError, SourceUnreachableError, UsageError

from ._http import Answer, host_of, refuse_page, shown_url
from ._waits import LONGEST_WAIT_S, TRIES, moment_ms, retry_after_s

if TYPE_CHECKING:
    from curl_cffi.requests import Response

# Yahoo, told to wait, rarely says how long; its limit counts in minutes.
_BUSY_WAIT_S = 5.0
_ALL_DAY_S = 86_340
# Yahoo shows some exchanges with a delay, of up to half an hour.
_SETTLED_MS = 3_600_000


@dataclass(frozen=True)
class Chart:
    """An answer of the chart API; `text` and `json` are what yfinance reads it by."""

    content: bytes
    now_ms: int
    """The server's clock."""

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        return json.loads(self.content)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What it says of the symbol and its exchange; empty where it has no bars."""
        results = self.json()["chart"].get("result") or [{}]
        return dict(results[0].get("meta") or {})

    @property
    def zone(self) -> str:
        """The exchange's time zone."""
        return str(self.meta.get("exchangeTimezoneName") or "UTC")

    @property
    def around_the_clock(self) -> bool:
        """Whether it trades all day: coins, currencies and futures do, from 00:00 to 23:59."""
        regular = (self.meta.get("currentTradingPeriod") or {}).get("regular") or {}
        return int(regular.get("end", 0)) - int(regular.get("start", 0)) >= _ALL_DAY_S

    @property
    def known_ms(self) -> int:
        """Up to when prices are final: the last trade, or an hour ago where none is as new."""
        traded_ms = 1000 * int(self.meta.get("regularMarketTime") or 0)
        return max(min(traded_ms, self.now_ms), self.now_ms - _SETTLED_MS)


def no_answer(error: Exception, url: str, timeout_s: float) -> FetchError:
    """Return what a failure of the connection means."""
    from curl_cffi.requests.exceptions import (
        ConnectTimeout,
        DNSError,
        IncompleteRead,
        ProxyError,
        SSLError,
        Timeout,
    )

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (DNSError, "its name is not known"),
        (ConnectTimeout, "it does not pick up"),
        (ProxyError, "the proxy refuses"),
        (SSLError, "no safe connection comes about"),
        (Timeout, f"no answer for {timeout_s:g} s"),
        (IncompleteRead, "the connection broke off"),
    )
    usual = "the connection is refused or breaks off"
    reason = next((words for kind, words in reasons if isinstance(error, kind)), usual)
    return SourceUnreachableError(
        f"{host_of(url)} cannot be reached: {reason} ({TRIES} tries); check the network, or name "
        "a mirror with --url"
    )


def too_many(response: Response, url: str, number: int) -> tuple[FetchError, float]:
    """Return the error and the wait for status 429; raise it where the wait is too long."""
    now_ms = moment_ms(response.headers.get("date") or "") or time.time_ns() // 1_000_000
    told_s = retry_after_s(response.headers.get("retry-after") or "", now_ms)
    pause_s = _BUSY_WAIT_S * 2**number if told_s is None else told_s
    error = SourceUnreachableError(
        f"{host_of(url)}: answered 429, too many requests"
        + (f" ({TRIES} tries)" if told_s is None else f", and asks to wait {pause_s:g} s")
        + "; run the same command again later"
    )
    if pause_s > LONGEST_WAIT_S:
        raise error
    return error, pause_s


def read_chart(response: Response, url: str, symbol: str) -> Chart:
    """Return the chart of an answer; raise what it says instead of one."""
    headers = {name.lower(): text or "" for name, text in response.headers.items()}
    answer = Answer(response.content, headers)
    refuse_page(answer, url, "a chart")
    try:
        chart = json.loads(answer.content)["chart"]
        trouble = chart["error"]
        traded_s = (chart.get("result") or [{}])[0].get("meta", {}).get("regularMarketTime")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise FetchError(
            f"{shown_url(url)}: answered {response.status_code} and no chart; is the URL that of "
            "Yahoo's API?"
        ) from None
    if trouble is not None:
        _raise_told(trouble, url, symbol)
    now_ms = answer.moment_ms("date")
    return Chart(answer.content, 1000 * int(traded_s or 0) if now_ms is None else now_ms)


def _raise_told(trouble: Any, url: str, symbol: str) -> None:
    """Raise the error that Yahoo names, unless it is that a stretch of time has no bars."""
    code = str(trouble.get("code"))
    words = " ".join(str(trouble.get("description")).split())[:200]
    if code == "Not Found":
        dotted = re.fullmatch(r"(.+)\.([AB])", symbol)
        raise UsageError(
            f"yahoo has no symbol {symbol!r}"
            + (f" (did you mean {f'{dotted[1]}-{dotted[2]}'!r}?)" if dotted else "")
            + f": {words}; write it as finance.yahoo.com does, such as AAPL, BRK-B, BTC-USD, "
            "EURUSD=X, GC=F or ^GSPC"
        )
    if not words.startswith("Data doesn't exist"):
        raise FetchError(f"{shown_url(url)}: {code}: {words}")
