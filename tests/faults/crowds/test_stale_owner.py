"""A process that slept past its lease finds, when it wakes, that its work and its locks are another's (R10).

IMS is put to sleep (SIGSTOP) at every point of CreateImage up to the publication. Its work is taken over and
cancelled, another image locks the backup; then it wakes.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from recast.client import Service
from recast.faults import Kind, RemoteRefusal
from recast.imagelock.v1 import image_lock_service_pb2 as pb
from recast.longrunning.v1.operation_metadata_pb2 import OPERATION_STATE_CANCELLED
from tests.faults.crowds.replicas import Only, Replicas
from tests.faults.crowds.tenants import make_tenant, start_server
from tests.harness.expectations import refused, state_of, until
from tests.harness.postgresql import running_postgresql
from tests.harness.project import Tenant

_PUBLISHED = "CreateImage/publish:committed"
# Points of the RPC, which has the name of its work.
_OF_THE_CALL = {
    "CreateImage:commit",
    "CreateImage:committed",
    "CreateImage:call CheckImageEligibility",
    "CreateImage:answered CheckImageEligibility",
}
_LOST = '"lease lost"'


@dataclass(frozen=True)
class Stage:
    """Two replicas of each service, and a project on them."""

    replicas: Replicas
    tenant: Tenant


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """On PostgreSQL, with short leases."""
    root = tmp_path_factory.mktemp("stale")
    with (
        running_postgresql() as server,
        Replicas(root, count=2, postgresql=server, lease_seconds=1.0) as replicas,
    ):
        yield Stage(replicas, make_tenant(replicas, root / "sources"))


def points_of_image_creation(stage: Stage) -> list[str]:
    """Every point of the work of CreateImage before the image is published, in their order, from a run."""
    tenant, seen = stage.tenant, dict[str, None]()
    before = {number: len(stage.replicas.reached("ims", number)) for number in stage.replicas.numbers}
    with tenant.unfinished_backup("discover", "idle") as backup:
        image = tenant.start_image("discover", "discover")
        until(lambda: tenant.get_backup("discover").image, "the lock")
    tenant.wait(backup.operation, "csbs")
    tenant.wait(image.operation, "ims")
    for number in stage.replicas.numbers:
        seen |= dict.fromkeys(stage.replicas.reached("ims", number)[before[number] :])
    work = [
        point
        for point in seen
        if point.startswith("CreateImage") and point not in _OF_THE_CALL and "/reserve:" not in point
    ]
    return work[: work.index(_PUBLISHED)]


def sleeper(replicas: Replicas, service: Service) -> list[int]:
    """The replica of a service that fell asleep."""
    return [number for number in replicas.numbers if replicas.is_asleep(service, number)]


def round_of(stage: Stage, point: str, name: str) -> list[str]:
    """The owner of an image's creation sleeps at the point, and wakes when all is another's.

    Gives the reasons of CSBS's refusals of its later calls.
    """
    replicas, tenant = stage.replicas, stage.tenant
    with tenant.unfinished_backup(name, "idle") as backup:
        for number in replicas.numbers:
            replicas.order("ims", f"{point} stop", number)
        with replicas.work_held("ims", "CreateImage"):  # the call is answered before its process sleeps
            image = tenant.start_image(name, name)
        until(lambda: sleeper(replicas, "ims") or tenant.get_backup(name).image, "the lock")
    asleep = until(lambda: sleeper(replicas, "ims"), point)[0]
    replicas.disarm()
    other = Tenant(Only(replicas, 1 - asleep), "main", tenant.sources)  # type: ignore[arg-type]
    # Cancelled before the lease ends: the new owner undoes the work and does not finish it.
    other.cancel(image.operation, "ims")
    assert other.end(image.operation, "ims").state == OPERATION_STATE_CANCELLED
    other.wait(backup.operation, "csbs")
    second = other.create_image(f"{name}-second", name)
    seen = len(replicas.log("csbs"))
    lost = replicas.log("ims").count(_LOST)
    replicas.wake("ims", asleep)
    until(lambda: replicas.log("ims").count(_LOST) > lost, "the end of the old owner")
    query = "SELECT image, state FROM image_lock WHERE backup = :name AND state <> 'RELEASED'"
    held = [tuple(row) for row in replicas.rows("csbs", query, name=tenant.backup(name))]
    assert held == [(second.name, "CONFIRMED")]
    assert state_of(other.get_image(f"{name}-second")) == "NORMAL"
    start_server(other, "idle", validate_only=True)  # R23: the hold is gone
    assert replicas.problems() == []
    events = [json.loads(line) for line in replicas.log("csbs")[seen:].splitlines() if line.startswith("{")]
    return [event["reason"] for event in events if event["event"] == "refused"]


@pytest.mark.timeout(300)
@pytest.mark.rule("R10", "R23")
def test_an_owner_that_wakes_changes_nothing(stage: Stage, figure: Callable[[str], None]) -> None:
    """After IMS slept past its lease at any point of an image's creation, its further
    calls have no effect.
    """
    points = points_of_image_creation(stage)
    failures, reasons = [], Counter[str]()
    for number, point in enumerate(points):
        try:
            refusals = round_of(stage, point, f"stale-{number}")
        except (AssertionError, RemoteRefusal) as problem:
            failures.append(f"{point}: {problem}")
            stage.replicas.disarm()
            for replica in stage.replicas.numbers:
                stage.replicas.wake("ims", replica)
            break
        reasons.update(refusals)
        print(f"{point}: {refusals or 'made no more call'}")
    figure(f"put to sleep at {len(points)} points; CSBS refused by {dict(reasons)}; {len(failures)} failed")
    assert failures == []
    assert {"LOCK_TOKEN_STALE", "LOCK_RELEASED"} <= reasons.keys()


@pytest.mark.timeout(240)
def test_a_pin_does_not_come_back(stage: Stage, figure: Callable[[str], None]) -> None:
    """ECS sleeps before it pins an image; its work is done by another, and when it wakes no pin is left: the
    image can be deleted.
    """
    replicas, tenant = stage.replicas, stage.tenant
    tenant.import_image("pinned", "sys.raw")
    for number in replicas.numbers:
        replicas.order("ecs", "CreateServers/pin *:call PinImage stop", number)
    with replicas.work_held("ecs", "CreateServers"):  # the call is answered before its process sleeps
        operation = tenant.start_servers("pinned", "pinned").operation
    asleep = until(lambda: sleeper(replicas, "ecs"), "the sleep")[0]
    replicas.disarm()
    other = Tenant(Only(replicas, 1 - asleep), "main", tenant.sources)  # type: ignore[arg-type]
    other.wait(operation, "ecs")
    lost = replicas.log("ecs").count(_LOST)
    replicas.wake("ecs", asleep)
    until(lambda: replicas.log("ecs").count(_LOST) > lost, "the end of the old owner")
    query = "SELECT pin_id FROM image_pin WHERE image = :image"
    assert not replicas.rows("ims", query, image=tenant.image("pinned"))
    assert '"PIN_RELEASED"' in replicas.log("ims")
    other.delete_image("pinned")
    assert replicas.problems() == []
    figure("PIN_RELEASED refused the pin of the old owner")


@pytest.mark.rule("R10")
def test_an_old_token_is_refused_by_every_replica(stage: Stage) -> None:
    """Once the backup is another image's, the old owner can neither confirm nor read, nor release the other's
    lock, at any replica.
    """
    replicas, tenant = stage.replicas, stage.tenant
    backup = tenant.create_backup("token", "idle").name
    first, second = tenant.image("token-1"), tenant.image("token-2")
    ims = tenant.as_service("ims").locks
    lock = pb.LockBackupRequest(backup=backup, image=first, request_id="token-1")
    old = ims.LockBackup(lock).lock.token
    ims.ReleaseLock(pb.ReleaseLockRequest(backup=backup, image=first, token=old))
    new = ims.LockBackup(pb.LockBackupRequest(backup=backup, image=second, request_id="token-2")).lock.token
    assert new == old + 1
    for number in replicas.numbers:
        stub = replicas.client("main", service="ims", number=number).locks
        with refused("LOCK_TOKEN_STALE", rule="R10"):
            stub.ConfirmLock(pb.ConfirmLockRequest(backup=backup, image=first, token=old))
        with refused("LOCK_TOKEN_STALE", rule="R10"):
            stub.GetBackupContent(pb.GetBackupContentRequest(backup=backup, image=first, token=old))
        with refused("LOCK_RELEASED", Kind.ABORTED):
            stub.LockBackup(lock)
        stub.ReleaseLock(pb.ReleaseLockRequest(backup=backup, image=first, token=old, request_id="token-1"))
        assert tenant.get_backup("token").image == second
    ims.ReleaseLock(pb.ReleaseLockRequest(backup=backup, image=second, token=new))
