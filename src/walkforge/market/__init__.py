"""Bars: where they come from, how they are kept, checked and repaired, and their instruments."""

from ._bars import PROVENANCES, Bars
from ._calendar import CALENDARS, Hole
from ._check import CheckLimits, CheckReport, check_bars, check_path
from ._findings import ERROR_KINDS, NOTE_KINDS, Finding
from ._folders import read_folder, read_venues, venues_by_symbol
from ._frames import bars_from_frame, bars_to_frame
from ._import import ImportReport, import_bars
from ._info import data_info
from ._instruments import Instrument, instrument_of
from ._names import guess_names
from ._pick import only_timeframe, read_bars
from ._repair import RepairReport, repair_bars
from ._resample import resample
from ._sample import sample_bars
from ._simulate import SIMULATED_MARKETS, MarketLaw, planted_drift, simulate
from ._store import BarStore, StoredBars, WriteReport
from ._universe import Asset, Universe, present_and_missing, read_universe, universe_names
from ._volatility import past_volatility

__all__ = [
    "CALENDARS",
    "ERROR_KINDS",
    "NOTE_KINDS",
    "PROVENANCES",
    "SIMULATED_MARKETS",
    "Asset",
    "BarStore",
    "Bars",
    "CheckLimits",
    "CheckReport",
    "Finding",
    "Hole",
    "ImportReport",
    "Instrument",
    "MarketLaw",
    "RepairReport",
    "StoredBars",
    "Universe",
    "WriteReport",
    "bars_from_frame",
    "bars_to_frame",
    "check_bars",
    "check_path",
    "data_info",
    "guess_names",
    "import_bars",
    "instrument_of",
    "only_timeframe",
    "past_volatility",
    "planted_drift",
    "present_and_missing",
    "read_bars",
    "read_folder",
    "read_universe",
    "read_venues",
    "repair_bars",
    "resample",
    "sample_bars",
    "simulate",
    "universe_names",
    "venues_by_symbol",
]
