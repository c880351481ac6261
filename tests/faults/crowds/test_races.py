"""Many callers at one resource: each ends by the rules, and nothing is left over.

Once on one process a service with SQLite, once on two with PostgreSQL.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from recast.client import Recast
from recast.csbs.v1 import backup_service_pb2 as backups_pb
from recast.ecs.v1 import disk_service_pb2 as disks_pb
from recast.ecs.v1 import server_service_pb2 as servers_pb
from recast.imagelock.v1 import image_lock_service_pb2 as locks_pb
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as images_pb
from tests.faults.crowds.crowd import Outcome, all_at_once, outcome_of, reasons
from tests.faults.crowds.replicas import Replicas
from tests.faults.crowds.tenants import make_tenant
from tests.harness.expectations import until
from tests.harness.postgresql import running_postgresql
from tests.harness.project import Tenant

_CLIENTS, _DELETERS = 32, 6
_ENGINES = {"sqlite": 20, "postgresql": 5}  # rounds of the big race


@dataclass(frozen=True)
class Stage:
    """The services, a project on them, and a client for each of the racers."""

    replicas: Replicas
    tenant: Tenant
    clients: list[Recast]
    rounds: int


@pytest.fixture(scope="module", params=_ENGINES)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One process a service on SQLite, or two on PostgreSQL."""
    root = tmp_path_factory.mktemp(f"races_{request.param}")
    rounds = _ENGINES[request.param]
    if request.param == "sqlite":
        with Replicas(root) as replicas:
            yield _stage(replicas, rounds)
        return
    with running_postgresql() as server, Replicas(root, count=2, postgresql=server) as replicas:
        yield _stage(replicas, rounds)


def _stage(replicas: Replicas, rounds: int) -> Stage:
    tenant = make_tenant(replicas, replicas.root / "sources")
    clients = [replicas.new_client("main") for _ in range(_CLIENTS + _DELETERS)]
    return Stage(replicas, tenant, clients, rounds)


# One image of a backup (R09), no deletion of a locked backup (R15).


def _make_image(tenant: Tenant, client: Recast, image_id: str, backup_id: str) -> Any:
    """Requests an image and waits for its end."""
    request = images_pb.CreateImageRequest(
        parent=tenant.parent,
        image_id=image_id,
        image=image_pb2.Image(display_name=image_id),
        backup=tenant.backup(backup_id),
        disclaimer_accepted=True,
    )
    return client.wait(client.images.CreateImage(request).operation, "ims", timeout_seconds=60)


def _delete_backup(tenant: Tenant, client: Recast, backup_id: str, gate: threading.Event) -> Any:
    """Deletes a backup, once the gate is open."""
    gate.wait(60)
    request = backups_pb.DeleteBackupRequest(name=tenant.backup(backup_id))
    return client.wait(client.backups.DeleteBackup(request).operation, "csbs", timeout_seconds=60)


def _race_for_images(stage: Stage, number: int) -> tuple[list[Outcome], list[Outcome]]:
    """32 clients make an image of one backup, and others delete it.

    In every second round the deletions begin when the backup is locked, so that they meet the lock.
    """
    tenant, backup_id, gate = stage.tenant, f"race-{number}", threading.Event()
    tenant.create_backup(backup_id, "idle")
    makers = [
        partial(_make_image, tenant, client, f"race-{number}-{index}", backup_id)
        for index, client in enumerate(stage.clients[:_CLIENTS])
    ]
    deleters = [
        partial(_delete_backup, tenant, client, backup_id, gate) for client in stage.clients[_CLIENTS:]
    ]

    def open_gate() -> None:
        if number % 2:
            for _ in range(1000):
                if outcome_of(lambda: tenant.get_backup(backup_id).image).answer:
                    break
        gate.set()

    outcomes = all_at_once([*makers, *deleters, open_gate])
    return outcomes[:_CLIENTS], outcomes[_CLIENTS:-1]


@pytest.mark.timeout(240)
@pytest.mark.rule("R09", "R10", "R15")
def test_one_of_many_makes_the_image(stage: Stage, figure: Callable[[str], None]) -> None:
    """Of 32 clients that make an image of one backup exactly one does, unless a deletion came first; no
    locked backup is deleted.
    """
    made = deleted = 0
    refusals: Counter[str] = Counter()
    for number in range(stage.rounds):
        makers, deleters = _race_for_images(stage, number)
        name = {"name": stage.tenant.backup(f"race-{number}")}
        locks = "SELECT count(*) FROM image_lock WHERE backup = :name AND state <> 'RELEASED'"
        images = "SELECT count(*) FROM image WHERE source_backup = :name"  # a refused call leaves none
        stage.replicas.wait_until_idle()  # what was refused by its answer is undone
        held, rows = stage.replicas.value("csbs", locks, **name), stage.replicas.value("ims", images, **name)
        wins, losses = reasons(makers)[""], reasons(makers) + reasons(deleters)
        deletions = reasons(deleters)[""]
        assert (wins, deletions, held, rows) in {(1, 0, 1, 1), (0, 1, 0, 0)}, losses
        allowed = (
            {"BACKUP_ALREADY_HAS_IMAGE", "BACKUP_HAS_IMAGE"}
            if wins
            else {"BACKUP_NOT_FOUND", "BACKUP_NOT_IMAGE_READY", "BACKUP_BUSY", "BACKUP_ALREADY_HAS_IMAGE"}
        )
        assert losses.keys() - {""} <= allowed
        made, deleted = made + wins, deleted + deletions
        refusals += losses
    assert made
    del refusals[""]
    figure(
        f"{stage.rounds} rounds of 32: {made} images, {deleted} deletions that came first; {dict(refusals)}"
    )
    assert stage.replicas.problems() == []


# The lock's token.


@pytest.mark.rule("R10")
def test_a_lock_that_was_released_is_not_confirmed(stage: Stage, figure: Callable[[str], None]) -> None:
    """Confirming and releasing one lock at once, the release stands, whichever came first."""
    tenant = stage.tenant
    ims = stage.replicas.client("main", service="ims")
    backup = tenant.create_backup("confirmed", "idle").name
    image = tenant.image("confirmed")
    confirmed = 0
    for number in range(60):
        request_id = f"lock-{number}"
        lock = locks_pb.LockBackupRequest(backup=backup, image=image, request_id=request_id)
        token = ims.locks.LockBackup(lock).lock.token
        assert token == number + 1
        confirm = locks_pb.ConfirmLockRequest(backup=backup, image=image, token=token)
        release = locks_pb.ReleaseLockRequest(backup=backup, image=image, token=token)
        outcomes = all_at_once(
            [*[partial(ims.locks.ConfirmLock, confirm)] * 3, partial(ims.locks.ReleaseLock, release)]
        )
        assert reasons(outcomes).keys() <= {"", "LOCK_TOKEN_STALE"}
        assert outcomes[-1].reason == ""
        confirmed += reasons(outcomes[:-1])[""]
        [[state]] = stage.replicas.rows(
            "csbs",
            "SELECT state FROM image_lock WHERE request_id = :id AND backup = :backup",
            id=request_id,
            backup=backup,
        )
        assert state == "RELEASED"
    figure(f"60 releases against 180 confirmations, of which {confirmed} came first")


def _take_and_give_back(stage: Stage, backup: str, taker: int, held: list[tuple[float, float, int]]) -> None:
    """Locks a backup whenever it is free, and records the time and the token of each lock."""
    ims = stage.replicas.new_client("main", service="ims")
    image = stage.tenant.image(f"taker-{taker}")
    for turn in range(60):
        lock = locks_pb.LockBackupRequest(backup=backup, image=image, request_id=f"take-{taker}-{turn}")
        taken = outcome_of(partial(ims.locks.LockBackup, lock))
        if taken.reason:
            assert taken.reason == "BACKUP_ALREADY_HAS_IMAGE"
            continue
        begun, token = time.monotonic(), taken.answer.lock.token
        assert taken.answer.lock.image == image
        if turn % 2:
            ims.locks.ConfirmLock(locks_pb.ConfirmLockRequest(backup=backup, image=image, token=token))
        held.append((begun, time.monotonic(), token))
        ims.locks.ReleaseLock(locks_pb.ReleaseLockRequest(backup=backup, image=image, token=token))


def _rename(client: Recast, backup: str) -> None:
    """Changes a backup repeatedly, by the etag of its first read: a lock does not change the etag."""
    message = client.backups.GetBackup(backups_pb.GetBackupRequest(name=backup)).backup
    for number in range(60):
        message.display_name = f"name-{number}"
        request = backups_pb.UpdateBackupRequest(backup=message)
        request.update_mask.paths.append("display_name")
        message.etag = client.backups.UpdateBackup(request).backup.etag


@pytest.mark.rule("R09", "R10")
def test_no_two_hold_a_backup_at_a_time(stage: Stage, figure: Callable[[str], None]) -> None:
    """Eight callers lock and release one backup while its owner changes it: each lock ends before the next
    begins, which has the next token, and the holder of the backup is the image of its lock.
    """
    backup = stage.tenant.create_backup("taken", "idle").name
    held: list[tuple[float, float, int]] = []
    takers = [partial(_take_and_give_back, stage, backup, taker, held) for taker in range(8)]
    outcomes = all_at_once([*takers, partial(_rename, stage.clients[0], backup)])
    assert reasons(outcomes) == {"": 9}, outcomes
    held.sort()
    assert [token for *_, token in held] == list(range(1, len(held) + 1))
    assert all(end <= begin for (_, end, _), (begin, _, _) in pairwise(held))
    assert stage.tenant.get_backup("taken").image == ""
    assert stage.replicas.problems() == []
    figure(f"{len(held)} locks one after the other, of 480 requests")


# Servers and disks.


# At or before this moment: a late request may find that the servers are made.
_PINNED = " UNION ".join(
    f"SELECT pin_id FROM {table} WHERE image = :image" for table in ("image_pin", "ended_pin")
)


def _race(stage: Stage, calls: list[Callable[[], Any]]) -> list[Outcome]:
    """Makes the calls at once, follows the work that they began, and gives each one's end."""

    def end(call: Callable[[], Any], client: Recast) -> Any:
        answer = call()
        operation = getattr(answer, "operation", None)
        if operation is not None:
            package = answer.DESCRIPTOR.full_name.split(".")[1]
            client.wait(operation, package, timeout_seconds=60)  # type: ignore[arg-type]
        return answer

    return all_at_once(
        [partial(end, call, client) for call, client in zip(calls, stage.clients, strict=False)]
    )


def _changes(tenant: Tenant, server: str, loose: str) -> list[list[Callable[[], Any]]]:
    """The calls that race with a backup of the server, in groups that leave the backup a chance."""
    ecs, name = tenant.recast, tenant.server(server)
    attach = disks_pb.AttachDiskRequest(name=loose, server=name)
    detach = disks_pb.DetachDiskRequest(name=tenant.disk(f"{server}-data-1"), server=name)
    change = servers_pb.ChangeServerOsRequest(name=name, image=tenant.image("sys"))
    delete = servers_pb.DeleteServerRequest(name=name, delete_data_disks=True)
    return [
        [partial(ecs.disks.AttachDisk, attach), partial(ecs.disks.DetachDisk, detach)] * 2,
        [partial(ecs.servers.ChangeServerOs, change), partial(ecs.disks.AttachDisk, attach)],
        [partial(ecs.servers.DeleteServer, delete)],
    ]


@pytest.mark.timeout(240)
def test_a_server_changes_while_it_is_backed_up(stage: Stage, figure: Callable[[str], None]) -> None:
    """Disks that come and go, an OS change and a deletion against a backup that begins: each is done or
    refused by the rules, and the backup is whole.
    """
    tenant, seen = stage.tenant, Counter[str]()
    data = [servers_pb.DataDiskSpec(size_bytes=1 << 20)]
    for number in range(9):
        server = f"busy-{number}"
        tenant.create_server(server, data_disks=data, leave_stopped=True)
        loose = tenant.create_disk(f"loose-{number}", 1 << 20).name
        changes = _changes(tenant, server, loose)[number % 3]
        outcomes = _race(stage, [partial(tenant.start_backup, server, server), *changes])
        seen += reasons(outcomes)
        stage.replicas.wait_until_idle()
    figure(f"9 rounds: {dict(seen)}")
    assert seen.keys() <= {
        "",
        "SERVER_FROZEN",
        "SERVER_STATE_FORBIDS",
        "SERVER_STATE_FORBIDS_BACKUP",
        "SERVER_DISKS_CHANGED",
        "SERVER_NOT_FOUND",
        "DISK_ALREADY_ATTACHED",
        "DISK_NOT_ATTACHED",
        "DISK_STATE_FORBIDS",
    }
    assert stage.replicas.problems() == []


@pytest.mark.timeout(240)
def test_an_image_is_deleted_while_servers_are_made_of_it(
    stage: Stage, figure: Callable[[str], None]
) -> None:
    """Either the servers are made and the deletion is refused while they are, or the deletion came first;
    never is a server without its bytes.
    """
    tenant, seen = stage.tenant, Counter[str]()
    for number in range(9):
        image = f"fleeting-{number}"
        tenant.import_image(image, "sys.raw")
        make = partial(tenant.start_servers, image_id=image, count=2)

        def delete(image: str = image, waits: bool = bool(number % 3)) -> Any:
            if waits:  # so that it meets the work, not the request
                until(lambda: stage.replicas.rows("ims", _PINNED, image=tenant.image(image)), "a pin")
            return tenant.recast.images.DeleteImage(images_pb.DeleteImageRequest(name=tenant.image(image)))

        outcomes = _race(
            stage, [partial(make, f"fleet-{number}-a"), partial(make, f"fleet-{number}-b"), delete, delete]
        )
        seen += reasons(outcomes)
        assert reasons(outcomes[2:])[""] <= 1
    figure(f"9 rounds: {dict(seen)}")
    assert seen.keys() <= {"", "IMAGE_IN_USE", "IMAGE_NOT_FOUND", "IMAGE_NOT_NORMAL", "IMAGE_BUSY"}
    assert stage.replicas.problems() == []


def test_a_server_is_backed_up_once_at_a_time(stage: Stage, figure: Callable[[str], None]) -> None:
    """Of four backups of one server begun at once one is made, and the rest are refused."""
    tenant, seen = stage.tenant, Counter[str]()
    for number in range(10):
        calls = [partial(tenant.start_backup, f"twin-{number}-{index}", "web") for index in range(4)]
        with stage.replicas.chunks_held("csbs", "main"):  # none ends before the last is requested
            outcomes = all_at_once(calls)
        for outcome in outcomes:
            if outcome.answer:
                tenant.wait(outcome.answer.operation, "csbs")
        seen += reasons(outcomes)
        assert reasons(outcomes) == {"": 1, "SERVER_BEING_BACKED_UP": 3}
    figure(f"10 rounds: {dict(seen)}")
    assert stage.replicas.problems() == []


def test_an_os_is_changed_once_at_a_time(stage: Stage) -> None:
    """Of four OS changes of one server requested at once one is made, and the rest are refused."""
    tenant = stage.tenant
    change = servers_pb.ChangeServerOsRequest(name=tenant.server("idle"), image=tenant.image("sys"))
    for _ in range(4):
        # None has swapped its disk before the last is requested.
        with stage.replicas.work_held("ecs", "ChangeServerOs"):
            outcomes = all_at_once([partial(tenant.recast.servers.ChangeServerOs, change)] * 4)
        for outcome in outcomes:
            if outcome.answer:
                tenant.wait(outcome.answer.operation, "ecs")
        assert reasons(outcomes) == {"": 1, "SERVER_STATE_FORBIDS": 3}
    assert stage.replicas.problems() == []


def test_a_disk_is_attached_to_one_server(stage: Stage) -> None:
    """Of four attachments of one disk to two servers at once one is made; it is detached once."""
    tenant = stage.tenant
    disk = tenant.create_disk("wanted", 1 << 20).name
    for _ in range(15):
        outcomes = all_at_once([partial(tenant.attach, "wanted", server) for server in ("web", "idle") * 2])
        assert _one_of(outcomes, "DISK_ALREADY_ATTACHED")
        count = stage.replicas.value("ecs", "SELECT count(*) FROM attachment WHERE disk = :disk", disk=disk)
        assert count == 1
        [server] = [each.server.rpartition("/")[2] for each in tenant.get_disk("wanted").attachments]
        outcomes = all_at_once([partial(tenant.detach, "wanted", server)] * 3)
        assert _one_of(outcomes, "DISK_NOT_ATTACHED")
    assert stage.replicas.problems() == []


def _one_of(outcomes: Sequence[Any], reason: str) -> bool:
    """Whether one was made, and each other refused: while that was under way, or after it for the reason."""
    seen = reasons(outcomes)
    return seen[""] == 1 and seen.keys() <= {"", "DISK_STATE_FORBIDS", reason}
