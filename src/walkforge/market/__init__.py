"""Bars: where they come from, how they are kept, checked and repaired, and their instruments."""

from ._bars import PROVENANCES, Bars
from ._bars_file import BarsFile, provenance_of_file, read_bars_file_frame
from ._calendar import CALENDARS, Hole
from ._check import CheckLimits, CheckReport, check_bars, check_path
from ._coverage import coverage, coverage_strip
from ._export import EXPORT_FORMS, ExportReport, export_bars
from ._findings import ERROR_KINDS, NOTE_KINDS, Finding
from ._folders import read_folder, read_symbol, read_venues, venues_by_symbol
from ._frames import bars_from_frame, bars_to_frame
from ._funding import Funding, funding_asked, funding_known_at, read_funding, write_funding
from ._import import ImportReport, import_bars
from ._info import data_info
from ._instrument import Instrument, is_perpetual_venue
from ._instrument_files import read_instruments, write_instruments
from ._instruments import instrument_of
from ._klines import bars_frame_of_zip, csv_of_zip
from ._liquidity import DailyVolume, Membership, liquidity, membership, most_liquid
from ._manifest import Manifest, StoredPart
from ._market_laws import SIMULATED_MARKETS, MarketLaw
from ._markov import MarkovChain, markov_chain
from ._names import guess_names
from ._noise import noise_after
from ._pick import only_timeframe, read_bars
from ._raw_files import data_files
from ._repair import RepairReport, repair_bars
from ._resample import resample
from ._rows import Rows, join_rows, rows_of_frame
from ._sample import sample_bars
from ._series import holds_series, timeframes_in
from ._series_info import SeriesInfo, series_info
from ._simulate import planted_drift, simulate
from ._spans import Span, join_spans, spans_left, touches
from ._store import BarStore, stored_below
from ._store_reports import StoredBars, WriteReport
from ._universe import Asset, Universe, present_and_missing
from ._universe_file import read_universe, universe_names, write_universe
from ._universe_listings import universe_from_listings
from ._volatility import past_volatility
from ._writing import Addition

__all__ = [
    "CALENDARS",
    "ERROR_KINDS",
    "EXPORT_FORMS",
    "NOTE_KINDS",
    "PROVENANCES",
    "SIMULATED_MARKETS",
    "Addition",
    "Asset",
    "BarStore",
    "Bars",
    "BarsFile",
    "CheckLimits",
    "CheckReport",
    "DailyVolume",
    "ExportReport",
    "Finding",
    "Funding",
    "Hole",
    "ImportReport",
    "Instrument",
    "Manifest",
    "MarketLaw",
    "MarkovChain",
    "Membership",
    "RepairReport",
    "Rows",
    "SeriesInfo",
    "Span",
    "StoredBars",
    "StoredPart",
    "Universe",
    "WriteReport",
    "bars_frame_of_zip",
    "bars_from_frame",
    "bars_to_frame",
    "check_bars",
    "check_path",
    "coverage",
    "coverage_strip",
    "csv_of_zip",
    "data_files",
    "data_info",
    "export_bars",
    "funding_asked",
    "funding_known_at",
    "guess_names",
    "holds_series",
    "import_bars",
    "instrument_of",
    "is_perpetual_venue",
    "join_rows",
    "join_spans",
    "liquidity",
    "markov_chain",
    "membership",
    "most_liquid",
    "noise_after",
    "only_timeframe",
    "past_volatility",
    "planted_drift",
    "present_and_missing",
    "provenance_of_file",
    "read_bars",
    "read_bars_file_frame",
    "read_folder",
    "read_funding",
    "read_instruments",
    "read_symbol",
    "read_universe",
    "read_venues",
    "repair_bars",
    "resample",
    "rows_of_frame",
    "sample_bars",
    "series_info",
    "simulate",
    "spans_left",
    "stored_below",
    "timeframes_in",
    "touches",
    "universe_from_listings",
    "universe_names",
    "venues_by_symbol",
    "write_funding",
    "write_instruments",
    "write_universe",
]
