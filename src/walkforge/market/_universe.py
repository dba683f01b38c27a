"""Universes: named lists of assets, and when each of them could be traded.

universe = read_universe("case_a").as_of(parse_utc_ms("2021-01-01"))
present, missing = present_and_missing(universe, Path("bars"), "1d")
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short_repr

from walkforge.base import (
    TIMEFRAMES_MS,
    BarsError,
    UsageError,
    one_of,
    timeframe_ms,
    utc_text,
)

from ._calendar import CALENDARS
from ._names import safe_name
from ._resample import divides
from ._series import holds_series, manifest_of

_WORDS = ("symbol", "venue", "category", "currency", "calendar")


@dataclass(frozen=True, slots=True)
class Asset:
    """One listing: where its bars lie (venue, symbol), what kind of market it is, and its life.

    `calendar` is one of `CALENDARS`; `category` groups assets, in any word.
    Raises UsageError for an empty field, an unknown calendar, a name that no folder can have, or
    an end that does not come after the beginning, or two ends.
    """

    symbol: str
    venue: str
    category: str
    currency: str
    calendar: str
    listed_ms: int | None = None
    """First moment of trading, ms UTC; None where nobody knows."""
    delisted_ms: int | None = None
    """Moment from which it traded no more, ms UTC; None while it trades, or where nobody knows."""
    renamed_ms: int | None = None
    """Moment from which it traded by another symbol, ms UTC: no bars of this one come after it, and
    who held it lost nothing."""

    def __post_init__(self) -> None:
        for field in _WORDS:
            value = getattr(self, field)
            if not isinstance(value, str) or not value:
                raise UsageError(f"{field}: expected a word, found {short_repr(value)}")
        safe_name("symbol", self.symbol)
        safe_name("venue", self.venue)
        one_of("calendar", self.calendar, CALENDARS)
        if self.delisted_ms is not None and self.renamed_ms is not None:
            raise UsageError(f"{self.symbol}: delisted and renamed, expected one of them")
        listed, gone = self.listed_ms, self.ends_ms
        if listed is not None and gone is not None and gone <= listed:
            how = "delisted" if self.renamed_ms is None else "renamed"
            raise UsageError(
                f"{self.symbol}: {how} {utc_text(gone)}, expected a time after it was listed, "
                f"{utc_text(listed)}"
            )

    @property
    def ends_ms(self) -> int | None:
        """Moment at which its bars end, delisted or renamed, ms UTC; None where none is known."""
        return self.renamed_ms if self.delisted_ms is None else self.delisted_ms

    def trades_at(self, moment_ms: int) -> bool:
        """Return whether it could be traded at a moment, ms UTC; an unknown date rules out none."""
        listed = self.listed_ms is None or self.listed_ms <= moment_ms
        return listed and (self.ends_ms is None or moment_ms < self.ends_ms)


@dataclass(frozen=True, slots=True)
class Universe:
    """Assets in the order of their file, each symbol once: runs know an asset by its symbol.

    Raises UsageError without assets, or where a symbol stands twice. Of a ticker that was given
    to another asset later, one of the two lives can stand here, told by its dates.
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
                    f"{asset.venue}; name it once, and of a reused ticker the one life that is "
                    "meant, by its dates"
                )
            venue_of[asset.symbol] = asset.venue

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories in alphabetical order; a category's index is its place here."""
        return tuple(sorted({asset.category for asset in self.assets}))

    @property
    def n_undated(self) -> int:
        """How many assets have no listing date; they count as always listed."""
        return sum(asset.listed_ms is None for asset in self.assets)

    @property
    def n_delisted(self) -> int:
        """How many assets are known to trade no more; a list without any is one of survivors.

        A renamed asset is none of them: it trades on.
        """
        return sum(asset.delisted_ms is not None for asset in self.assets)

    def as_of(self, moment_ms: int) -> Universe:
        """Return those of the assets that could be traded at a moment, ms UTC.

        Raises UsageError where there is none.
        """
        there = tuple(asset for asset in self.assets if asset.trades_at(moment_ms))
        if not there:
            raise UsageError(f"{self.name}: no asset was listed at {utc_text(moment_ms)}")
        return replace(self, assets=there)


def present_and_missing(
    universe: Universe, folder: Path, timeframe: str
) -> tuple[list[tuple[Asset, Path]], list[Asset]]:
    """Return the assets that a folder of bars holds, each with its symbol's folder, and the rest.

    `folder` holds a folder per venue and in it one per symbol, where an asset is looked for at
    its own venue only, or is itself one venue's folder, which serves every asset whatever it is
    called. An asset is held if `read_bars` finds the timeframe, or a shorter one that adds up to
    it, in the symbol's folder; where a series lies there in parts, one of them must reach into the
    asset's life. Both lists keep the universe's order. No bar is read.

    Raises BarsError where there is no such folder, UsageError for an unknown timeframe.
    """
    timeframe_ms(timeframe)
    if not folder.is_dir():
        raise BarsError(f"{folder}: no such folder of bars")
    shorter = [name for name in TIMEFRAMES_MS if divides(name, timeframe)]
    wanted = [timeframe, *shorter]
    present, missing = [], []
    for asset in universe.assets:
        places = (folder / asset.venue / asset.symbol, folder / asset.symbol)
        place = next((place for place in places if _holds_any(place, wanted, asset)), None)
        if place is None:
            missing.append(asset)
        else:
            present.append((asset, place))
    return present, missing


def _holds_any(folder: Path, timeframes: list[str], asset: Asset) -> bool:
    here = [name for name in timeframes if holds_series(folder, name)]
    dated = asset.listed_ms is not None or asset.ends_ms is not None
    return any(_reaches_into(folder, name, asset) for name in here) if dated else bool(here)


def _reaches_into(folder: Path, timeframe: str, asset: Asset) -> bool:
    """Return whether a series may have bars of an asset's life; a single file is not opened."""
    try:
        manifest = manifest_of(folder, timeframe)
    except BarsError:
        return True  # its damage is told by who reads it
    return manifest is None or bool(manifest.parts_in(asset.listed_ms, asset.ends_ms))
