"""The lock of an image on a backup: taken once, fenced by a token, and never brought back once it was
released.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from csbs.domain.refusals import LockReleased, LockTokenStale


class LockState(StrEnum):
    """How firm a lock is; the names of the contract's enum without its prefix."""

    HELD = "HELD"
    """ConfirmLock and ReleaseLock move it on."""
    CONFIRMED = "CONFIRMED"
    """ReleaseLock moves it on."""
    RELEASED = "RELEASED"
    """A tombstone."""


class LockEvent(StrEnum):
    """What happens to a lock."""

    CONFIRMED = "confirmed"
    RELEASED = "released"


TRANSITIONS: dict[tuple[LockState, LockEvent], LockState] = {
    (LockState.HELD, LockEvent.CONFIRMED): LockState.CONFIRMED,
    (LockState.CONFIRMED, LockEvent.CONFIRMED): LockState.CONFIRMED,
    (LockState.HELD, LockEvent.RELEASED): LockState.RELEASED,
    (LockState.CONFIRMED, LockEvent.RELEASED): LockState.RELEASED,
    (LockState.RELEASED, LockEvent.RELEASED): LockState.RELEASED,
}


class ImageLock(NamedTuple):
    """A lock. `request_id` is what it was asked for with, `create_time` when it was taken."""

    backup: str
    image: str
    token: int
    request_id: str
    state: LockState
    create_time: datetime


def find_again(locks: Sequence[ImageLock], backup: str, image: str, request_id: str) -> ImageLock | None:
    """The lock that this very request got before; refused when it was released since."""
    for lock in locks:
        if lock.request_id == request_id:
            if lock.state is LockState.RELEASED or lock.image != image:
                raise LockReleased(backup=backup, image=image)
            return lock
    return None


def current(locks: Sequence[ImageLock], backup: str, image: str, token: int) -> ImageLock:
    """The lock that the token names, if it is the one that holds now (R10)."""
    for lock in locks:
        if lock.token == token and lock.image == image and lock.state is not LockState.RELEASED:
            return lock
    raise LockTokenStale(backup=backup, image=image, token=token)


def advance(lock: ImageLock, event: LockEvent) -> LockState:
    """The state after the event; confirming what was released is refused."""
    try:
        return TRANSITIONS[lock.state, event]
    except KeyError:
        raise LockTokenStale(backup=lock.backup, image=lock.image, token=lock.token) from None
