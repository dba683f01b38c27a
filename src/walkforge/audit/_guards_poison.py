"""The guards of time: noise after a moment must leave all that was known before bit-identical.

They run the pipeline again, with whatever is planted in it, on bars of which all that is not
complete by then is noise. Stamps stay, and so do folds and rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from walkforge import features
from walkforge.base import derive_seed, utc_text
from walkforge.study import GptStudy, Prepared, Results, token_market

from ._specimen import Specimen, poison

# Beside the slice's own edge features are asked at moments drawn at random: a month begins with a
# whole hour and day, at which no bar of a longer timeframe is open.
_CUTS = 4

Known = dict[str, Any]
"""What was learned, by a name for people: arrays, numbers, plain data."""


def future_in_fits(specimen: Specimen) -> Iterator[str]:
    """Yield what noise after the training slice changes of what is learned on it."""
    yield from _changed_features(specimen, _cuts(specimen))
    edges = specimen.edges("train")
    clean, dirty = (
        _fitted(specimen, prepared, edges)
        for prepared in (specimen.prepared, specimen.poisoned("train").prepared)
    )
    yield from _changes(clean, dirty, _noise(edges))


def future_in_weights(specimen: Specimen) -> Iterator[str]:
    """Yield what noise after validation or calibration changes of what was trained before."""
    for name in ("calibration", "validation"):
        with_calibrators = name == "calibration"
        clean, dirty = (
            _trained(world.results, with_calibrators=with_calibrators)
            for world in (specimen, specimen.poisoned(name))
        )
        found = list(_changes(clean, dirty, _noise(specimen.edges(name))))
        yield from found
        if found:  # each slice costs a training
            return


def future_in_search(specimen: Specimen) -> Iterator[str]:
    """Yield what noise after validation changes of a search for settings."""
    if isinstance(specimen.study, GptStudy):
        return
    clean, dirty = (
        {f"trial {one.number}: the validation loss": one.value for one in world.trials}
        for world in (specimen, specimen.poisoned("validation"))
    )
    yield from _changes(clean, dirty, _noise(specimen.edges("validation")))


def _noise(edges: Mapping[str, int]) -> str:
    return f"noise from {utc_text(min(edges.values()))} on"


def _cuts(specimen: Specimen) -> list[int]:
    """Return moments within the first series' training slice at which a bar closes, ms UTC."""
    random = np.random.default_rng(derive_seed(specimen.seed, "cuts"))
    first = specimen.prepared.parts[0]
    closes_at = specimen.bars[first.series].closes_at
    inside = (closes_at > first.fold.train.from_ms) & (closes_at < first.fold.train.to_ms)
    return sorted(int(cut) for cut in random.choice(closes_at[inside], _CUTS, replace=False))


def _changed_features(specimen: Specimen, cuts: list[int]) -> Iterator[str]:
    """Yield the first feature of a row before a cut that noise after it changes."""
    name = specimen.study.features.set
    clean = features.build_all(specimen.bars, name)
    for cut in cuts:
        bars = {series: poison(one, cut) for series, one in specimen.bars.items()}
        dirty = features.build_all(bars, name)
        for series, one in specimen.bars.items():
            early = one.closes_at < cut
            before = clean.by_symbol[series].values[early]
            after = dirty.by_symbol[series].values[early]
            if not np.array_equal(before, after):
                row, column = np.argwhere(before != after)[0]
                bar = int(np.flatnonzero(early)[row])
                yield (
                    f"{series}: {clean.columns[column]} of the bar that closes at "
                    f"{utc_text(int(one.closes_at[bar]))} is {before[row, column]:.6g}, and "
                    f"{after[row, column]:.6g} with noise from {utc_text(cut)} on; expected the "
                    "same, for it must not know what comes"
                )
                return


def _fitted(specimen: Specimen, prepared: Prepared, edges: Mapping[str, int]) -> Known:
    found: Known = {}
    for part in prepared.parts:
        data, train = prepared.series[part.series], part.rows.train
        early = data.bars.closes_at < edges[part.series]
        found |= {
            f"{part.series}: the training rows": train,
            f"{part.series}: the label limits": part.limits.as_dict(),
            f"{part.series}: the center of the scaler": part.scaler.center_,
            f"{part.series}: the scale of the scaler": part.scaler.scale_,
            f"{part.series}: the training labels": part.labels[train],
            f"{part.series}: the features before then": data.values[early],
        }
        if data.targets is not None:
            found[f"{part.series}: the training targets"] = data.targets.values[train]
    if isinstance(specimen.study, GptStudy):
        market = token_market(specimen.study, prepared, prepared.parts[0].fold)
        found["all series: the tokenizer"] = market.tokenizer.digest
    return found


def _trained(results: Results, *, with_calibrators: bool) -> Known:
    found: Known = {}
    for one in results.members:
        name = one.trained.member.name
        found[f"{name}: the chosen epoch"] = one.trained.best_epoch
        found[f"{name}: the validation loss"] = one.trained.best_validation_loss
        found |= {f"{name}: {key}": value.numpy() for key, value in one.trained.state.items()}
        if with_calibrators:
            found[f"{name}: the calibrator"] = one.calibrator.as_dict()
    for model in getattr(results, "models", []):
        name = f"market fold {model.market.fold.index}"
        found[f"{name}: the tokenizer"] = model.market.tokenizer.digest
        found[f"{name}: the validation loss"] = model.trained.best_validation_loss
        found |= {f"{name}: {k}": v.numpy() for k, v in model.trained.state.items()}
    if with_calibrators:
        table = results.calibration_predictions
        columns = [name for name in table.columns if name.startswith("p_")]
        found["calibration slice: the calibrated probabilities"] = table[columns].to_numpy()
    return found


def _changes(clean: Known, dirty: Known, noise: str) -> Iterator[str]:
    """Yield one sentence: what is changed first, by how much, and how much else is."""
    changed = [name for name, one in clean.items() if not _same(one, dirty.get(name))]
    if changed:
        place, _, what = changed[0].partition(": ")
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        words = _words(clean[changed[0]], dirty.get(changed[0]))
        yield f"{place}: {noise} changes {what}{more}: {words}, expected the same"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    return bool(one == other)


def _words(one: Any, other: Any) -> str:
    """Return the two values, or the first two that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(key for key in one if one[key] != other.get(key))
        return f"{key} {_words(one[key], other.get(key))}"
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.shape != other.shape:
            return f"{len(one)} become {len(other)}"
        place = tuple(np.argwhere(one != other)[0])
        one, other = one[place], other[place]
    return f"{_number(one)} becomes {_number(other)}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
