"""Optuna, asked and told: which settings to try next, and which trials go nowhere.

Everything follows from the trials so far and the search's seed, so that a search that was cut off
goes on as if it had not been.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from walkforge.base import derive_seed

from ._tune_ledger import Trial
from ._tune_section import TuneSection
from ._tune_space import PER_MEMBER, Range

if TYPE_CHECKING:
    import optuna

Ranges = Mapping[str, Range]
Settings = dict[str, Any]

# So many trials are drawn at random before the sampler learns from them.
_RANDOM_TRIALS = 8
# A median of fewer trials than this stops nobody.
_LEAST_FOR_MEDIAN = 5
# Settings that were tried are asked for again so often before others are taken to be used up.
_ATTEMPTS = 20
# Fewer complete trials than this say nothing about which setting matters.
_LEAST_FOR_IMPORTANCE = 30


def ask(
    section: TuneSection,
    ranges: Ranges,
    tried: Sequence[Trial],
    *,
    batch: int,
    n_trials: int,
    start: Settings,
) -> list[Settings]:
    """Return settings of the next trials, all different from each other and from those `tried`.

    `start` is the first of all where it lies in the ranges. The settings that a pack shares are
    drawn `packs_at_once` times and handed on to the batch's other trials. Fewer than `n_trials`
    come back where the ranges hold no more.
    """
    known = {_key(trial.settings) for trial in tried}
    found: list[Settings] = []
    with _quiet():
        study = _study(ranges, tried, seed=derive_seed(section.seed, "tune", batch))
        if batch == 1 and all(ranges[path].holds(value) for path, value in start.items()):
            found.append(start)
            study.enqueue_trial(_texts(start, ranges))
            study.ask(_distributions(ranges))
        while len(found) < n_trials:
            is_follower = len(found) >= section.packs_at_once
            shared = _shared(found[len(found) % section.packs_at_once]) if is_follower else {}
            settings = _new(study, ranges, shared, known | {_key(one) for one in found})
            if settings is None:
                break
            found.append(settings)
    return found


def pruner_of(
    section: TuneSection, ranges: Ranges, tried: Sequence[Trial], *, epochs: int
) -> Callable[[Sequence[float]], bool]:
    """Return what tells a hopeless trial by its mean validation loss after each epoch so far.

    It is one whose best is worse than the median of the complete trials after as many epochs; a
    trial that was done earlier counts with its last loss.
    """
    from optuna.pruners import MedianPruner

    with _quiet():
        study = _study(ranges, tried, seed=0, epochs=epochs)
    pruner = MedianPruner(
        n_startup_trials=_LEAST_FOR_MEDIAN, n_warmup_steps=section.warmup_epochs + 1
    )

    def is_hopeless(losses: Sequence[float]) -> bool:
        with _quiet():
            return section.pruning and pruner.prune(study, _running(losses))

    return is_hopeless


def importance_of(ranges: Ranges, tried: Sequence[Trial]) -> dict[str, float] | None:
    """Return each setting's share in how good a trial became, None while too few are complete.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023).
    """
    import optuna

    if sum(trial.state == "complete" for trial in tried) < _LEAST_FOR_IMPORTANCE:
        return None
    with _quiet():
        study = _study(ranges, tried, seed=0)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _new(
    study: "optuna.Study", ranges: Ranges, shared: Settings, known: set[str]
) -> Settings | None:
    """Return settings that are not known, with those `shared` if that is possible."""
    for fixed in [shared] * _ATTEMPTS + [{}] * _ATTEMPTS:
        if fixed:
            study.enqueue_trial(_texts(fixed, ranges))
        found = study.ask(_distributions(ranges)).params
        settings = {path: ranges[path].value(found[path]) for path in ranges}
        if _key(settings) not in known:
            return settings
    return None


def _shared(settings: Settings) -> Settings:
    """Return what the trials of one pack have in common; nothing where they would be the same."""
    own = [path for path in settings if path in PER_MEMBER]
    return {path: one for path, one in settings.items() if path not in own} if own else {}


def _study(ranges: Ranges, tried: Sequence[Trial], *, seed: int, epochs: int = 0) -> "optuna.Study":
    """Return Optuna's own record of the trials, with a sampler that begins from `seed`."""
    import optuna

    sampler = optuna.samplers.TPESampler(
        seed=seed % 2**32,
        n_startup_trials=_RANDOM_TRIALS,
        multivariate=True,
        constant_liar=True,
    )
    study = optuna.create_study(sampler=sampler)
    study.add_trials([_told(trial, ranges, epochs) for trial in tried])
    return study


def _told(trial: Trial, ranges: Ranges, epochs: int) -> "optuna.trial.FrozenTrial":
    import optuna

    states = optuna.trial.TrialState
    state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
    losses = trial.losses + trial.losses[-1:] * (epochs - len(trial.losses))
    return optuna.trial.create_trial(
        state=state[trial.state],
        value=trial.value if trial.state == "complete" else None,
        params=_texts(trial.settings, ranges),
        distributions=_distributions(ranges),
        intermediate_values={e: loss for e, loss in enumerate(losses, 1) if loss is not None},
    )


def _running(losses: Sequence[float]) -> "optuna.trial.FrozenTrial":
    import optuna

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        intermediate_values=dict(enumerate(losses, 1)),
    )


def _distributions(ranges: Ranges) -> dict[str, "optuna.distributions.BaseDistribution"]:
    return {path: _distribution(one) for path, one in ranges.items()}


def _distribution(one: Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices:
        return CategoricalDistribution(one.choices)
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def _texts(settings: Settings, ranges: Ranges) -> Settings:
    return {path: ranges[path].text(value) for path, value in settings.items()}


def _key(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Optuna keep its log and its warnings of experiments to itself."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
