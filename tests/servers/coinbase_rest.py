"""Coinbase's public REST interface on 127.0.0.1, as far as candles of spot products need it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from servers.local import LocalServer, Request, Response

_PRODUCTS = "/api/v3/brokerage/market/products"
_MOST_CANDLES = 350
_GRANULARITIES_S = {
    "ONE_MINUTE": ("1m", 60),
    "FIVE_MINUTE": ("5m", 300),
    "FIFTEEN_MINUTE": ("15m", 900),
    "ONE_HOUR": ("1h", 3600),
    "ONE_DAY": ("1d", 86_400),
}


class CoinbaseRestServer(LocalServer):
    """Serves frames of `timestamp, open, high, low, close, volume` by product and timeframe.

    Products are written BTC-USD. Candles come newest first, at most 350 at once; minutes without
    a trade simply do not come. The clock stands at `now_ms` until a test moves it.
    """

    def __init__(self, frames: Mapping[str, Mapping[str, pl.DataFrame]], *, now_ms: int) -> None:
        super().__init__(self._respond)
        self.frames = frames
        self.now_ms = now_ms

    def _respond(self, request: Request) -> Response:
        if request.path == "/v2/time":
            iso = datetime.fromtimestamp(self.now_ms / 1000, tz=UTC).isoformat()
            return _json({"data": {"iso": iso, "epoch": self.now_ms // 1000}})
        if request.path == _PRODUCTS:
            contracts = request.query.get("product_type") == "FUTURE"
            products = [] if contracts else [_product(name) for name in self.frames]
            return _json({"products": products, "num_products": len(products)})
        name = request.path.removeprefix(f"{_PRODUCTS}/").removesuffix("/candles")
        if name not in self.frames:
            return _refusal(404, "NOT_FOUND", f"ProductID {name!r} could not be found")
        return self._candles(self.frames[name], request.query)

    def _candles(self, frames: Mapping[str, pl.DataFrame], query: dict[str, str]) -> Response:
        timeframe, step_s = _GRANULARITIES_S[query["granularity"]]
        start_s, end_s = int(query["start"]), int(query["end"])
        if (end_s - start_s) // step_s > _MOST_CANDLES:
            words = f"number of candles requested should be less than {_MOST_CANDLES}"
            return _refusal(400, "INVALID_ARGUMENT", words)
        if timeframe not in frames:
            return _json({"candles": []})
        times = pl.col("timestamp").dt.epoch("s")
        last_s = min(end_s, self.now_ms // 1000)
        rows = frames[timeframe].filter((times >= start_s) & (times <= last_s)).with_columns(times)
        candles = [
            {name: repr(cell) for name, cell in row.items() if name != "timestamp"}
            | {"start": str(row["timestamp"])}
            for row in rows.reverse().iter_rows(named=True)
        ]
        return _json({"candles": candles})


def _product(name: str) -> dict[str, object]:
    base, quote = name.split("-")
    return {
        "product_id": name,
        "product_type": "SPOT",
        "base_currency_id": base,
        "quote_currency_id": quote,
        "price_increment": "0.01",
        "base_increment": "0.00000001",
        "quote_increment": "0.01",
        "base_min_size": "0.00000001",
        "base_max_size": "3400",
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "trading_disabled": False,
        "alias_to": [],
    }


def _json(what: object, status: int = 200) -> Response:
    return Response(json.dumps(what).encode(), status, content_type="application/json")


def _refusal(status: int, error: str, words: str) -> Response:
    return _json({"error": error, "error_details": words, "message": words}, status)
