"""Yahoo's chart API over real bars, with dividends and splits that a test invents.

    api = YahooApi({"AAPL": Asset(days)}, now="2017-02-06 15:00")
    with YahooServer(api) as server:
        yahoo(urls={"api": server.url})

Prices of an `Asset` are those that Yahoo shows: of today's shares. The session under way is
served as far as it has come; the API's clock stands at `now` until a test moves it.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import polars as pl

from servers.local import LocalServer, Request, Response

DAY_S = 86_400
_STEP_S = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "60m": 3600}
# What Yahoo keeps: days back, and days at once.
_REACH_DAYS = {"1m": 30, "5m": 60, "15m": 60, "30m": 60, "1h": 730, "60m": 730}


def at_s(text: str) -> int:
    """Return the seconds of `2017-02-06 15:00`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("UTC")).timestamp())


@dataclass
class Asset:
    """A symbol: days stamped 00:00 UTC of their date, and bars of minutes by their names."""

    days: pl.DataFrame
    zone: str = "America/New_York"
    opens: str = "09:30"
    closes: str = "16:00"
    kind: str = "EQUITY"
    dividends: dict[str, float] = field(default_factory=dict)
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    intraday: dict[str, pl.DataFrame] = field(default_factory=dict)
    traded: str | None = None
    """The last trade, where it is not now or the end of the last session."""

    def session(self, date: str) -> tuple[int, int]:
        """Return when the session of a date opens and closes, in s."""
        zone = ZoneInfo(self.zone)
        start = datetime.fromisoformat(f"{date} {self.opens}").replace(tzinfo=zone)
        end = datetime.fromisoformat(f"{date} {self.closes}").replace(tzinfo=zone)
        return int(start.timestamp()), int(end.timestamp())


class YahooApi:
    """What answers; everything may be changed between two requests."""

    def __init__(self, assets: dict[str, Asset], *, now: str) -> None:
        self.assets = assets
        self.now = now
        self.bare = False  # without bars: a chart of nothing, not an error

    def answer(self, request: Request) -> Response:
        prefix, _, symbol = unquote(request.path).rpartition("/")
        if prefix != "/v8/finance/chart":
            return Response(b"not here", 404, content_type="text/plain")
        if symbol not in self.assets:
            return _error(404, "Not Found", "No data found, symbol may be delisted")
        return self._chart(symbol, self.assets[symbol], request.query)

    def _chart(self, symbol: str, asset: Asset, query: dict[str, str]) -> Response:
        interval, now_s = query["interval"], at_s(self.now)
        start_s = int(query.get("period1", now_s - 7 * DAY_S))
        end_s = int(query.get("period2", now_s + 1))
        if interval != "1d":
            told = _out_of_reach(interval, start_s, end_s, now_s)
            if told:
                return _error(422, "Unprocessable Entity", told)
        rows = self._days(asset) if interval == "1d" else self._intraday(asset, interval)
        rows = [row for row in rows if start_s <= row["at"] < end_s]
        if "range" in query:
            rows = rows[-1:]
        if not rows and self.bare:
            bare = {"meta": self._meta(symbol, asset, interval), "indicators": {"quote": [{}]}}
            return _json(200, {"chart": {"result": [bare], "error": None}})
        if not rows:
            told = f"Data doesn't exist for startDate = {start_s}, endDate = {end_s}"
            return _error(400, "Bad Request", told)
        quote = {name: [row[name] for row in rows] for name in _COLUMNS}
        result: dict[str, Any] = {
            "meta": self._meta(symbol, asset, interval),
            "timestamp": [row["at"] for row in rows],
            "indicators": {"quote": [quote]},
        }
        if interval == "1d":
            adjusted = [row["close"] * row["factor"] for row in rows]
            result["indicators"]["adjclose"] = [{"adjclose": adjusted}]
        result["events"] = self._events(asset, start_s, end_s)
        return _json(200, {"chart": {"result": [result], "error": None}})

    def _days(self, asset: Asset) -> list[dict[str, Any]]:
        """Return the days that have begun; each dividend lowers everything before it."""
        now_s, rows, factor, later = at_s(self.now), [], 1.0, None
        for row in reversed(asset.days.to_dicts()):
            date = f"{row['timestamp']:%Y-%m-%d}"
            start_s, _ = asset.session(date)
            if start_s > now_s:
                continue
            if later is not None:
                factor *= 1 - asset.dividends.get(later, 0.0) / row["close"]
            rows.append({**row, "at": start_s, "factor": factor})
            later = date
        return rows[::-1]

    def _intraday(self, asset: Asset, interval: str) -> list[dict[str, Any]]:
        frame = asset.intraday[interval]
        rows = [
            {**row, "at": int(row["timestamp"].timestamp()), "factor": 1.0}
            for row in frame.to_dicts()
        ]
        return [row for row in rows if row["at"] <= at_s(self.now)]

    def _events(self, asset: Asset, start_s: int, end_s: int) -> dict[str, Any]:
        until_s = min(end_s, at_s(self.now) + 1)
        found: dict[str, Any] = {}
        for date, amount in asset.dividends.items():
            at, _ = asset.session(date)
            if start_s <= at < until_s:
                found.setdefault("dividends", {})[str(at)] = {"amount": amount, "date": at}
        for date, (numerator, denominator) in asset.splits.items():
            at, _ = asset.session(date)
            if start_s <= at < until_s:
                found.setdefault("splits", {})[str(at)] = {
                    "date": at,
                    "numerator": numerator,
                    "denominator": denominator,
                    "splitRatio": f"{numerator}:{denominator}",
                }
        return found

    def _meta(self, symbol: str, asset: Asset, interval: str) -> dict[str, Any]:
        now_s = at_s(self.now)
        local = datetime.fromtimestamp(now_s, ZoneInfo(asset.zone))
        today = local.date()
        while today.weekday() > 4 and asset.kind != "CRYPTOCURRENCY":
            today -= timedelta(days=1)
        start_s, end_s = asset.session(str(today))
        gmtoffset = int(local.utcoffset().total_seconds())
        period = {"timezone": local.tzname(), "gmtoffset": gmtoffset}
        traded_s = min(now_s, end_s)
        if now_s < start_s:
            traded_s = start_s - 15 * 3600
        if asset.traded is not None:
            traded_s = at_s(asset.traded)
        first = f"{asset.days['timestamp'][0]:%Y-%m-%d}"
        meta = {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "NMS",
            "instrumentType": asset.kind,
            "firstTradeDate": asset.session(first)[0],
            "regularMarketTime": traded_s,
            "gmtoffset": gmtoffset,
            "timezone": local.tzname(),
            "exchangeTimezoneName": asset.zone,
            "priceHint": 2,
            "currentTradingPeriod": {
                "pre": {**period, "start": start_s - 5 * 3600, "end": start_s},
                "regular": {**period, "start": start_s, "end": end_s},
                "post": {**period, "start": end_s, "end": end_s + 4 * 3600},
            },
            "dataGranularity": interval,
            "range": "",
            "validRanges": ["1d", "5d", "1mo", "max"],
        }
        if interval != "1d":
            dates = sorted({f"{stamp:%Y-%m-%d}" for stamp in asset.intraday[interval]["timestamp"]})
            sessions = [asset.session(date) for date in dates]
            meta["tradingPeriods"] = [[{**period, "start": s, "end": e}] for s, e in sessions]
        return meta


class YahooServer(LocalServer):
    """A local server whose Date header tells the API's time."""

    def __init__(self, api: YahooApi) -> None:
        super().__init__(api.answer)
        self.api = api

    def _handler(self) -> type:
        api = self.api

        class Handler(super()._handler()):
            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(at_s(api.now), usegmt=True)

        return Handler


_COLUMNS = ("open", "high", "low", "close", "volume")


def _out_of_reach(interval: str, start_s: int, end_s: int, now_s: int) -> str:
    days = _REACH_DAYS[interval]
    span = f"{interval} data not available for startTime={start_s} and endTime={end_s}. "
    if start_s < now_s - days * DAY_S:
        return f"{span}The requested range must be within the last {days} days."
    if interval == "1m" and end_s - start_s > 8 * DAY_S:
        return (
            f"{span}Only 8 days worth of 1m granularity data are allowed to be fetched per request."
        )
    return ""


def _error(status: int, code: str, description: str) -> Response:
    error = {"code": code, "description": description}
    return _json(status, {"chart": {"result": None, "error": error}})


def _json(status: int, content: Any) -> Response:
    return Response(json.dumps(content).encode(), status, content_type="application/json")
