"""The lock of an image on a backup: a reservation, fenced by a token, that lasts once confirmed."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from csbs.domain.refusals import LockTokenStale


class LockState(StrEnum):
    """The state of a lock; the names of the contract's enum without its prefix."""

    HELD = "HELD"
    """ConfirmLock and ReleaseLock change it."""
    CONFIRMED = "CONFIRMED"
    """ReleaseLock changes it."""
    RELEASED = "RELEASED"
    """A tombstone."""


class LockEvent(StrEnum):
    """An event that changes the state of a lock."""

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
    """A lock. `request_id` is that of the LockBackup; `create_time` is when it was taken."""

    backup: str
    image: str
    token: int
    request_id: str
    state: LockState
    create_time: datetime

    @property
    def holder(self) -> str:
        """The image."""
        return self.image

    @property
    def is_released(self) -> bool:
        """Whether it is a tombstone."""
        return self.state is LockState.RELEASED


def advance(lock: ImageLock, event: LockEvent) -> LockState:
    """The state after the event; confirming what was released is refused."""
    try:
        return TRANSITIONS[lock.state, event]
    except KeyError:
        raise LockTokenStale(backup=lock.backup, image=lock.image, token=lock.token) from None
