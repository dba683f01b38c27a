"""Universes: named lists of assets, shipped with Walkforge or in a user's own YAML file.

universe = read_universe("case_a")
present, missing = present_and_missing(universe, Path("bars"), "1d")
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import yaml

from walkforge.base import TIMEFRAMES_MS, BarsError, UsageError, nearest, one_of, timeframe_ms

from ._calendar import CALENDARS
from ._names import safe_name
from ._resample import divides

_SHARED = ("venue", "category", "currency", "calendar")
_KEYS = (*_SHARED, "symbols")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Asset:
    """One listing: where its bars lie (venue, symbol) and what kind of market it is.

    `calendar` is one of `CALENDARS`; `category` groups assets, in any word.
    Raises UsageError for an empty field, an unknown calendar or a name that no folder can have.
    """

    symbol: str
    venue: str
    category: str
    currency: str
    calendar: str

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if not isinstance(value, str) or not value:
                raise UsageError(f"{field}: expected a word, found {short_repr(value)}")
        safe_name("symbol", self.symbol)
        safe_name("venue", self.venue)
        one_of("calendar", self.calendar, CALENDARS)


@dataclass(frozen=True, slots=True)
class Universe:
    """Assets in the order of their file, each symbol once: runs know an asset by its symbol.

    Raises UsageError without assets, or where a symbol stands twice.
    """

    name: str
    assets: tuple[Asset, ...]

    def __post_init__(self) -> None:
        if not self.assets:
            raise UsageError("no assets, expected one or more")
        venue_of: dict[str, str] = {}
        for asset in self.assets:
            if asset.symbol in venue_of:
                raise UsageError(
                    f"symbol {asset.symbol!r} stands twice, at {venue_of[asset.symbol]} and "
                    f"{asset.venue}; name it once"
                )
            venue_of[asset.symbol] = asset.venue

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories in alphabetical order; a category's index is its place here."""
        return tuple(sorted({asset.category for asset in self.assets}))


def universe_names() -> list[str]:
    """Return the names of the universes that Walkforge ships."""
    folder = files("walkforge.market") / "universes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()
                  if item.name.endswith(".yaml"))  # fmt: skip


def read_universe(name_or_path: str | Path) -> Universe:
    """Return a shipped universe by its name, or that of a YAML file, named by the file's stem.

    The file holds `assets:`, a list of entries, each with venue, category, currency, calendar
    and the list of symbols that share them. Raises UsageError, with the file and the entry
    (the first is 1), for anything else.
    """
    source = str(name_or_path)
    if source in universe_names():
        text = (files("walkforge.market") / "universes" / f"{source}.yaml").read_text("utf-8")
        return _universe_of(text, source, source)
    path = Path(name_or_path)
    if not path.exists() and path.suffix not in _SUFFIXES:
        raise UsageError(
            f"no universe and no file named {source!r}{nearest(source, universe_names())}; "
            f"universes: {', '.join(universe_names())}"
        )
    try:
        return _universe_of(path.read_text(encoding="utf-8"), path.stem, source)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not readable as text, expected YAML in UTF-8") from None


def present_and_missing(
    universe: Universe, folder: Path, timeframe: str
) -> tuple[list[tuple[Asset, Path]], list[Asset]]:
    """Return the assets that a folder of bars holds, each with its symbol's folder, and the rest.

    `folder` holds VENUE/SYMBOL/TIMEFRAME.parquet, where an asset is looked for at its own venue
    only, or is itself one venue's folder, which serves every asset whatever it is called. An
    asset is held if `read_bars` finds the timeframe, or a shorter one that adds up to it, in the
    symbol's folder. Both lists keep the universe's order. No file is opened.

    Raises BarsError where there is no such folder, UsageError for an unknown timeframe.
    """
    timeframe_ms(timeframe)
    if not folder.is_dir():
        raise BarsError(f"{folder}: no such folder of bars")
    shorter = [name for name in TIMEFRAMES_MS if divides(name, timeframe)]
    wanted = [f"{name}.parquet" for name in (timeframe, *shorter)]
    present, missing = [], []
    for asset in universe.assets:
        places = (folder / asset.venue / asset.symbol, folder / asset.symbol)
        place = next((place for place in places if _holds_any(place, wanted)), None)
        if place is None:
            missing.append(asset)
        else:
            present.append((asset, place))
    return present, missing


def _holds_any(folder: Path, names: list[str]) -> bool:
    return folder.is_dir() and any((folder / name).is_file() for name in names)


class _Loader(yaml.BaseLoader):
    """YAML whose words all stay text (`ON` and `NO` are symbols), each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        # By itself the last of two equal keys wins, and the symbols of the first are lost.
        if len(mapping) < len(node.value):
            raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=node.start_mark)
        return mapping


def _universe_of(text: str, name: str, source: str) -> Universe:
    assets: list[Asset] = []
    for number, entry in enumerate(_entries_of(text, source), start=1):
        try:
            assets += _assets_of(entry)
        except UsageError as error:
            raise UsageError(f"{source}: entry {number}: {error}") from None
    try:
        return Universe(name, tuple(assets))
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _entries_of(text: str, source: str) -> list[Any]:
    try:
        plain = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f" in line {mark.line + 1}" if mark else ""
        why = f": {problem}" if problem else ""
        raise UsageError(f"{source}: not valid YAML{where}{why}") from None
    if not isinstance(plain, dict) or list(plain) != ["assets"]:
        found = short_repr(list(plain) if isinstance(plain, dict) else plain)
        raise UsageError(f"{source}: expected the one key `assets`, found {found}")
    if not isinstance(plain["assets"], list):
        found = short_repr(plain["assets"])
        raise UsageError(f"{source}: assets: expected a list of entries, found {found}")
    return plain["assets"]


def _assets_of(entry: Any) -> list[Asset]:
    if not isinstance(entry, dict):
        raise UsageError(f"expected the keys {', '.join(_KEYS)}, found {short_repr(entry)}")
    for key in entry:
        if key not in _KEYS:
            raise UsageError(
                f"unknown key {key!r}{nearest(key, _KEYS)}; an entry has {', '.join(_KEYS)}"
            )
    absent = [key for key in _KEYS if not entry.get(key)]
    if absent:
        raise UsageError(f"no {', '.join(absent)}; an entry has {', '.join(_KEYS)}")
    if not isinstance(entry["symbols"], list):
        found = short_repr(entry["symbols"])
        raise UsageError(f"symbols: expected a list such as [BTCUSDT, ETHUSDT], found {found}")
    shared = {key: entry[key] for key in _SHARED}
    return [Asset(symbol=symbol, **shared) for symbol in entry["symbols"]]
