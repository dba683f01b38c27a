"""What `bundle.json` must say, of one model and of an ensemble."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkforge.base import BundleError, listed

DESCRIPTION = "bundle.json"
MEMBERS = "members"
"""Folder of an ensemble's bundles, and the key of its model that lists them."""

ENSEMBLE_KEYS = ("label", "classes", "symbols", "timeframe", "calendar", "trained")
KEYS = (
    "model",
    "features",
    "feature_set",
    "window_bars",
    "scaler",
    "calibrator",
    *ENSEMBLE_KEYS,
)
MARKET = "marketgpt"
"""Name of the model that is one for many series."""

MARKET_KEYS = (
    "model",
    "tokenizer",
    "sampling",
    "prompt_tokens",
    "horizon_bars",
    "series",
    *ENSEMBLE_KEYS,
)
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """One of the series that a bundle knows."""

    name: str
    """As its run called it: the symbol, or `SYMBOL/TIMEFRAME`."""
    symbol: str
    timeframe: str
    calendar: str | None
    """None of one that only an earlier run had bars of."""
    judged: bool
    """Whether the bundle can predict it. What only taught has no calibrator."""


def known_series(description: dict[str, Any]) -> list[KnownSeries]:
    """Return the series that a bundle knows: one, or of a model for many all that it lists."""
    listed = description.get("series")
    if listed is None:
        only = {key: description.get(key) for key in ("timeframe", "calendar")}
        listed = {
            symbol: {"symbol": symbol, "judged": True, **only}
            for symbol in description.get("symbols") or ()
        }
    return [
        KnownSeries(name, *(one[key] for key in ("symbol", "timeframe", "calendar", "judged")))
        for name, one in listed.items()
    ]


def refuse_lacking(folder: Path, description: dict[str, Any], keys: Sequence[str]) -> None:
    """Raise BundleError naming the keys that a description lacks."""
    missing = [key for key in keys if key not in description]
    if missing:
        raise BundleError(f"{folder}: the description lacks {', '.join(missing)}")


def refuse_strangers(
    folder: Path, description: dict[str, Any], name: str, member: dict[str, Any]
) -> None:
    """Raise BundleError for a member of other classes, and for one that cannot predict a symbol of
    the ensemble, or in another timeframe or calendar. It may know more symbols."""

    def refuse(key: str, found: Any, expected: Any) -> None:
        raise BundleError(
            f"{folder}: its member {name} has the {key} {_listed(found)}, the ensemble "
            f"{_listed(expected)}; their mean would mean nothing"
        )

    ours = known_series(description)
    theirs = [one for one in known_series(member) if one.judged]
    for key, place in (("symbols", 1), ("timeframe", 2), ("calendar", 3)):
        wanted, there = ([_identity(one)[:place] for one in some] for some in (ours, theirs))
        if not set(wanted) <= set(there):
            refuse(key, *([one[-1] for one in some] for some in (there, wanted)))
        theirs = [one for one in theirs if one.symbol in {mine.symbol for mine in ours}]
    if member.get("classes") != description["classes"]:
        refuse("classes", member.get("classes"), description["classes"])


def _identity(one: KnownSeries) -> tuple[str | None, ...]:
    return one.symbol, one.timeframe, one.calendar


def refuse_weights(folder: Path, weights: Sequence[float], n_members: int) -> None:
    """Raise BundleError for weights that are not one per member, at least 0, with the sum 1."""
    sound = all(math.isfinite(weight) and weight >= 0 for weight in weights)
    if not sound or len(weights) != n_members or abs(sum(weights) - 1) > _ROUNDING:
        raise BundleError(
            f"{folder}: the weights are {', '.join(f'{weight:g}' for weight in weights) or 'none'} "
            f"for {n_members} members; expected one each, at least 0, with the sum 1"
        )


def model_name(description: dict[str, Any]) -> str:
    """Return the name of the model: ensemble, lightgbm, or that of a network."""
    model = description.get("model")
    return str(model.get("name")) if isinstance(model, dict) else ""


def shares_of(folder: Path, description: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the place within the folder and the weight of each member of an ensemble.

    Raises BundleError where the list is damaged, or leads out of the folder.
    """
    refuse_lacking(folder, description, ENSEMBLE_KEYS)
    try:
        listed = description["model"][MEMBERS]
        shares = [(str(one["bundle"]), float(one["weight"])) for one in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / DESCRIPTION}: its members cannot be read ({error!r})"
        ) from None
    for place, _ in shares:
        parent, _, name = place.partition("/")
        if parent != MEMBERS or "/" in name or name in ("", ".", ".."):
            raise BundleError(
                f"{folder / DESCRIPTION}: a member lies in {place!r}, expected members/"
            )
    refuse_weights(folder, [weight for _, weight in shares], len(shares))
    return shares


def _listed(value: Any) -> str:
    """Return names with commas, each once, and of very many the first."""
    if not isinstance(value, list):
        return str(value)
    return listed(list(dict.fromkeys(map(str, value))))
