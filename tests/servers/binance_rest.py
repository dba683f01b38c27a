"""Binance's REST interface on 127.0.0.1: klines, funding and lists of spot and USD-M futures.

    with BinanceRestServer(spot={"BTCUSDT": {"1m": frame}}, now_ms=now_ms) as server:
        ccxt_source("binance", urls={"api": server.url})

Bars are served to the bit, pages and limits are those of the exchange, and every fault of
`LocalServer` can be ordered. The clock stands at `now_ms` until a test moves it.
"""

import json
import threading
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import polars as pl

from servers.local import LocalServer, Request, Response
from walkforge.base import TIMEFRAMES_MS

Frames = Mapping[str, Mapping[str, pl.DataFrame]]

_MINUTE_MS = 60_000
_NEVER_MS = 4_133_404_800_000  # how futures that do not expire write their delivery
_QUOTES = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR")
# How often one may ask on after a 429 before the ban, and how long that is.
_WARNINGS, _BAN_S = 3, 120
_FILTERS = {
    "api": {"tick": "0.01000000", "step": "0.00001000", "least": "5.00000000"},
    "fapi": {"tick": "0.10", "step": "0.001", "least": "100"},
}


class BinanceRestServer(LocalServer):
    """Serves frames of `timestamp, open, high, low, close, volume` by symbol and timeframe.

    `spot` answers below /api/v3, `futures` below /fapi/v1. A bar that is under way at `now_ms`
    comes as the exchange sends it: with the volume so far and its last price (half the volume,
    and the open as close); later ones do not come. Without `now_ms` the clock stands in the
    middle of the last bar of all.

    `funding`: frames of `timestamp` and `rate` by symbol; `funding_hours` of the symbols that
    differ from 8. `ended`: symbols that are listed and do not trade any more. Beside the given
    futures a contract that expires is listed, BTCUSDT_240628.

    Requests have the exchange's weights. Beyond `weight_limit` in one minute of the server's
    clock they are answered 429 with Retry-After, and 418 with a ban of two minutes once three
    more came nevertheless.
    """

    def __init__(
        self,
        *,
        spot: Frames | None = None,
        futures: Frames | None = None,
        funding: Mapping[str, pl.DataFrame] | None = None,
        funding_hours: Mapping[str, int] | None = None,
        ended: frozenset[str] = frozenset(),
        now_ms: int | None = None,
        weight_limit: int = 6000,
    ) -> None:
        super().__init__(self._respond)
        self.frames = {"api": spot or {}, "fapi": futures or {}}
        self.now_ms = self._middle_of_the_last_bar_ms() if now_ms is None else now_ms
        self.weight_limit = weight_limit
        self.banned_until_ms = 0
        self._funding = funding or {}
        self._funding_hours = funding_hours or {}
        self._ended = ended
        self._minute, self._weight, self._warnings = 0, 0, 0
        self._counting = threading.Lock()

    def _respond(self, request: Request) -> Response:
        house, _, what = request.path.strip("/").partition("/")
        with self._counting:
            refusal = self._weigh(house, what, request.query)
        return refusal or self._answer_of(house, what, request.query)

    def _answer_of(self, house: str, what: str, query: dict[str, str]) -> Response:
        answers = {
            "klines": lambda: self._klines(house, query),
            "exchangeInfo": lambda: self._exchange_info(house),
            "time": lambda: {"serverTime": self.now_ms},
            "fundingRate": lambda: self._funding_rates(query),
            "fundingInfo": self._funding_info,
        }
        version, _, name = what.partition("/")
        known = {"api": "v3", "fapi": "v1"}.get(house) == version and name in answers
        if not known or (house == "api" and name.startswith("funding")):
            return Response(b"<html>404 Not found</html>", 404, content_type="text/html")
        try:
            return self._json(answers[name]())
        except _Refused as refused:
            return self._json({"code": refused.code, "msg": str(refused)}, status=400)

    def _json(self, what: object, status: int = 200, **headers: str) -> Response:
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight)} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        return Response(json.dumps(what).encode(), status, headers, "application/json")

    def _weigh(self, house: str, what: str, query: dict[str, str]) -> Response | None:
        """Count a request; return the refusal where it was one too many."""
        if self.now_ms < self.banned_until_ms:
            return self._ban()
        if self.now_ms // _MINUTE_MS != self._minute:
            self._minute, self._weight, self._warnings = self.now_ms // _MINUTE_MS, 0, 0
        self._weight += _weight_of(house, what, query)
        if self._weight <= self.weight_limit:
            return None
        self._warnings += 1
        if self._warnings > _WARNINGS:
            self.banned_until_ms = self.now_ms + _BAN_S * 1000
            return self._ban()
        after_s = -(-((self._minute + 1) * _MINUTE_MS - self.now_ms) // 1000)
        told = {
            "code": -1003,
            "msg": f"Too many requests; the limit is {self.weight_limit} weight.",
        }
        return self._json(told, 429, Retry_After=str(after_s))

    def _ban(self) -> Response:
        after_s = -(-(self.banned_until_ms - self.now_ms) // 1000)
        told = f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}."
        return self._json({"code": -1003, "msg": told}, 418, Retry_After=str(after_s))

    def _klines(self, house: str, query: dict[str, str]) -> list[list[object]]:
        frame = self._frame_of(house, query)
        step_ms = TIMEFRAMES_MS[query["interval"]]
        opens = pl.col("timestamp").dt.epoch("ms")
        frame = _page(
            frame.filter(opens <= self.now_ms),
            query,
            limit=_limit_of(query, usual=500, most={"api": 1000, "fapi": 1500}[house], house=house),
        )
        return [self._kline(row, step_ms) for row in frame.select(_KLINE).iter_rows()]

    def _frame_of(self, house: str, query: dict[str, str]) -> pl.DataFrame:
        if not query.get("symbol"):
            raise _Refused(-1102, "Mandatory parameter 'symbol' was not sent, or is malformed.")
        if query.get("interval") not in TIMEFRAMES_MS:
            raise _Refused(-1120, "Invalid interval.")
        if query["symbol"] not in self.frames[house]:
            raise _Refused(-1121, "Invalid symbol.")
        return self.frames[house][query["symbol"]].get(query["interval"], _NO_BARS)

    def _kline(self, row: tuple[int, float, float, float, float, float], step_ms: int) -> list:
        open_ms, first, high, low, last, volume = row
        if open_ms + step_ms > self.now_ms:  # under way
            last, volume = first, volume / 2
        cells = [repr(float(cell)) for cell in (first, high, low, last, volume)]
        return [open_ms, *cells, open_ms + step_ms - 1, repr(volume * last), 1, "0", "0", "0"]

    def _exchange_info(self, house: str) -> dict[str, object]:
        symbols = [self._listed(house, symbol) for symbol in self.frames[house]]
        if house == "fapi":
            symbols.append(self._listed(house, "BTCUSDT_240628"))
        return {
            "timezone": "UTC",
            "serverTime": self.now_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": symbols,
        }

    def _listed(self, house: str, symbol: str) -> dict[str, object]:
        pair, _, expires = symbol.partition("_")
        quote = next(quote for quote in _QUOTES if pair.endswith(quote))
        filters = _FILTERS[house]
        listed = {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": pair.removesuffix(quote),
            "quoteAsset": quote,
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": filters["tick"]},
                {"filterType": "LOT_SIZE", "minQty": filters["step"], "stepSize": filters["step"]},
            ],
        }
        if house == "api":
            least = {"filterType": "NOTIONAL", "minNotional": filters["least"]}
            ended = {"status": "BREAK"} if symbol in self._ended else {}
            return listed | ended | {"filters": [*listed["filters"], least], "permissions": []}
        least = {"filterType": "MIN_NOTIONAL", "notional": filters["least"]}
        return listed | {
            "filters": [*listed["filters"], least],
            "status": "SETTLING" if symbol in self._ended else "TRADING",
            "pair": pair,
            "contractType": "CURRENT_QUARTER" if expires else "PERPETUAL",
            "deliveryDate": 1_719_561_600_000 if expires else _NEVER_MS,
            "onboardDate": self._onboard_ms(symbol),
            "marginAsset": quote,
        }

    def _onboard_ms(self, symbol: str) -> int:
        frames = self.frames["fapi"].get(symbol, {}).values()
        return min((_stamps(frame)[0] for frame in frames if len(frame)), default=1_700_000_000_000)

    def _funding_rates(self, query: dict[str, str]) -> list[dict[str, object]]:
        symbol = query.get("symbol", "")
        if symbol not in self.frames["fapi"]:
            raise _Refused(-1121, "Invalid symbol.")
        frame = self._funding.get(symbol, _NO_RATES)
        frame = frame.filter(pl.col("timestamp").dt.epoch("ms") <= self.now_ms)
        frame = _page(frame, query, limit=_limit_of(query, usual=100, most=1000, house="api"))
        return [
            {"symbol": symbol, "fundingTime": time, "fundingRate": repr(rate), "markPrice": ""}
            for time, rate in zip(_stamps(frame), frame["rate"], strict=True)
        ]

    def _funding_info(self) -> list[dict[str, object]]:
        return [
            {"symbol": symbol, "fundingIntervalHours": hours, "disclaimer": False}
            for symbol, hours in self._funding_hours.items()
        ]

    def _middle_of_the_last_bar_ms(self) -> int:
        bars = [
            (_stamps(frame)[-1], TIMEFRAMES_MS[timeframe])
            for frames in self.frames.values()
            for by_timeframe in frames.values()
            for timeframe, frame in by_timeframe.items()
            if len(frame)
        ]
        open_ms, step_ms = max(bars, default=(1_700_000_000_000, 0))
        return open_ms + step_ms // 2

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Dated(super()._handler()):
            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(server.now_ms / 1000, usegmt=True)

        return Dated


class _Refused(Exception):  # noqa: N818
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


_STAMP = pl.Datetime("ms", "UTC")
_NUMBERS = ("open", "high", "low", "close", "volume")
_NO_BARS = pl.DataFrame(schema={"timestamp": _STAMP} | dict.fromkeys(_NUMBERS, pl.Float64))
_NO_RATES = pl.DataFrame(schema={"timestamp": _STAMP, "rate": pl.Float64})
_KLINE = [pl.col("timestamp").dt.epoch("ms"), *map(pl.col, _NUMBERS)]


def _stamps(frame: pl.DataFrame) -> list[int]:
    return frame["timestamp"].dt.epoch("ms").to_list()


def _page(frame: pl.DataFrame, query: dict[str, str], *, limit: int) -> pl.DataFrame:
    """Return rows from startTime on, to endTime and both included; the latest without a start."""
    times = pl.col("timestamp").dt.epoch("ms")
    if "endTime" in query:
        frame = frame.filter(times <= int(query["endTime"]))
    if "startTime" in query:
        return frame.filter(times >= int(query["startTime"])).head(limit)
    return frame.tail(limit)


def _limit_of(query: dict[str, str], *, usual: int, most: int, house: str) -> int:
    """Return the limit asked for: spot cuts what is too much, futures refuse it."""
    limit = int(query.get("limit", usual))
    if limit < 1 or (house == "fapi" and limit > most):
        raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def _weight_of(house: str, what: str, query: dict[str, str]) -> int:
    name = what.rpartition("/")[2]
    if house == "fapi" and name == "klines":
        limit = int(query.get("limit", 500))
        return next(
            weight for least, weight in ((1001, 10), (500, 5), (100, 2), (0, 1)) if limit >= least
        )
    return {"klines": 2, "exchangeInfo": 20 if house == "api" else 1}.get(name, 1)
