"""What lies beside the bars of a run, instruments and funding rates, as they were when it began.

A fetch writes both anew, while the labels and fills of one run are made by the same ones:
`data_info.json` keeps the instruments, and knows the rates by their digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from walkforge import market
from walkforge.base import RunError, UsageError, listed, parse_utc_ms, timeframe_ms, utc_text
from walkforge.market import Bars, Funding, Instrument

from ._bars import funding_beside
from ._folder import RunFolder
from ._study import DataSection

_INFERRED = "inferred from prices"
_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class Beside:
    """Instruments and funding rates by series."""

    instruments: Mapping[str, Instrument]
    funding: Mapping[str, Funding]
    told: tuple[str, ...] = ()
    """What lies beside the bars by now and does not count, a line each."""


def info_of(
    bars: Mapping[str, Bars], instruments: Mapping[str, Instrument], data: DataSection
) -> dict[str, dict[str, Any]]:
    """Return what `data_info.json` tells of every series: its bars, instrument and funding."""
    rates = _rates_of(bars, data)
    return {
        name: {
            **market.data_info(one),
            "instrument": instruments[name].as_dict(),
            "funding": _funding_as_plain(rates.get(name)),
        }
        for name, one in bars.items()
    }


def began_with(
    folder: RunFolder, bars: Mapping[str, Bars], now: Mapping[str, Instrument], data: DataSection
) -> Beside:
    """Return the instruments and rates that a run began with.

    Of series of which an older run's `data_info.json` does not tell, they are those of `now` and
    all rates beside the bars. Raises RunError where rates have changed since.
    """
    own = instruments_of(folder)
    other = sorted(name for name in bars if name in own and _says_otherwise(now[name], own[name]))
    rates, newer = _rates_of_run(folder, bars, data)
    told = [
        f"{what} of {listed(names)} as the run began with; there are others beside its bars now"
        for what, names in (("instruments", other), ("funding rates", newer))
        if names
    ]
    return Beside({name: own.get(name, now[name]) for name in bars}, rates, tuple(told))


def instruments_of(folder: RunFolder) -> dict[str, Instrument]:
    """Return the instruments that a run began with, by series; an older run tells of none."""
    told = {name: one["instrument"] for name, one in _told(folder).items() if "instrument" in one}
    try:
        return {name: Instrument(**plain) for name, plain in told.items()}
    except (TypeError, UsageError) as error:
        raise RunError(
            f"{folder.path}: data_info.json is damaged, an instrument of it cannot be ({error}); "
            "start a new run"
        ) from None


def _says_otherwise(now: Instrument, own: Instrument) -> bool:
    """Return whether a folder tells other numbers; what prices show is nobody's word."""
    return now.source != _INFERRED and replace(now, source=own.source) != own


def _rates_of_run(
    folder: RunFolder, bars: Mapping[str, Bars], data: DataSection
) -> tuple[dict[str, Funding], list[str]]:
    """Return a run's rates, and the series with others beside them now."""
    there, told = _rates_of(bars, data), _told(folder)
    known = {name: told[name]["funding"] for name in bars if "funding" in told.get(name, {})}
    found = {
        name: _known_then(rates, known[name]) if name in known else rates
        for name, rates in there.items()
    }
    found = {name: rates for name, rates in found.items() if len(rates)}
    changed = [
        name
        for name, one in known.items()
        if one and (name not in found or found[name].digest() != one["digest"])
    ]
    if changed:
        raise RunError(
            f"{folder.path}: the funding rates of {listed(changed)} have changed since it began; "
            "start a new run"
        )
    return found, [name for name in there if len(found.get(name, ())) < len(there[name])]


def _rates_of(bars: Mapping[str, Bars], data: DataSection) -> dict[str, Funding]:
    """Return the rates beside the bars that were settled while there are bars, by series."""
    found = {
        name: rates.between(*_span_ms(bars[name]))
        for name, rates in funding_beside(bars, data).items()
        if len(bars[name])
    }
    return {name: rates for name, rates in found.items() if len(rates)}


def _span_ms(bars: Bars) -> tuple[int, int]:
    return int(bars.timestamp[0]), int(bars.timestamp[-1]) + timeframe_ms(bars.timeframe)


def _known_then(rates: Funding, told: Mapping[str, str] | None) -> Funding:
    """Return those of the rates that lie between the first and the last that a run knew."""
    if told is None:
        return rates.between(0, 0)
    return rates.between(parse_utc_ms(told["first"]), parse_utc_ms(told["last"]) + _SECOND_MS)


def _funding_as_plain(rates: Funding | None) -> dict[str, str] | None:
    if rates is None:
        return None
    first, last = (utc_text(int(rates.timestamp[at])) for at in (0, -1))
    return {"digest": rates.digest(), "first": first, "last": last}


def _told(folder: RunFolder) -> dict[str, Any]:
    return folder.read_json("data_info.json") if folder.has("data_info.json") else {}
