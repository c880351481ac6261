"""Reservations: taken once under an id, held by one holder, and never taken again after a release."""

import pytest

from recast.faults import Conflict
from recast.reservations import Release, Reservation, held, plan_release, take

REFUSAL = Conflict(resource="r")
MINE, ANOTHERS, TOMBSTONE = Reservation("me"), Reservation("you"), Reservation("me", is_released=True)


@pytest.mark.rule("R10")
def test_a_repeated_request_gets_its_reservation() -> None:
    """A free id is taken; the same request again gets the reservation that it made."""
    assert take(None, "me", REFUSAL) is None
    assert take(MINE, "me", REFUSAL) is MINE


@pytest.mark.parametrize("found", [ANOTHERS, TOMBSTONE])
@pytest.mark.rule("R10")
def test_an_id_is_used_once(found: Reservation) -> None:
    """An id that is a tombstone, or the id of another holder, is refused."""
    with pytest.raises(Conflict):
        take(found, "me", REFUSAL)


@pytest.mark.parametrize("found", [None, ANOTHERS, TOMBSTONE])
@pytest.mark.rule("R10")
def test_only_the_holder_has_it(found: Reservation | None) -> None:
    """The holder has its reservation; without one, after its release, or as another holder it is refused."""
    assert held(MINE, "me", REFUSAL) is MINE
    with pytest.raises(Conflict):
        held(found, "me", REFUSAL)


@pytest.mark.parametrize(
    ("found", "holder", "plan"),
    [
        (None, "me", Release.TOMBSTONE),
        (None, None, Release.TOMBSTONE),
        (MINE, "me", Release.RELEASED),
        (MINE, None, Release.RELEASED),
        (ANOTHERS, "me", Release.NOTHING),
        (TOMBSTONE, "me", Release.NOTHING),
        (TOMBSTONE, None, Release.NOTHING),
    ],
)
@pytest.mark.rule("R10")
def test_a_release_writes_what_is_due(found: Reservation | None, holder: str | None, plan: Release) -> None:
    """A release ends the own reservation, leaves a tombstone before it, and touches no other holder's."""
    assert plan_release(found, holder) is plan
