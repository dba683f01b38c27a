"""A column of features: what it says, in which unit, how far it looks back, how it is computed."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from walkforge.base import FloatArray

from ._stretch import Stretch


@dataclass(frozen=True, slots=True)
class Column:
    """One named feature. Its value at bar t depends on bars t − look_back_bars + 1 .. t only."""

    name: str
    formula: str
    unit: str
    look_back_bars: int
    compute: Callable[[Stretch], FloatArray]
    """Maps a stretch of n bars to (n,) float64; the first look_back_bars − 1 values are NaN."""

    @property
    def description(self) -> str:
        """Return formula, unit and look-back as one sentence each."""
        return f"{self.formula}. Unit: {self.unit}. Look-back: {self.look_back_bars} bars."


def column(
    name: str, *, unit: str, look_back: Callable[..., int]
) -> Callable[[Callable[..., FloatArray]], Callable[..., Column]]:
    """Turn `function(stretch, a, b)`, whose docstring is its formula, into a maker of columns.

    The maker takes the numbers `a, b`; `{a}` in name, unit and docstring stands for the number,
    and `look_back(a, b)` is the number of bars that one value needs.
    """

    def declare(function: Callable[..., FloatArray]) -> Callable[..., Column]:
        parameters = list(inspect.signature(function).parameters)[1:]
        formula = " ".join((function.__doc__ or "").split())

        def make(*numbers: int) -> Column:
            named = dict(zip(parameters, numbers, strict=True))
            return Column(
                name=name.format(**named),
                formula=formula.format(**named),
                unit=unit.format(**named),
                look_back_bars=look_back(*numbers),
                compute=lambda stretch: function(stretch, *numbers),
            )

        make.__doc__ = function.__doc__
        return make

    return declare
