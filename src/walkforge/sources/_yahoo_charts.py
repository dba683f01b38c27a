"""Asking Yahoo for charts, through yfinance and from an address of our own.

yfinance builds its addresses from a constant and asks them through one client per process, whose
cookies it pickles into the user's cache folder. Neither suits a source with an address of its own
in a program with threads. But the reader of charts, `PriceHistory`, is handed the client that it
asks: it gets one of ours (`Charts.history`), which sends yfinance's own questions to the address
of the source. Nothing of the library is changed, and nothing is written. The cookie and the
"crumb" that its own client fetches before are not needed for charts.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from walkforge.base import FetchError, WalkforgeError

from ._http import FIRST_WAIT_S, shown_url
from ._waits import TRIES, is_enough, unless_halted
from ._yahoo_answers import Chart, no_answer, read_chart, too_many

if TYPE_CHECKING:
    from curl_cffi.requests import Response, Session

Frame = Any
"""A data frame of pandas, as yfinance makes it."""

_SILENT = logging.NullHandler()
_CHART = "/v8/finance/chart"
_TIMEOUT_S = 20.0
# Beyond every bar. Yahoo's prices are those of today's shares: to learn how many splits lie
# between a bar and today, the question has to reach until today, whatever our clock says.
_FAR_S = 4_102_444_800  # 2100-01-01


class Charts:
    """The chart API at one address; may be asked from several threads."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._idle: list[Session[Response]] = []

    def url(self, symbol: str) -> str:
        """Return the address of a symbol's chart, as messages and manifests show it."""
        return shown_url(f"{self._api}{_CHART}/{symbol}")

    def about(self, symbol: str, halt: Event) -> Chart:
        """Return the shortest chart of a symbol, for what it says of it.

        Raises as `ask` does.
        """
        params = {"range": "1d", "interval": "1d"}
        return self.ask(f"{_CHART}/{symbol}", symbol, params, halt)

    def history(
        self,
        symbol: str,
        interval: str,
        *,
        start_s: int,
        end_s: int | None = None,
        every_hour: bool = False,
        halt: Event,
    ) -> tuple[Frame, Chart]:
        """Return what yfinance reads out of a chart, not adjusted, and the chart itself.

        The frame is empty where there are no bars in [start, end); no end is today. Intraday bars
        are those of the regular session, or of `every_hour`. Raises as `ask` does, and
        FetchError where yfinance cannot read the answer.
        """
        from yfinance.exceptions import YFException
        from yfinance.scrapers.history import PriceHistory

        _quieten()
        client = _Client(self, symbol, halt)
        try:
            # A session goes unused, but where none is given yfinance opens one.
            frame = PriceHistory(client, symbol, "UTC", session=client).history(
                # yfinance takes 0 for no start.
                start=start_s or -1,
                end=end_s or _FAR_S,
                interval=interval,
                prepost=every_hour,
                auto_adjust=False,
            )
        except (YFException, LookupError, TypeError, ValueError, AttributeError) as error:
            client.raise_trouble()
            words = " ".join(str(error).split())[:120]
            raise FetchError(
                f"{self.url(symbol)}: its answer cannot be read ({type(error).__name__}: {words}); "
                "try again later, or fetch this symbol from another source"
            ) from None
        client.raise_trouble()
        assert client.chart is not None
        return frame, client.chart

    def ask(self, path: str, symbol: str, params: Mapping[str, Any], halt: Event) -> Chart:
        """Return the chart at a path; tries up to five times where that may help, and waits up to
        ten minutes in all.

        Raises UsageError for a symbol that Yahoo does not have, SourceUnreachableError where it
        cannot be reached or is asked too often, FetchError for all else and where `halt` is set.
        """
        url, tries, waited_s = f"{self._api}{path}", 0, 0.0
        while not halt.is_set():
            # Nothing ends a request of curl before its time is out.
            came = unless_halted(halt, partial(self._once, url, symbol, params, tries))
            if came is None:
                break
            found, pause_s = came
            if isinstance(found, Chart):
                return found
            tries += 1
            if is_enough(tries, waited_s, pause_s):
                raise found
            waited_s += pause_s
            halt.wait(pause_s)
        raise FetchError(f"{shown_url(url)}: interrupted")

    def close(self) -> None:
        """Close the connections, but for those of requests under way."""
        while self._idle:
            self._idle.pop().close()

    def _once(
        self, url: str, symbol: str, params: Mapping[str, Any], number: int
    ) -> tuple[Chart | FetchError, float]:
        """Return a chart, or what to raise at last and how long to wait before another try."""
        from curl_cffi.requests.exceptions import RequestException

        pause_s = FIRST_WAIT_S * 2**number
        try:
            response = self._get(url, params)
        except RequestException as error:
            return no_answer(error, url, _TIMEOUT_S), pause_s
        status = response.status_code
        if status == 429:
            return too_many(response, url, number)
        if status >= 500:
            words = f"{shown_url(url)}: answered {status}, its server has trouble ({TRIES} tries)"
            return FetchError(f"{words}; try again later"), pause_s
        return read_chart(response, url, symbol), 0.0

    def _get(self, url: str, params: Mapping[str, Any]) -> Response:
        """Ask through a session that nobody else uses meanwhile; it keeps its connection."""
        from curl_cffi.requests import Session

        try:
            session = self._idle.pop()
        except IndexError:
            # Yahoo turns away clients that do not greet as a browser does.
            session = Session(impersonate="chrome", use_thread_local_curl=False)
        response = session.get(url, params=dict(params), timeout=_TIMEOUT_S)
        self._idle.append(session)
        return response


class _Client:
    """What yfinance asks in the place of its own web client; keeps what came of it.

    yfinance turns every failure into an empty frame, which would say that there are no bars.
    """

    def __init__(self, charts: Charts, symbol: str, halt: Event) -> None:
        self.chart: Chart | None = None
        self._charts = charts
        self._symbol = symbol
        self._halt = halt
        self._trouble: WalkforgeError | None = None

    def get(
        self, url: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Chart:
        """Ask, and keep the answer or the trouble."""
        try:
            path = urlsplit(url).path
            self.chart = self._charts.ask(path, self._symbol, params or {}, self._halt)
        except WalkforgeError as error:
            self._trouble = error
            raise
        return self.chart

    # yfinance remembers answers about the past; ours changes with every dividend.
    cache_get = get

    def raise_trouble(self) -> None:
        """Raise what went wrong, where something did."""
        if self._trouble is not None:
            raise self._trouble from None


def _quieten() -> None:
    """Keep yfinance from printing: errors that are ours to raise, and pandas' deprecations."""
    # Python prints what is logged and has no handler.
    logging.getLogger("yfinance").addHandler(_SILENT)
    # It asks for its deprecation warnings to be shown when it is imported.
    warnings.filterwarnings("ignore", module=r"yfinance\.")
