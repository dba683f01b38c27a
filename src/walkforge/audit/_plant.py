"""What a fault is, and the two ways to plant one: in a function of a room, or in the bars."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any
from unittest import mock

from walkforge.market import Bars

from ._specimen import Specimen

Planted = Callable[[Specimen], AbstractContextManager[Specimen]]
Applies = Callable[[Specimen], str | None]


def always(specimen: Specimen) -> str | None:
    """Say that a fault has a meaning for every study."""
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One way in which people fool themselves."""

    name: str
    says: str
    """What is wrong, in a sentence without a full stop."""
    stage: str
    """The stage of the specimen that goes wrong first: bars, prepare, learn, tune or trade."""
    planted: Planted
    """Takes the sound specimen, and returns a context in which there is the faulty one."""
    applies: Applies = always
    """Says why the fault has no meaning for a study, None where it has one."""


def in_room(
    name: str,
    says: str,
    stage: str,
    places: dict[str, Callable[..., Any]],
    applies: Applies = always,
) -> Fault:
    """Return the fault of functions of real rooms being replaced by `faulty(real, ...)`."""

    @contextmanager
    def planted(sound: Specimen) -> Iterator[Specimen]:
        with swapped(places):
            yield sound.from_stage(stage)

    return Fault(name=name, says=says, stage=stage, planted=planted, applies=applies)


def in_bars(
    name: str, says: str, spoil: Callable[[Bars], Bars], applies: Applies = always
) -> Fault:
    """Return the fault of every series being what `spoil` makes of it."""

    @contextmanager
    def planted(sound: Specimen) -> Iterator[Specimen]:
        yield sound.with_bars({name: spoil(one) for name, one in sound.source.items()})

    return Fault(name=name, says=says, stage="bars", planted=planted, applies=applies)


@contextmanager
def swapped(places: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace the function at each place, such as `walkforge.folds.rows_of`, for a while.

    Whoever stands in for it is called as `faulty(real, ...)`.
    """
    with ExitStack() as stack:
        for place, faulty in places.items():
            stack.enter_context(mock.patch(place, _standing_in(resolve_name(place), faulty)))
        yield


def _standing_in(real: Any, faulty: Callable[..., Any]) -> Callable[..., Any]:
    # A function and no partial: only that becomes a method where it stands in a class.
    def replacement(*args: Any, **named: Any) -> Any:
        return faulty(real, *args, **named)

    return replacement
