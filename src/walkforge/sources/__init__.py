"""Where bars come from: one small interface, and the fetch that brings what is missing home."""

from ._fetch import FetchWatcher, fetch
from ._fetch_funding import fetch_funding
from ._make import MARKETS, SOURCES, make_source, url_key
from ._plan import SeriesPlan, make_plan, plan_repairs
from ._refresh_instruments import refresh_instruments
from ._report import FailedPiece, FetchedSeries, FetchReport
from ._source import (
    Delivery,
    FundingDelivery,
    FundingSource,
    InstrumentSource,
    Listing,
    Piece,
    Source,
)

__all__ = [
    "MARKETS",
    "SOURCES",
    "Delivery",
    "FailedPiece",
    "FetchReport",
    "FetchWatcher",
    "FetchedSeries",
    "FundingDelivery",
    "FundingSource",
    "InstrumentSource",
    "Listing",
    "Piece",
    "SeriesPlan",
    "Source",
    "fetch",
    "fetch_funding",
    "make_plan",
    "make_source",
    "plan_repairs",
    "refresh_instruments",
    "url_key",
]
