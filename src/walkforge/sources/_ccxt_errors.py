"""What an exchange answered, and ccxt's many errors in the few of ours, one line each."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from walkforge.base import (
    FetchError,
    SourceUnreachableError,
    UsageError,
    WalkforgeError,
    utc_text,
)

from ._http import shown_url
from ._waits import LONGEST_WAIT_S, moment_ms, retry_after_s

_MOST_CHARACTERS = 200
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
# Words of the network's own errors, and what they mean to people.
_REASONS = {
    "refused": "the connection is refused",
    "resolve": "the host's name is not known",
    "timed out": "it does not answer in time",
    "IncompleteRead": "the answer breaks off",
    "reset": "the connection breaks off",
    "aborted": "the connection breaks off",
    "certificate": "its certificate is not trusted",
    "proxy": "the proxy does not let it through",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is remembered of the last answer; empty where none came."""

    status: int | None = None
    place: str = ""
    """The URL that was asked, without user, password and query."""
    date_ms: int | None = None
    """The exchange's time, to the second below."""
    retry_after_s: float | None = None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], url: str) -> Answer:
        date_ms = moment_ms(headers.get("Date", ""))
        now_ms = time.time_ns() // 1_000_000 if date_ms is None else date_ms
        after_s = retry_after_s(headers.get("Retry-After", ""), now_ms)
        return cls(status, shown_url(url), date_ms, after_s)


def refuse_no_data(exchange_id: str, answer: Answer, body: bytes) -> None:
    """Raise FetchError for a good answer that is no JSON, such as a web page."""
    try:
        json.loads(body)
    except ValueError:
        what = "a web page" if body.lstrip()[:1] == b"<" else "a text"
        raise FetchError(
            f"{exchange_id}: {answer.place} answers with {what} where data was expected; "
            "is there a login or a filter between here and the exchange?"
        ) from None


def may_pass(problem: BaseException, answer: Answer) -> bool:
    """Return whether asking again may help."""
    import ccxt

    if isinstance(problem, WalkforgeError) or answer.status in (403, 418, 451):
        return False
    if answer.retry_after_s is not None and answer.retry_after_s > LONGEST_WAIT_S:
        return False
    if isinstance(problem, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        return True
    # ccxt takes every 4xx without a word for "not available": asking again would not mend it.
    refused = answer.status is not None and 400 <= answer.status < 500
    return isinstance(problem, ccxt.NetworkError) and (not refused or answer.status in (408, 429))


def in_our_words(
    exchange_id: str, problem: Exception, answer: Answer, tries: int
) -> WalkforgeError:
    """Return the error that a user sees for one of ccxt's, or for whatever broke inside it."""
    import ccxt

    said = _one_line(str(problem).removeprefix(exchange_id))
    if isinstance(problem, ccxt.BadSymbol):
        return UsageError(f"{exchange_id} does not list it: {said}")
    if answer.status == 418:
        return SourceUnreachableError(
            f"{exchange_id} has banned this address for asking too much"
            f"{_until(str(problem), answer)}; ask again after that, and less at once"
        )
    if answer.status in (403, 451):
        return SourceUnreachableError(
            f"{exchange_id} refuses to serve this address (status {answer.status}): {said}"
        )
    if isinstance(problem, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        return SourceUnreachableError(
            f"{exchange_id} asks to wait{_until(str(problem), answer)}; ask again later"
        )
    if may_pass(problem, answer):
        return SourceUnreachableError(
            f"{exchange_id} cannot be reached after {tries} tries: {_reason(problem, answer)}"
        )
    if isinstance(problem, ccxt.BaseError):
        return FetchError(f"{exchange_id} refuses: {said}")
    return FetchError(
        f"{exchange_id} answers what ccxt cannot read ({type(problem).__name__}: {said})"
    )


def _reason(problem: Exception, answer: Answer) -> str:
    import ccxt

    where = shown_url(next(iter(re.findall(r"https?://\S+", str(problem))), ""))
    at = f" ({where})" if where else ""
    if answer.status is not None and answer.status >= 400:
        return f"it answers with status {answer.status}{at}"
    cause = f"{type(problem).__name__} {problem.__cause__}"
    if isinstance(problem, ccxt.RequestTimeout):
        return f"it does not answer in time{at}"
    for word, meaning in _REASONS.items():
        if word.lower() in cause.lower():
            return meaning + at
    return _one_line(str(problem))


def _until(said: str, answer: Answer) -> str:
    banned = _BANNED_UNTIL.search(said)
    if banned:
        return f" until {utc_text(int(banned[1]))} UTC"
    if answer.retry_after_s is None:
        return ""
    if answer.date_ms is None:
        return f" for {answer.retry_after_s:.0f} s"
    return f" until {utc_text(answer.date_ms + int(answer.retry_after_s * 1000))} UTC"


def _one_line(text: str) -> str:
    """Return text fit for a message: no query, no password, no web page, no line break."""
    text = re.sub(r"https?://\S+", lambda url: shown_url(url[0]), text)
    text = " ".join(re.sub(r"<[!a-zA-Z].*", "(a web page)", text, flags=re.DOTALL).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ..."
