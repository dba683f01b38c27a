"""The audit of a study: its own pipeline, sound and with every fault, under the same guards."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from walkforge.base import Silent, WalkforgeError, one_of
from walkforge.market import Bars
from walkforge.study import Study, Watcher, read_bars

from ._faults import FAULTS
from ._guards import GUARDS
from ._plant import Fault
from ._shrink import PIPELINE_BARS
from ._specimen import Specimen

_REFUSED = "refused"
"""Whom a fault is caught by that Walkforge itself will not run."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a guard says of a specimen."""

    guard: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Caught:
    """What became of one fault."""

    fault: str
    says: str
    state: str
    """`caught`, `missed`, or `no meaning` for this study."""
    guard: str | None
    """The first that reported it."""
    words: str
    """What the guard found, or why there is no meaning."""
    seconds: float


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the guards say of the sound pipeline, and of every fault."""

    study: str
    seeds: tuple[int, ...]
    alarms: tuple[tuple[int, Found], ...]
    """Seed and finding: what was reported of the sound pipeline."""
    faults: tuple[Caught, ...]

    @property
    def passed(self) -> bool:
        """Return whether nothing was missed, and nothing sound was reported."""
        return not self.alarms and all(one.state != "missed" for one in self.faults)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        alarms = [{"seed": seed, **asdict(found)} for seed, found in self.alarms]
        return {
            "study": self.study,
            "passed": self.passed,
            "sound": {"seeds": list(self.seeds), "findings": alarms},
            "faults": [asdict(one) for one in self.faults],
        }


def audit_study(
    study: Study,
    *,
    bars: Mapping[str, Bars] | None = None,
    faults: Sequence[str] | None = None,
    n_seeds: int = 1,
    n_bars: int = PIPELINE_BARS,
    watcher: Watcher | None = None,
) -> AuditReport:
    """Run the study's own pipeline, small, sound and with each fault, and ask the guards.

    `bars` by series take the place of the study's own source; `faults` names some of FAULTS, and
    left out means all. The sound pipeline is run on `n_seeds` seeds, of networks and of what the
    guards draw. `n_bars` of each series are trained and tested on. Raises UsageError for an unknown
    fault, and a WalkforgeError where the sound pipeline cannot be run.
    """
    names = [one.name for one in FAULTS]
    wanted = names if faults is None else [one_of("fault", name, names) for name in faults]
    watched: Watcher = watcher or Silent()
    found = dict(bars) if bars is not None else read_bars(study)
    first, alarms = None, []
    watched.stage("the sound pipeline")
    for seed in range(n_seeds):
        watched.item(seed, n_seeds, f"seed {seed}")
        sound = Specimen.of(study, found, seed=seed, n_bars=n_bars)
        alarms += [(seed, one) for one in look_at(sound, "bars")]
        first = first or sound
    assert first is not None  # there is at least one seed
    watched.stage("planted faults")
    known = {one.words for seed, one in alarms if seed == 0}
    rows = []
    for number, name in enumerate(wanted):
        watched.item(number, len(wanted), name)
        rows.append(_tried(FAULTS[names.index(name)], first, known))
    return AuditReport(study.name, tuple(range(n_seeds)), tuple(alarms), tuple(rows))


def look_at(specimen: Specimen, stage: str) -> list[Found]:
    """Return what all guards say that see what goes wrong at a stage and after it."""
    return [
        Found(guard.name, words)
        for guard in GUARDS
        if guard.sees(stage)
        for words in guard.find(specimen)
    ]


def _tried(fault: Fault, sound: Specimen, known: set[str]) -> Caught:
    """Return what becomes of a fault; what the sound pipeline shows as well does not count."""
    started = perf_counter()
    reason = fault.applies(sound)
    if reason is not None:
        state, found = "no meaning", Found("", reason)
    else:
        with fault.planted(sound) as specimen:
            first = _first_found(specimen, fault.stage, known)
        state = "missed" if first is None else "caught"
        found = first or Found("", "no guard says anything")
    return Caught(
        fault=fault.name,
        says=fault.says,
        state=state,
        guard=found.guard or None,
        words=found.words,
        seconds=perf_counter() - started,
    )


def _first_found(specimen: Specimen, stage: str, known: set[str]) -> Found | None:
    for guard in GUARDS:
        if not guard.sees(stage):
            continue
        try:
            new = next((words for words in guard.find(specimen) if words not in known), None)
        except WalkforgeError as error:
            return Found(_REFUSED, str(error))
        if new is not None:
            return Found(guard.name, new)
    return None
