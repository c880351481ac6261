"""The rules of CSBS as values: states, transitions, deletions, eligibility, restores."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from csbs.domain import backup as backups
from csbs.domain import image_lock as locks
from csbs.domain.backup import Backup, BackupDisk, BackupEvent, BackupState
from csbs.domain.image_lock import ImageLock, LockEvent, LockState
from csbs.domain.refusals import (
    BackupBusy,
    BackupHasImage,
    BackupNotRestorable,
    LockTokenStale,
    RestoreTargetInvalid,
    ServerStateForbidsBackup,
)
from csbs.domain.restore import TargetDisk, plan_restore
from recast.csbs.v1 import backup_pb2
from recast.faults import RequestInvalid
from recast.imagelock.v1 import image_lock_service_pb2

SYSTEM = BackupDisk("system", "d0", is_system=True, shared=False, size_bytes=1024)
DATA = BackupDisk("data-1", "d1", is_system=False, shared=False, size_bytes=512)
TABLES: list[tuple[Any, Any, Any, Any]] = [
    (BackupState, BackupEvent, backups.TRANSITIONS, backup_pb2.BackupState),
    (LockState, LockEvent, locks.TRANSITIONS, image_lock_service_pb2.LockState),
]


def backup(state: BackupState = BackupState.AVAILABLE, **changes: Any) -> Backup:
    """A backup of a system disk and a data disk."""
    given: dict[str, Any] = {"image_ready": False, "image": "", "disks": [SYSTEM, DATA]} | changes
    return Backup("projects/p/backups/b", state, **given)


def lock(state: LockState) -> ImageLock:
    """A lock."""
    return ImageLock("b", "i", 1, "r", state, datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(("states", "events", "table", "contract"), TABLES)
def test_the_states_are_the_contracts(states: Any, events: Any, table: Any, contract: Any) -> None:
    """The domain's states are those of the contract's enum, by name."""
    names = {name.partition("_STATE_")[2] for name in contract.keys()}  # noqa: SIM118  # an enum wrapper is no dict
    assert {state.value for state in states} == names - {"UNSPECIFIED"}


@pytest.mark.parametrize(("states", "events", "table", "contract"), TABLES)
def test_every_state_is_reached_and_every_event_happens(
    states: Any, events: Any, table: Any, contract: Any
) -> None:
    """From the first state every other is reached, and no event is without a transition."""
    first = next(iter(states))
    assert {first, *table.values()} == set(states)
    assert {event for _, event in table} == set(events)


@pytest.mark.rule("R10")
def test_what_ends_has_no_exit() -> None:
    """A backup that is being deleted stays so unless that fails, and a lock that was released stays so."""
    leaving = [event for before, event in backups.TRANSITIONS if before is BackupState.DELETING]
    assert leaving == [BackupEvent.FAILED]
    assert {state for state in LockState if not _exits(locks.TRANSITIONS, state)} == {LockState.RELEASED}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(BackupState, BackupEvent)))
@pytest.mark.rule("R05")
def test_a_backup_advances_by_the_table_alone(state: BackupState, event: BackupEvent) -> None:
    """Every pair of state and event that is not in the table is refused; a restore has its own reason."""
    wanted = backups.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert backups.advance(backup(state), event) is wanted
        return
    with pytest.raises(BackupNotRestorable if event is BackupEvent.RESTORE_BEGUN else BackupBusy):
        backups.advance(backup(state), event)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LockState, LockEvent)))
@pytest.mark.rule("R10")
def test_a_lock_advances_by_the_table_alone(state: LockState, event: LockEvent) -> None:
    """Every pair of state and event that is not in the table is refused as stale."""
    wanted = locks.TRANSITIONS.get((state, event))
    if wanted is not None:
        assert locks.advance(lock(state), event) is wanted
        return
    with pytest.raises(LockTokenStale):
        locks.advance(lock(state), event)


@pytest.mark.parametrize(
    ("state", "ready", "strict"), list(itertools.product(BackupState, [False, True], [False, True]))
)
@pytest.mark.rule("R02", "R04", "R06")
@pytest.mark.fault("FAULT-W03")
def test_an_image_is_made_of_an_available_or_a_marked_backup(
    state: BackupState, ready: bool, strict: bool
) -> None:
    """AVAILABLE allows an image, and so does CREATING with the marker, which the strict reading refuses."""
    found = backups.image_obstacles(backup(state, image_ready=ready), require_available=strict)
    wanted: list[tuple[str, str]] = []
    if state is BackupState.CREATING and ready:
        wanted = [("BACKUP_NOT_AVAILABLE", "R06")] if strict else []
    elif state is not BackupState.AVAILABLE:
        wanted = [("BACKUP_NOT_IMAGE_READY", "R02")]
    assert [(each.reason, each.rule) for each in found] == wanted


@pytest.mark.rule("R02", "R07", "R08", "R09")
def test_every_obstacle_of_an_image_is_found() -> None:
    """A backup that breaks every rule is refused with all of them, one shared disk after the other."""
    shared = [BackupDisk(f"data-{n}", f"d{n}", is_system=False, shared=True, size_bytes=512) for n in (1, 2)]
    worst = backup(BackupState.ERROR, image="projects/p/images/i", disks=shared)
    found = backups.image_obstacles(worst, require_available=False)
    assert [(each.reason, each.violation().resource) for each in found] == [
        ("BACKUP_ALREADY_HAS_IMAGE", "projects/p/images/i"),
        ("BACKUP_NOT_IMAGE_READY", worst.name),
        ("BACKUP_WITHOUT_SYSTEM_DISK", worst.name),
        ("BACKUP_HAS_SHARED_DISK", "d1"),
        ("BACKUP_HAS_SHARED_DISK", "d2"),
    ]
    assert backups.image_obstacles(backup(), require_available=True) == []


@pytest.mark.parametrize("state", BackupState)
@pytest.mark.rule("R15", "R17")
def test_an_image_stands_in_the_way_of_a_deletion_in_every_state(state: BackupState) -> None:
    """A backup that an image stands on is not deleted, whatever its state."""
    with pytest.raises(BackupHasImage):
        backups.decide_deletion(backup(state, image="projects/p/images/i"))


@pytest.mark.parametrize("state", ["CREATING", "STARTING", "ERROR", "DELETING", "RESTORING", "CHANGING_OS"])
def test_a_server_is_backed_up_running_or_stopped(state: str) -> None:
    """Only a RUNNING or STOPPED server is backed up (V11)."""
    for good in ("RUNNING", "STOPPED"):
        backups.decide_backup("s", good)
    with pytest.raises(ServerStateForbidsBackup):
        backups.decide_backup("s", state)


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 256, "sl/ash", "dot."])
def test_a_backups_name_is_well_formed(name: str) -> None:
    """A malformed name is refused, and so is a description with an angle bracket; both are named at once."""
    with pytest.raises(RequestInvalid) as caught:
        backups.check_texts(name, "<")
    assert [each.field for each in caught.value.fields] == ["backup.display_name", "backup.description"]
    backups.check_texts("n_-1" * 63, "d" * 255)


def test_a_restore_goes_where_the_disks_came_from_unless_mapped() -> None:
    """Disks go to their origins, the system disk to the server's present one, and mapped ones to their
    targets.
    """
    targets = [
        TargetDisk("new-system", is_system=True, shared=False, size_bytes=2048),
        TargetDisk("d1", is_system=False, shared=False, size_bytes=512),
        TargetDisk("d2", is_system=False, shared=False, size_bytes=512),
    ]
    assert plan_restore("b", [SYSTEM, DATA], targets, {}) == {"system": "new-system", "data-1": "d1"}
    assert plan_restore("b", [SYSTEM, DATA], targets, {"data-1": "d2"})["data-1"] == "d2"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (TargetDisk("d1", is_system=False, shared=True, size_bytes=512), "shared"),
        (TargetDisk("d1", is_system=True, shared=False, size_bytes=512), "data disk to a data disk"),
        (TargetDisk("d1", is_system=False, shared=False, size_bytes=511), "it has 511 bytes"),
        (TargetDisk("elsewhere", is_system=False, shared=False, size_bytes=512), "not attached"),
    ],
)
def test_a_disk_that_does_not_fit_is_refused(target: TargetDisk, problem: str) -> None:
    """A disk is written to none that is shared, of another role, smaller, or not there."""
    with pytest.raises(RestoreTargetInvalid) as caught:
        plan_restore("b", [DATA], [target], {})
    assert [problem in each.description for each in caught.value.violations] == [True]


def test_two_disks_do_not_go_to_one_and_unknown_ones_are_named() -> None:
    """Two disks of a backup are not written to one, and a mapping of an unknown disk is refused with its
    name.
    """
    target = TargetDisk("d1", is_system=False, shared=False, size_bytes=512)
    second = BackupDisk("data-2", "d2", is_system=False, shared=False, size_bytes=512)
    with pytest.raises(RestoreTargetInvalid) as caught:
        plan_restore("b", [DATA, second], [target], {"data-2": "d1", "data-9": "d1"})
    assert len(caught.value.violations) == 2


def _exits(table: Any, state: Any) -> set[Any]:
    return {after for (before, _), after in table.items() if before is state and after is not state}
