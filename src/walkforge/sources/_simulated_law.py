"""The law of a simulated market: what a manifest keeps of it, in words, and what a user named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from walkforge.base import parse_utc_ms, utc_text
from walkforge.market import MarketLaw, markov_chain

_WITH_EDGE = ("planted", "markov")
_WORDS = re.compile(
    r"(?P<kind>\w+) seed (?P<seed>-?\d+)(?: edge (?P<edge>\S+))? from (?P<since>.+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """What the bars of a simulated market obey, and when they begin."""

    kind: str = "garch"
    seed: int = 0
    edge: float = MarketLaw().edge
    """Counts for `planted` and `markov` alone."""
    since_ms: int = 1_577_836_800_000  # 2020-01-01

    @property
    def words(self) -> str:
        """What a manifest keeps: `planted seed 3 edge 0.5 from 2020-01-01 00:00`."""
        # Its shortest exact form: what is read back is the same number.
        edge = f" edge {float(self.edge)!r}" if self.kind in _WITH_EDGE else ""
        return f"{self.kind} seed {self.seed}{edge} from {utc_text(self.since_ms)}"

    @property
    def rules(self) -> dict[str, Any]:
        """What `simulate` takes beside kind and seed."""
        return {"edge": self.edge} if self.kind in _WITH_EDGE else {}

    def refuse_nonsense(self) -> None:
        """Raise UsageError for an impossible edge."""
        MarketLaw(edge=self.edge)
        if self.kind == "markov":
            markov_chain(seed=self.seed, edge=self.edge)


def fields_of(words: str) -> dict[str, Any]:
    """Return the fields of the law that words tell; none for other words."""
    found = _WORDS.fullmatch(words)
    if found is None:
        return {}
    edge = {"edge": float(found["edge"])} if found["edge"] else {}
    plain = {"kind": found["kind"], "seed": int(found["seed"])}
    return {**plain, **edge, "since_ms": parse_utc_ms(found["since"])}
