"""A study's own parts - features, labels, model - and the guard that every run puts them under.

Whoever writes features looks at the whole series while he does; the guard cuts the future off and
looks whether they do, too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from walkforge import features, labels, models
from walkforge.base import (
    FeatureError,
    LabelError,
    OwnPart,
    RunError,
    TrainingError,
    atomic_path,
    digest_of_file,
    load_own,
    split_own,
)
from walkforge.features import FeatureTables
from walkforge.market import Bars

from ._study import Study

N_CUTS = 5
_MOST_SERIES = 3

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OwnParts:
    """The user's functions that a study names; None where it names none."""

    features: OwnPart | None
    labels: OwnPart | None
    model: OwnPart | None

    @classmethod
    def of(cls, study: Study) -> "OwnParts":
        """Load them; raise UsageError where one is not there, or its room's error in its code."""
        own_model = getattr(study.model, "own", None)  # a MarketGPT has none
        return cls(
            _loaded(study.features.own, "features.own", FeatureError),
            _loaded(study.labels.own, "labels.own", LabelError),
            _loaded(own_model, "model.own", TrainingError),
        )

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return file, name and SHA-256 of each part that there is."""
        parts = {"features": self.features, "labels": self.labels, "model": self.model}
        return {name: part.as_dict() for name, part in parts.items() if part is not None}


def own_facts(study: Study) -> dict[str, Any]:
    """Return what `run.json` says of a study's own parts from its beginning; empty without any."""
    found = OwnParts.of(study).as_dict()
    return {"own": found} if found else {}


def keep_parts(study: Study, folder: Path) -> None:
    """Keep a copy of every part's file in `own` of a run, for the day that it has changed."""
    parts = OwnParts.of(study)
    for name in parts.as_dict():
        part: OwnPart = getattr(parts, name)
        place = folder / "own" / name / part.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(place) as temporary:
            temporary.write_bytes(part.source)


def refuse_changed_parts(path: Path, facts: Mapping[str, Any]) -> None:
    """Raise RunError where a file of own parts is not the one that a run or search began with.

    None is run for it: what has changed may not even be Python any more.
    """
    for name, begun in facts.get("own", {}).items():
        file, _ = split_own(begun["own"], f"{name}.own")
        if not file.is_file():
            raise RunError(f"{path}: {file} is gone; put it back (a copy is in {path}/own/{name})")
        found = digest_of_file(file)
        if found != begun["sha256"]:
            raise RunError(
                f"{path}: {file} has changed since the run began (SHA-256 {begun['sha256'][:12]} "
                f"then, {found[:12]} now); put it back (a copy is in {path}/own/{name}), or start "
                "a new run"
            )


def own_features(
    part: OwnPart, bars: Mapping[str, Bars], *, seed: int, note: Note
) -> tuple[FeatureTables, dict[str, Any]]:
    """Return the features of a user's function, and what bundles must say of them.

    Raises FeatureError where one of them looks ahead.
    """
    checked = _checked_series(bars)
    for one in checked:
        if found := features.check_causal(part, one, n_cuts=N_CUTS, seed=seed):
            words = next(iter(found.values())).words
            raise FeatureError(
                f"{part.title}: {words}. A feature of a bar may use that bar and earlier ones"
            )
    settles = features.settle_bars(part, checked, n_cuts=N_CUTS, seed=seed)
    look_back_bars = max((n for n in settles.values() if n is not None), default=1)
    unsettled = [name for name, n_bars in settles.items() if n_bars is None]
    note(
        f"features of {part.title}: none of {len(settles)} columns looks ahead at {N_CUTS} random "
        f"cuts of {_names(checked)}; their values settle after {look_back_bars} bars"
    )
    if unsettled:
        note(
            f"warning: {', '.join(unsettled)} of {part.title} did not settle: the values hang on "
            "where the bars begin, and a prediction needs the same first bar"
        )
    tables = features.build_own_all(bars, part)
    return tables, part.as_dict() | {"look_back_bars": look_back_bars, "unsettled": unsettled}


def guard_own_labels(part: OwnPart, bars: Mapping[str, Bars], *, seed: int, note: Note) -> None:
    """Raise LabelError where a label is not known when it says that it is."""
    checked = _checked_series(bars)
    for one in checked:
        if found := labels.check_resolved(part, one, n_cuts=N_CUTS, seed=seed):
            raise LabelError(
                f"{part.title}: {found.words}. `resolved_at` is the first close at which a score "
                "is known, and all that purges training rows"
            )
    note(
        f"labels of {part.title}: known when they say so at {N_CUTS} random cuts of "
        f"{_names(checked)}"
    )


def guard_own_model(
    part: OwnPart, *, n_features: int, window_bars: int, n_outputs: int, note: Note
) -> None:
    """Raise TrainingError where a user's model cannot be trained as a member among others."""
    models.check_own_model(
        part, n_features=n_features, window_bars=window_bars, n_outputs=n_outputs
    )
    network = models.OwnNetwork(
        n_features=n_features, window_bars=window_bars, n_classes=n_outputs, part=part
    )
    how = "together" if network.packs else "one after the other, as PyTorch cannot pack its layers"
    note(
        f"model of {part.title}: rows and members do not see each other; members are computed {how}"
    )


def _loaded(text: str | None, key: str, error: Any) -> OwnPart | None:
    return None if text is None else load_own(text, key, error)


def _checked_series(bars: Mapping[str, Bars]) -> list[Bars]:
    """Return the series with the longest stretches without a hole, a few of them."""

    def longest(one: Bars) -> int:
        return max((rows.stop - rows.start for rows in one.segments), default=0)

    return sorted(bars.values(), key=longest, reverse=True)[:_MOST_SERIES]


def _names(bars: list[Bars]) -> str:
    return ", ".join(one.symbol for one in bars)
