"""One exchange through ccxt's own client: where it is, how it is paced, how often it is asked."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from threading import Event, RLock
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from walkforge.base import FetchError, UsageError, WalkforgeError, nearest

from ._ccxt_errors import Answer, in_our_words, may_pass, refuse_no_data
from ._waits import stop_when_enough

if TYPE_CHECKING:
    import tenacity

TIMEOUT_S = 20.0
"""How long one request may take."""
_LONGEST_PAUSE_S = 30.0
# The kinds of market that exchanges let ccxt load by themselves, in ccxt's words.
_KINDS = {"spot": {"spot"}, "perpetual": {"linear", "swap"}}


class CcxtClient:
    """One exchange, asked one thing at a time.

    Requests are paced as ccxt reckons them for the exchange, but wait on the caller's `halt`
    instead of sleeping, so that Ctrl-C ends a pause. No keys are known to it: only public
    questions can be asked.
    """

    def __init__(self, exchange_id: str, *, market: str, api: str) -> None:
        """`market` is spot or perpetual; `api` replaces the exchange's hosts, empty keeps them.

        Raises UsageError for an exchange that ccxt does not know.
        """
        self.exchange_id = exchange_id
        self.received_bytes = 0
        self.answer = Answer()
        self._ccxt = _open(exchange_id, market, api)
        self._ccxt.throttle = self._pace
        self._ccxt.session.hooks["response"].append(self._hear)
        self._halt = Event()
        self._next_at_s = 0.0
        self._one_at_a_time = RLock()

    @property
    def ccxt(self) -> Any:
        """ccxt's client, for what it knows without asking: `has`, `timeframes`, `features`."""
        return self._ccxt

    def ask(self, method: str, *words: Any, halt: Event) -> Any:
        """Return what ccxt's `method` returns, asked again where that helps.

        Refused connections, time-outs, broken answers, 5xx and 429 are asked again, after
        Retry-After where the exchange names it, and for ten minutes of waiting at most. Raises
        SourceUnreachableError when no try helped, or at once where the exchange bans or blocks;
        UsageError for a symbol that it does not list; FetchError for every other refusal, and
        once `halt` is set.
        """
        with self._one_at_a_time:
            self._halt = halt
            tries = self._tries()
            try:
                return tries(self._once, method, words)
            except WalkforgeError:
                raise
            except Exception as problem:
                number = tries.statistics["attempt_number"]
                raise in_our_words(self.exchange_id, problem, self.answer, number) from None

    def close(self) -> None:
        """Let go of the connection."""
        self._ccxt.session.close()

    def _tries(self) -> tenacity.Retrying:
        import tenacity

        return tenacity.Retrying(
            sleep=self._sleep,
            wait=self._pause_s,
            stop=stop_when_enough,
            retry=tenacity.retry_if_exception(lambda problem: may_pass(problem, self.answer)),
            reraise=True,
        )

    def _sleep(self, seconds: float) -> None:
        self._halt.wait(seconds)

    def _once(self, method: str, words: tuple[Any, ...]) -> Any:
        self._refuse_when_halted()
        return getattr(self._ccxt, method)(*words)

    def _pause_s(self, state: tenacity.RetryCallState) -> float:
        if self.answer.retry_after_s is not None:
            return max(1.0, self.answer.retry_after_s)
        return float(min(_LONGEST_PAUSE_S, 2 ** (state.attempt_number - 1)))

    def _pace(self, cost: float | None = None) -> None:
        """Wait until the next request is due; ccxt calls this before each."""
        least_s = self._ccxt.rateLimit / 1000 * (1 if cost is None else cost)
        now_s = time.monotonic()
        if self._next_at_s + least_s > now_s:
            self._halt.wait(self._next_at_s + least_s - now_s)
            self._refuse_when_halted()
        self._next_at_s = time.monotonic()
        # What an earlier request was answered says nothing about this one.
        self.answer = Answer()

    def _refuse_when_halted(self) -> None:
        if self._halt.is_set():
            raise FetchError(f"{self.exchange_id}: interrupted")

    def _hear(self, response: Any, **_: Any) -> None:
        """Note what came; ccxt itself takes what is no data for a page without bars."""
        self.answer = Answer.of(response.status_code, response.headers, response.url)
        body = response.content
        self.received_bytes += len(body)
        if response.ok:
            refuse_no_data(self.exchange_id, self.answer, body)


def _open(exchange_id: str, market: str, api: str) -> Any:
    import ccxt

    if exchange_id not in ccxt.exchanges:
        raise UsageError(
            f"ccxt knows no exchange {exchange_id!r}{nearest(exchange_id, ccxt.exchanges)}"
        )
    client = getattr(ccxt, exchange_id)(
        {
            "enableRateLimit": True,
            "timeout": int(TIMEOUT_S * 1000),
            # The proxies of the environment serve an exchange, and never this very machine.
            "requests_trust_env": not _is_loopback(api),
        }
    )
    # A list of coins, which some exchanges give to members only, says nothing about bars.
    client.has["fetchCurrencies"] = False
    _load_only(client, _KINDS[market])
    if api:
        _move(client, api)
    return client


def _move(client: Any, api: str) -> None:
    parts = urlsplit(api)
    if parts.username is not None:
        # Kept beside the address: ccxt writes addresses into its errors and its log.
        client.session.auth = (unquote(parts.username), unquote(parts.password or ""))
    client.urls["api"] = _leaves(client.urls["api"], lambda url: _moved(url, api))


def _load_only(client: Any, kinds: set[str]) -> None:
    options = client.options.get("fetchMarkets")
    if isinstance(options, dict) and "types" in options:
        options["types"] = [kind for kind in options["types"] if kind in kinds]


def _leaves(urls: Any, change: Callable[[str], str]) -> Any:
    if isinstance(urls, dict):
        return {name: _leaves(url, change) for name, url in urls.items()}
    return change(urls) if isinstance(urls, str) else urls


def _moved(url: str, base: str) -> str:
    """Return a URL on the host of `base`, without its user; its path comes after that of `base`."""
    old, new = urlsplit(url), urlsplit(base)
    host = new.netloc.rpartition("@")[2]
    return urlunsplit((new.scheme, host, new.path + old.path, old.query, ""))


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
