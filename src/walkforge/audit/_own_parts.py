"""A user's own features and labels under the guard alone, without a study.

found = audit_features("my_features.py:make", bars_to_audit(Path("bars/binance")))
found.causal
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from walkforge import features, labels, market
from walkforge.base import (
    TIMEFRAMES_MS,
    FeatureError,
    LabelError,
    UsageError,
    load_own,
    utc_text,
)
from walkforge.features import LookAhead
from walkforge.labels import EarlyClaim
from walkforge.market import Bars

N_CUTS = 20


@dataclass(frozen=True, slots=True)
class ColumnAudit:
    """What was found of one column, over all series."""

    name: str
    look_ahead: LookAhead | None
    """The first value that changed with its future; None where none did."""
    settles_bars: int | None
    """Bars from which on its values agree with those of all bars before; None where they do not."""


@dataclass(frozen=True, slots=True)
class FeatureAudit:
    """What was found of a function of features."""

    part: str
    sha256: str
    series: tuple[str, ...]
    n_cuts: int
    """Of every series."""
    columns: tuple[ColumnAudit, ...]

    @property
    def causal(self) -> bool:
        """Return whether no column was seen to look ahead."""
        return all(column.look_ahead is None for column in self.columns)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with times as text."""
        return {
            "part": self.part,
            "sha256": self.sha256,
            "series": list(self.series),
            "n_cuts": self.n_cuts,
            "causal": self.causal,
            "columns": [
                {
                    "name": one.name,
                    "looks_ahead": one.look_ahead is not None,
                    "settles_bars": one.settles_bars,
                    "finding": None if one.look_ahead is None else _plain(one.look_ahead),
                }
                for one in self.columns
            ],
        }


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What was found of a function of labels."""

    part: str
    sha256: str
    series: tuple[str, ...]
    n_cuts: int
    early: EarlyClaim | None
    """The first label that was not known when it said so; None where there was none."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with times as text."""
        return {
            "part": self.part,
            "sha256": self.sha256,
            "series": list(self.series),
            "n_cuts": self.n_cuts,
            "sound": self.early is None,
            "finding": None if self.early is None else _plain(self.early),
        }


def audit_features(
    text: str, bars: Mapping[str, Bars], *, n_cuts: int = N_CUTS, seed: int = 0
) -> FeatureAudit:
    """Return what the columns of `PATH.py:NAME` do when the future of each series is cut off.

    Raises FeatureError where the function fails or returns no columns, UsageError where it is not
    there.
    """
    part = load_own(text, "--features", FeatureError)
    ahead: dict[str, LookAhead] = {}
    for one in bars.values():
        ahead = features.check_causal(part, one, n_cuts=n_cuts, seed=seed) | ahead
    settles = features.settle_bars(part, list(bars.values()), n_cuts=n_cuts, seed=seed)
    columns = tuple(ColumnAudit(name, ahead.get(name), n) for name, n in settles.items())
    return FeatureAudit(part.title, part.digest, _names(bars), n_cuts, columns)


def audit_labels(
    text: str, bars: Mapping[str, Bars], *, n_cuts: int = N_CUTS, seed: int = 0
) -> LabelAudit:
    """Return whether labels of `PATH.py:NAME` are known when they say so.

    Raises LabelError where the function fails or returns no labels, UsageError where it is not
    there.
    """
    part = load_own(text, "--labels", LabelError)
    found = (labels.check_resolved(part, one, n_cuts=n_cuts, seed=seed) for one in bars.values())
    early = next((claim for claim in found if claim is not None), None)
    return LabelAudit(part.title, part.digest, _names(bars), n_cuts, early)


def bars_to_audit(folder: Path, timeframe: str | None = None) -> dict[str, Bars]:
    """Return the bars of one venue's folder, by symbol; of its only timeframe if not named.

    Raises BarsError where there are none, UsageError where there are several timeframes.
    """
    there = {p.name: market.timeframes_in(p) for p in sorted(folder.glob("*")) if p.is_dir()}
    known = [name for name in TIMEFRAMES_MS if any(name in names for names in there.values())]
    if timeframe is None and len(known) > 1:
        raise UsageError(f"{folder}: has {', '.join(known)}; name one with --timeframe")
    wanted = timeframe or (known or ["1m"])[0]
    symbols = [symbol for symbol, names in there.items() if wanted in names]
    return market.read_folder(folder, timeframe=wanted, symbols=symbols or None)


def _names(bars: Mapping[str, Bars]) -> tuple[str, ...]:
    return tuple(one.name for one in bars.values())


def _plain(found: LookAhead | EarlyClaim) -> dict[str, Any]:
    """Return a finding as plain data: moments as text, NaN as null."""
    plain = asdict(found) | {"words": found.words}
    for key in [key for key in plain if key.endswith("_ms")]:
        plain[key.removesuffix("_ms")] = utc_text(plain.pop(key))
    return {k: None if isinstance(v, float) and v != v else v for k, v in plain.items()}
