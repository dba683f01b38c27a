"""A number that knows how sure it is."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measure:
    """A value with its 95 % interval, sample size and unit; NaN bounds mean "no interval"."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    unit: str = "fraction"

    def as_dict(self) -> dict[str, Any]:
        """Return the shape that `metrics.json` holds."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "unit": self.unit,
        }
