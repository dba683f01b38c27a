"""What watches over a pipeline: each guard looks at one specimen, and says what it found.

A guard knows no fault. It has to be silent on every sound pipeline, one without any skill included:
whether a model is good is asked by the gates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ._guards_alarms import alarms_raised
from ._guards_bars import unnatural_bars
from ._guards_fills import other_fills
from ._guards_network import strange_networks
from ._guards_poison import future_in_fits, future_in_search, future_in_weights
from ._guards_rows import misplaced_rows
from ._guards_universe import only_survivors
from ._specimen import UPSTREAM, Specimen


@dataclass(frozen=True, slots=True)
class Guard:
    """One way to notice that a pipeline fools its maker."""

    name: str
    says: str
    looks_at: str
    """The stage of the specimen that it looks at; a fault of a later stage is out of its sight."""
    find: Callable[[Specimen], Iterator[str]]
    """Yields sentences: where, what was found, what was expected."""

    def sees(self, stage: str) -> bool:
        """Return whether a fault that is planted at this stage can be seen from here."""
        return stage in UPSTREAM[self.looks_at]


GUARDS: tuple[Guard, ...] = (
    Guard("bars", "bars that are called real look real", "bars", unnatural_bars),
    Guard("universe", "what died is among the bars", "bars", only_survivors),
    Guard("rows", "slices are in time order, apart, purged and embargoed", "prepare",
          misplaced_rows),
    Guard("poison of fits", "noise after the training slice changes nothing before it: features, "
          "labels, scalers, limits, tokenizers", "prepare", future_in_fits),
    Guard("networks", "networks learn, and predict as their twins do", "learn", strange_networks),
    Guard("poison of weights", "noise after a slice changes nothing that was learned before: "
          "weights, chosen epoch, calibrators", "learn", future_in_weights),
    Guard("poison of the search", "noise after validation changes no trial of a search", "tune",
          future_in_search),
    Guard("fills", "every trade is what a slow replay of the bars makes of it", "trade",
          other_fills),
    Guard("alarms", "the alarms of the verdict", "trade", alarms_raised),
)  # fmt: skip
"""All guards, cheapest first."""
