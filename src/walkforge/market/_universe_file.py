"""Universes as YAML: those that Walkforge ships, and a user's own.

universe = read_universe("case_a")
write_universe(Path("mine.yaml"), universe)
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import yaml

from walkforge.base import UsageError, nearest, parse_utc_ms, write_text

from ._universe import Asset, Universe

_SHARED = ("venue", "category", "currency", "calendar")
_KEYS = (*_SHARED, "symbols")
_DATES = ("listed", "delisted", "renamed")
_SUFFIXES = (".yaml", ".yml")


def universe_names() -> list[str]:
    """Return the names of the universes that Walkforge ships."""
    folder = files("walkforge.market") / "universes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()
                  if item.name.endswith(".yaml"))  # fmt: skip


def read_universe(name_or_path: str | Path) -> Universe:
    """Return a shipped universe by its name, or that of a YAML file, named by the file's stem.

    The file holds `assets:`, a list of entries, each with venue, category, currency, calendar
    and the symbols that share them: a list, or a mapping to when each was `listed`, and
    `delisted` or `renamed`, as far as it is known, as ISO dates or times in UTC. Raises
    UsageError, with the file and the entry (the first is 1), for anything else.
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


def write_universe(path: Path, universe: Universe) -> None:
    """Write a universe as YAML, atomically; `read_universe` takes it back, named by the file.

    Neighbours of one venue, category, currency and calendar share an entry.
    """
    entries = []
    for shared, assets in groupby(universe.assets, _shared_of):
        dates = {asset.symbol: _dates_of(asset) for asset in assets}
        symbols = dates if any(dates.values()) else list(dates)
        entries.append(dict(zip(_SHARED, shared, strict=True)) | {"symbols": symbols})
    text = yaml.safe_dump({"assets": entries}, default_flow_style=None, sort_keys=False, width=100)
    told = f"# {len(universe.assets)} assets, {universe.n_delisted} of them delisted.\n"
    write_text(path, told + text)


def _shared_of(asset: Asset) -> tuple[str, ...]:
    return tuple(getattr(asset, key) for key in _SHARED)


def _dates_of(asset: Asset) -> dict[str, str]:
    moments = {key: getattr(asset, f"{key}_ms") for key in _DATES}
    return {
        key: _date_text(moment_ms) for key, moment_ms in moments.items() if moment_ms is not None
    }


def _date_text(moment_ms: int) -> str:
    """Return a day as 2024-01-31, and any other moment as 2024-01-31T12:00 and finer."""
    text = datetime.fromtimestamp(moment_ms / 1000, tz=UTC).replace(tzinfo=None).isoformat()
    return text.removesuffix("T00:00:00").removesuffix(":00")


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
    symbols = entry["symbols"]
    if isinstance(symbols, list):
        symbols = [(symbol, {}) for symbol in symbols]
    elif isinstance(symbols, dict):
        symbols = [(symbol, _moments_of(symbol, dates)) for symbol, dates in symbols.items()]
    else:
        raise UsageError(
            "symbols: expected a list such as [BTCUSDT, ETHUSDT], or a mapping such as "
            f"BTCUSDT: {{listed: 2017-08-17}}, found {short_repr(symbols)}"
        )
    shared = {key: entry[key] for key in _SHARED}
    return [Asset(symbol=symbol, **shared, **moments) for symbol, moments in symbols]


def _moments_of(symbol: str, dates: Any) -> dict[str, int]:
    """Return the moments that are told, such as `listed_ms`; an empty value tells none."""
    if not isinstance(dates or {}, dict):
        raise UsageError(
            f"{symbol}: expected {{listed: 2019-09-11, delisted: 2022-05-13}}, either or both, "
            f"found {short_repr(dates)}"
        )
    moments = {}
    for key, text in (dates or {}).items():
        if key not in _DATES:
            raise UsageError(
                f"{symbol}: unknown key {key!r}{nearest(key, _DATES)}; it has {', '.join(_DATES)}"
            )
        try:
            moments[f"{key}_ms"] = parse_utc_ms(text)
        except (UsageError, TypeError):
            raise UsageError(
                f"{symbol}: {key}: expected a date such as 2024-01-31, found {short_repr(text)}"
            ) from None
    return moments
