"""What a run of MarketGPT goes on from: the models and tokenizers of a finished run.

A fold may begin with a model that has seen nothing of its calibration and test slices, and whose
training has ended before its validation slice begins.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from walkforge.base import (
    FoldError,
    RunError,
    StudyError,
    digest_of_file,
    nearest,
    parse_utc_ms,
    read_json,
)
from walkforge.features import Tokenizer, read_tokenizer
from walkforge.folds import SLICES, Fold, Slice
from walkforge.market import Bars
from walkforge.models import MarketGpt

from ._bars import categories_of
from ._folder import RunFolder, file_name
from ._gpt_study import GptStudy
from ._load import load
from ._study import DataSection, Study

# A whole model that knows its market already is led on in smaller steps; the factors of LoRA
# begin at zero, as a new model does.
_RATE_OF_FULL = 0.1
_MOST_EPOCHS = 5


@dataclass(frozen=True, slots=True)
class BaseModel:
    """One model to begin with."""

    place: Path
    fold: int
    tokenizer: Tokenizer
    asset_of: dict[str, int]
    """Number of every series that it knows."""
    category_of: dict[str, str]
    categories: list[str]
    """A category's number is its place here."""
    trained: list[str]
    """When the first and the last token opened that taught it."""

    @classmethod
    def read(cls, place: Path, fold: int) -> "BaseModel":
        """Return the model in `place`, a folder in a run's `models`; its weights are read later."""
        config, known = read_json(place / "config.json"), read_json(place / "asset_info.json")
        return cls(
            place=place,
            fold=fold,
            tokenizer=read_tokenizer(place),
            asset_of={one["series"]: one["asset"] for one in known["assets"]},
            category_of={one["series"]: one["category"] for one in known["assets"]},
            categories=known["categories"],
            trained=config["train"],
        )

    @property
    def digest(self) -> str:
        """Return a digest of everything in it; its manifest knows those of its files."""
        return digest_of_file(self.place / "manifest.json")

    def into(self, model: MarketGpt) -> None:
        """Write the weights into a model of its sizes; a direction head is not one of them."""
        from walkforge.registry import read_bundle

        weights = read_bundle(self.place).weights
        own = model.state_dict()
        model.load_state_dict({name: weights[name] for name in own})


@dataclass(frozen=True, slots=True)
class BaseRun:
    """A finished run of MarketGPT."""

    folder: RunFolder
    study: GptStudy
    folds: list[Fold]
    categories: tuple[str, ...] = ()
    """Assets of these learn on; empty: all."""

    @classmethod
    def read(cls, path: Path) -> "BaseRun":
        """Return the run in `path`; raise RunError where it is none, not finished or another's."""
        folder = RunFolder.open(path)
        study = load(folder / "study.yaml")
        if folder.has("ensemble.json"):
            raise RunError(f"{path}: an ensemble; name one of the runs that it was made of")
        if not isinstance(study, GptStudy):
            raise RunError(f"{path}: its model is {study.model.name}; only marketgpt is fine-tuned")
        if not folder.has("predictions.parquet", "folds.json"):
            raise RunError(f"{path}: unfinished; continue it with `walkforge resume {path}`")
        ranges = {one["fold"]: one for one in folder.read_json("folds.json")}
        return cls(folder, study, [_fold_of(one) for one in ranges.values()])

    def as_plain(self) -> dict[str, Any]:
        """Return what `run.json` of a run that goes on says: what it began with, from which bars.

        Whatever taught the models that this run went on from is among the provenances.
        """
        places = (
            self.folder.bundle("market", fold.index, f"seed{seed}")
            for fold in self.folds
            for seed in self.study.seeds
        )
        before = self.folder.read_json("run.json").get("base", {}).get("provenances", [])
        own = [one["provenance"] for one in self.folder.read_json("data_info.json").values()]
        return {
            "provenances": sorted({*before, *own}),
            "sha256": {place.name: digest_of_file(place / "manifest.json") for place in places},
        }

    def model(self, fold: Fold, seed: int) -> BaseModel:
        """Return the newest model that knows nothing of what `fold` is judged by.

        Raises FoldError where there is none.
        """
        fit = [one for one in self.folds if _may_begin(one, fold)]
        if not fit:
            raise FoldError(self._too_early(fold))
        newest = max(fit, key=lambda one: one.validation.to_ms).index
        return BaseModel.read(self.folder.bundle("market", newest, f"seed{seed}"), newest)

    def chosen(
        self, data: DataSection, bars: Mapping[str, Bars], note: Callable[[str], None]
    ) -> dict[str, Bars]:
        """Return the bars of the chosen categories that the models know; `note` tells the others.

        Raises StudyError for a category that they do not know, or where no series is left.
        """
        place = self.folder.bundle("market", self.folds[0].index, f"seed{self.study.seeds[0]}")
        known = BaseModel.read(place, self.folds[0].index)
        wanted = self.categories or tuple(known.categories)
        for name in wanted:
            if name not in known.categories:
                raise StudyError(
                    f"fine_tune.categories has {name!r}{nearest(name, known.categories)}; "
                    f"{self.folder.path} knows {', '.join(known.categories)}"
                )
        of = categories_of(data, bars)
        asked = {name for name in bars if not self.categories or of[name] in self.categories}
        strangers = sorted(asked - known.asset_of.keys())
        if strangers:
            note(f"warning: not known to {self.folder.path}: {', '.join(strangers)}")
        mine = {name: one for name, one in bars.items() if known.category_of.get(name) in wanted}
        if not mine:
            raise StudyError(f"no series of {', '.join(wanted)} among the bars; bring other bars")
        return mine

    def folds_for(
        self,
        study: Study,
        bars: Mapping[str, Bars],
        cut: Callable[[], list[Fold]],
        note: Callable[[str], None],
    ) -> list[Fold]:
        """Return the folds of a study that goes on: the run's own where settings and bars are.

        Otherwise those that `cut` returns, but for early ones that no model may begin. Raises
        FoldError where none is left.
        """
        known = self.folder.read_json("data_info.json")
        same_bars = all(known.get(n, {}).get("digest") == one.digest() for n, one in bars.items())
        if same_bars and (study.folds, study.data) == (self.study.folds, self.study.data):
            note(f"folds as in {self.folder.path}")
            return self.folds
        note(f"folds cut anew: bars or settings are not those of {self.folder.path}")
        folds = cut()
        found = [fold for fold in folds if any(_may_begin(one, fold) for one in self.folds)]
        if not found:
            raise FoldError(self._too_early(folds[-1]))
        return [replace(fold, index=number) for number, fold in enumerate(found)]

    def _too_early(self, fold: Fold) -> str:
        known = min(self.folds, key=lambda one: one.validation.to_ms)
        return (
            f"fold {fold.index} validates from {fold.validation.as_text()[0]} and calibrates from "
            f"{fold.calibration.as_text()[0]}, but the first model of {self.folder.path} was "
            f"trained until {known.train.as_text()[1]} and chosen by what came until "
            f"{known.validation.as_text()[1]}; bring later bars or cut the folds later"
        )


def read_base(study: Study) -> BaseRun | None:
    """Return the run that a study goes on from, None where it begins anew.

    Raises StudyError where the study's models or tokens could not be that run's.
    """
    if not isinstance(study, GptStudy) or study.fine_tune.run is None:
        return None
    path = Path(study.fine_tune.run)
    if not (path / "study.yaml").is_file():
        raise StudyError(
            f"fine_tune.run is {path}; the run to go on from is not there, bring it back"
        )
    base = BaseRun.read(path)
    ours, theirs = _what_must_agree(study), _what_must_agree(base.study)
    for key, found in ours.items():
        if found != theirs[key]:
            raise StudyError(
                f"{key} is {found}, but {theirs[key]} in {base.folder.path}, whose model goes on "
                "learning; leave it as it was"
            )
    strangers = [seed for seed in study.seeds if seed not in base.study.seeds]
    if strangers:
        raise StudyError(
            f"seeds has {strangers[0]}, but {base.folder.path} has models of "
            f"{', '.join(map(str, base.study.seeds))} only"
        )
    return replace(base, categories=study.fine_tune.categories)


def fine_tune_study(
    run: Path,
    *,
    categories: Sequence[str] = (),
    lora_rank: int | None = None,
    overrides: Sequence[str] = (),
    bars: Path | None = None,
) -> GptStudy:
    """Return the study that goes on from the models of a finished run.

    It is the run's own study but for fewer epochs, one more trial and, where all weights move for
    the first time, a tenth of the learning rate; `overrides` such as `training.epochs=3` come
    last. `lora_rank` learns low-rank changes instead of all weights. Raises RunError and
    StudyError as `run` would.
    """
    base = BaseRun.read(run)
    rate = base.study.training.learning_rate
    if lora_rank is None and not _is_led_on_whole(base.study):
        rate *= _RATE_OF_FULL
    settings = {
        "name": "-".join([base.study.name, *map(file_name, categories), "tuned"]),
        "note": f"{base.study.name}, led on{' with ' if categories else ''}{', '.join(categories)}",
        "training.learning_rate": rate,
        "training.epochs": min(_MOST_EPOCHS, base.study.training.epochs),
        # Whoever keeps the best of several has tried them all, on the same test slice.
        "judge.n_trials": base.study.judge.n_trials + 1,
        "fine_tune.run": str(run.resolve()),
        "fine_tune.categories": list(categories),
        "fine_tune.method": "full" if lora_rank is None else "lora",
        **({} if lora_rank is None else {"fine_tune.rank": lora_rank}),
    }
    own = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    study = load(run / "study.yaml", [*own, *overrides], bars=bars)
    if not isinstance(study, GptStudy):
        raise StudyError(f"fine-tune {run}: model.name is {study.model.name}; leave it marketgpt")
    read_base(study)  # refuses what cannot go on
    return study


def _is_led_on_whole(study: GptStudy) -> bool:
    return study.fine_tune.run is not None and study.fine_tune.method == "full"


def _may_begin(base: Fold, fold: Fold) -> bool:
    """Return whether a model of `base` may be led on in `fold`."""
    return (
        base.train.to_ms <= fold.validation.from_ms
        and base.validation.to_ms <= fold.calibration.from_ms
    )


def _what_must_agree(study: GptStudy) -> dict[str, Any]:
    sizes = {f"model.{k}": v for k, v in study.model.options().items() if k != "dropout"}
    rule = study.tokenizer
    tokens = {f"tokenizer.{k}": getattr(rule, k) for k in rule.__dataclass_fields__}
    return {**sizes, **tokens, "data.timeframe": study.data.timeframe}


def _fold_of(plain: Mapping[str, Any]) -> Fold:
    """Return the fold of an entry of `folds.json`."""
    slices = {name: Slice(*(parse_utc_ms(text) for text in plain[name])) for name in SLICES}
    return Fold(index=plain["fold"], **slices)
