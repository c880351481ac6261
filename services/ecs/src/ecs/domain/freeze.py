"""The states of a freeze: used once under its id, and never frozen again once it was thawed."""

from enum import StrEnum
from typing import NamedTuple

from ecs.domain.refusals import FreezeNotFound


class FreezeState(StrEnum):
    """The state of a freeze."""

    FREEZING = "FREEZING"
    """Recorded, its disks are being frozen. FreezeServer, repeated, and ThawServer change it."""
    FROZEN = "FROZEN"
    """ThawServer changes it."""
    THAWED = "THAWED"
    """A tombstone."""


class FreezeEvent(StrEnum):
    """An event that changes the state of a freeze."""

    FROZEN = "every disk frozen"
    THAWED = "thawed"


_S, _E = FreezeState, FreezeEvent
TRANSITIONS: dict[tuple[FreezeState, FreezeEvent], FreezeState] = {
    (_S.FREEZING, _E.FROZEN): _S.FROZEN,
    (_S.FROZEN, _E.FROZEN): _S.FROZEN,
    (_S.FREEZING, _E.THAWED): _S.THAWED,
    (_S.FROZEN, _E.THAWED): _S.THAWED,
    (_S.THAWED, _E.THAWED): _S.THAWED,
}


class Freeze(NamedTuple):
    """A freeze of a server's disks at one instant."""

    server: str
    freeze_id: str
    backup: str
    state: FreezeState

    @property
    def holder(self) -> str:
        """The backup."""
        return self.backup

    @property
    def is_released(self) -> bool:
        """Whether it is a tombstone."""
        return self.state is FreezeState.THAWED


def advance(freeze: Freeze, event: FreezeEvent) -> FreezeState:
    """The state after the event; freezing what was thawed is refused."""
    try:
        return TRANSITIONS[freeze.state, event]
    except KeyError:
        raise FreezeNotFound(server=freeze.server, freeze=freeze.freeze_id) from None


def check_frozen(freeze: Freeze) -> None:
    """Refuses to read disks that do not all stand at the instant of the freeze."""
    if freeze.state is not FreezeState.FROZEN:
        raise FreezeNotFound(server=freeze.server, freeze=freeze.freeze_id)
