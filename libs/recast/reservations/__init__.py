"""Reservations: a resource is reserved for a holder, under an id that is used once.

The lock of a backup, the pin of an image, the hold of a server and its freeze are reservations. The caller
makes the id; it repeats a request under the same id. A release leaves a tombstone under the id, so that a
late duplicate of the request does not reserve the resource again. Pure functions; storing is the service's.
"""

from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from recast.faults import Refusal

__all__ = ["RELEASED", "Release", "Reservation", "Reserved", "held", "plan_release", "take"]

RELEASED = frozenset({"LOCK_RELEASED", "PIN_RELEASED", "HOLD_RELEASED"})
"""The reasons of a peer's refusal to reserve again what was released."""


class Reserved(Protocol):
    """What was stored under an id: a reservation, or the tombstone of one."""

    @property
    def holder(self) -> str:
        """The resource that it was reserved for."""
        ...

    @property
    def is_released(self) -> bool:
        """Whether it is a tombstone."""
        ...


class Reservation(NamedTuple):
    """The smallest `Reserved`, for a reservation that has no states of its own."""

    holder: str
    is_released: bool = False


class Release(Enum):
    """What a release writes."""

    RELEASED = "the reservation becomes a tombstone"
    TOMBSTONE = "nothing was reserved under the id yet: a tombstone is added"
    NOTHING = "it is a tombstone already, or the reservation of another holder"


R = TypeVar("R", bound=Reserved)


def take(found: R | None, holder: str, released: Refusal) -> R | None:
    """The reservation that this request made before; None when it is to be made now.

    Raises `released` when the id is a tombstone, or another holder's.
    """
    if found is not None and (found.is_released or found.holder != holder):
        raise released
    return found


def held(found: R | None, holder: str, not_held: Refusal) -> R:
    """The reservation of the holder, when it is in force; raises `not_held` otherwise."""
    if found is None or found.is_released or found.holder != holder:
        raise not_held
    return found


def plan_release(found: Reserved | None, holder: str | None) -> Release:
    """What a release writes. Every release is answered well: a repeated one, and a late one.

    `holder` is None where the id alone names the reservation.
    """
    if found is None:
        return Release.TOMBSTONE
    if found.is_released or holder not in {None, found.holder}:
        return Release.NOTHING
    return Release.RELEASED
