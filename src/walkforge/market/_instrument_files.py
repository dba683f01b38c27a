"""What a venue said of its symbols, kept beside their bars in ROOT/VENUE/instruments.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from walkforge.base import BarsError, UsageError, listed, nearest, taking_turns, write_json

from ._instrument import Instrument

INSTRUMENTS = "instruments.json"
_WAY_OUT = "take the file away and fetch the venue's instruments again"
_NEEDED = ("tick_size", "lot_step", "min_notional")
_NUMBERS = (
    *_NEEDED,
    "contract_size",
    "maker_fee_frac",
    "taker_fee_frac",
    "funding_interval_h",
)
_TEXTS = ("calendar", "source", "fetched_at")


def read_instruments(venue_folder: Path) -> dict[str, Instrument]:
    """Return the instruments that a venue's folder keeps, by symbol; empty where it keeps none.

    Their `source` says who was asked and when. Raises BarsError, naming file and symbol, where
    the file is damaged or says what cannot be.
    """
    path = venue_folder / INSTRUMENTS
    try:
        state = path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {error.strerror or error}") from None
    return dict(_read_once(path, (state.st_ino, state.st_mtime_ns, state.st_size)))


def write_instruments(
    venue_folder: Path, instruments: Mapping[str, Instrument], *, source: str, fetched_at: str
) -> None:
    """Keep what `source` said of these symbols at `fetched_at` (ISO text, UTC).

    Symbols that are not among them stay as they were: one that is delisted is no longer told of,
    and its past is still traded. The file is replaced at once. Raises BarsError where the stored
    one is damaged or the disk refuses.
    """
    path = venue_folder / INSTRUMENTS
    given = {name: _as_entry(one, source, fetched_at) for name, one in instruments.items()}
    try:
        with taking_turns(path, BarsError):
            read_instruments(venue_folder)  # refuses what is damaged: nothing of it would survive
            known = _entries(path) if path.is_file() else {}
            merged = dict(sorted({**known, **given}.items()))
            write_json(path, {"venue": venue_folder.absolute().name, "instruments": merged})
    except OSError as error:
        raise BarsError(f"{path}: cannot be written: {error.strerror or error}") from None


def _as_entry(one: Instrument, source: str, fetched_at: str) -> dict[str, Any]:
    plain = {name: getattr(one, name) for name in (*_NUMBERS, "calendar")}
    return {**plain, "source": source, "fetched_at": fetched_at}


# A study of 600 symbols asks for each of them; whoever writes the file makes it another one.
@lru_cache(maxsize=16)
def _read_once(path: Path, _state: tuple[int, int, int]) -> Mapping[str, Instrument]:
    return {symbol: _instrument(path, symbol, entry) for symbol, entry in _entries(path).items()}


def _entries(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BarsError(f"{path}: damaged, not valid JSON ({error}); {_WAY_OUT}") from None
    entries = plain.get("instruments") if isinstance(plain, dict) else None
    if not isinstance(entries, dict):
        raise BarsError(f"{path}: has no table 'instruments' of symbols, expected one; {_WAY_OUT}")
    return entries


def _instrument(path: Path, symbol: str, entry: Any) -> Instrument:
    where = f"{path}: {symbol}"
    if not isinstance(entry, dict):
        raise BarsError(f"{where} is {entry!r}, expected keys such as tick_size; {_WAY_OUT}")
    known = (*_NUMBERS, *_TEXTS)
    for name, value in entry.items():
        if name not in known:
            hint = nearest(name, known) or f"; known are {listed(known, most=len(known))}"
            raise BarsError(f"{where} has the unknown key {name!r}{hint}")
        kinds = (int, float) if name in _NUMBERS else (str,)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if not (fits or (value is None and name not in (*_NEEDED, "contract_size"))):
            expected = "a number" if name in _NUMBERS else "text"
            raise BarsError(f"{where} has {name} {value!r}, expected {expected}; {_WAY_OUT}")
    missing = [name for name in _NEEDED if name not in entry]
    if missing:
        raise BarsError(f"{where} has no {listed(missing)}, expected a number; {_WAY_OUT}")
    told = [entry[name] for name in ("source", "fetched_at") if entry.get(name)]
    named = {name: value for name, value in entry.items() if name not in ("source", "fetched_at")}
    try:
        return Instrument(symbol, **named, source=", ".join(told) or INSTRUMENTS)
    except UsageError as error:
        raise BarsError(f"{path}: {error}; {_WAY_OUT}") from None
