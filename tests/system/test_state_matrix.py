"""Every mutating RPC against every state of what it is about: the answer is decided, and stands here.

Each row is driven by writing the state into the database of a prepared resource. Where the RPC has
`validate_only` it is set, so that the answer is all that happens.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.message import Message

from csbs.domain.backup import BackupState
from csbs.domain.image_lock import LockState
from ecs.domain.disk import DiskState
from ecs.domain.server import ServerState
from ims.domain.image import ImageState
from recast.csbs.v1 import backup_service_pb2 as backups
from recast.ecs.v1 import backup_source_service_pb2 as sources
from recast.ecs.v1 import disk_service_pb2 as disks
from recast.ecs.v1 import server_service_pb2 as servers
from recast.faults import RemoteRefusal
from recast.imagelock.v1 import image_lock_service_pb2 as locks
from recast.ims.v1 import image_service_pb2 as images
from tests.harness.project import Tenant
from tests.harness.rpcs import RPCS, requests

# Cells: `ok`, or the reason.
REASONS = {
    "state": "SERVER_STATE_FORBIDS",
    "vm": "SERVER_STATE_FORBIDS_BACKUP",
    "gone": "FREEZE_NOT_FOUND",
    "disk": "DISK_STATE_FORBIDS",
    "wait": "UNAVAILABLE",
    "twice": "DISK_ALREADY_ATTACHED",
    "loose": "DISK_NOT_ATTACHED",
    "used": "DISK_IN_USE",
    "busy": "BACKUP_BUSY",
    "unrest": "BACKUP_NOT_RESTORABLE",
    "unready": "BACKUP_NOT_IMAGE_READY",
    "making": "IMAGE_BUSY",
    "normal": "IMAGE_NOT_NORMAL",
    "stale": "LOCK_TOKEN_STALE",
    "over": "LOCK_RELEASED",
}

SERVER = """
                  CREATING RUNNING STOPPED STARTING STOPPING REBOOTING CHANGING_OS RESTORING DELETING ERROR
UpdateServer      ok       ok      ok      ok       ok       ok        ok          ok        ok       ok
StartServer       state    state   ok      state    state    state     state       state     state    state
StopServer        state    ok      state   state    state    state     state       state     state    state
RebootServer      state    ok      state   state    state    state     state       state     state    state
ChangeServerOs    state    state   ok      state    state    state     state       state     state    state
ReinstallServerOs state    state   ok      state    state    state     state       state     state    state
DeleteServer      state    ok      ok      state    state    state     state       state     state    ok
AttachDisk        state    ok      ok      state    state    state     state       state     state    state
DetachDisk        state    ok      ok      state    state    state     state       state     state    state
CreateBackup      vm       ok      ok      vm       vm       vm        vm          vm        vm       vm
FreezeServer      state    ok      ok      state    state    state     state       state     state    state
RestoreDisks      state    ok      ok      state    state    state     state       state     state    ok
ThawServer        ok       ok      ok      ok       ok       ok        ok          ok        ok       ok
HoldServer        ok       ok      ok      ok       ok       ok        ok          ok        ok       ok
FreeServer        ok       ok      ok      ok       ok       ok        ok          ok        ok       ok
"""

# A restore and a direct image are requests to CSBS and IMS, which leave the server's state to the work.
LEFT_TO_THE_WORK = {"RestoreBackup", "CreateImage"}

DISK = """
           CREATING AVAILABLE IN_USE ATTACHING DETACHING DELETING ERROR
AttachDisk disk     ok        twice  disk      disk      disk     disk
DetachDisk loose    loose     ok     disk      disk      loose    loose
DeleteDisk disk     ok        used   used      used      disk     ok
"""

# A data disk of the server is being attached or detached.
SERVER_WITH_CHANGING_DISK = """
                  ATTACHING DETACHING
UpdateServer      ok        ok
StartServer       disk      disk
StopServer        disk      disk
RebootServer      disk      disk
ChangeServerOs    disk      disk
ReinstallServerOs disk      disk
DeleteServer      disk      disk
AttachDisk        ok        ok
DetachDisk        ok        ok
CreateBackup      ok        ok
FreezeServer      wait      wait
RestoreDisks      disk      disk
ThawServer        ok        ok
HoldServer        ok        ok
FreeServer        ok        ok
"""

BACKUP = """
              CREATING AVAILABLE RESTORING DELETING ERROR
UpdateBackup  ok       ok        ok        ok       ok
DeleteBackup  busy     ok        busy      busy     ok
RestoreBackup unrest   ok        unrest    unrest   unrest
CreateImage   unready  ok        unready   unready  unready
LockBackup    unready  ok        unready   unready  unready
"""

# The same, once "Image can be created" is set.
MARKED_BACKUP = """
              CREATING
DeleteBackup  busy
RestoreBackup unrest
CreateImage   ok
LockBackup    ok
"""

IMAGE = """
               CREATING NORMAL DELETING ERROR
UpdateImage    ok       ok     ok       ok
DeleteImage    making   ok     making   ok
CreateServers  normal   ok     normal   normal
ChangeServerOs normal   ok     normal   normal
ReinstallServerOs normal ok    normal   normal
CreateDisk     normal   ok     normal   normal
PinImage       normal   ok     normal   normal
UnpinImage     ok       ok     ok       ok
GetProvisioningDefaults normal ok normal normal
ResolveImage   normal   ok     normal   normal
"""

# The image is an upload that has not all its bytes.
UPLOADING_IMAGE = """
               CREATING
DeleteImage    ok
CreateDisk     normal
"""

LOCK = """
                 HELD CONFIRMED RELEASED
LockBackup       ok   ok        over
ConfirmLock      ok   ok        stale
ReleaseLock      ok   ok        ok
GetBackupContent ok   ok        stale
"""

# ImportImage is about the bytes that came (test_imports), ExportDisks about a freeze.
ELSEWHERE = {"ImportImage", "ExportDisks"}
READS = {"Check", "Describe", "Get", "List", "Resolve"}


def cells(table: str) -> list[tuple[str, str, str]]:
    """(RPC, state, reason or ok) of each cell of a table."""
    head, *rows = (line.split() for line in table.strip().splitlines())
    return [(row[0], state, cell) for row in rows for state, cell in zip(head, row[1:], strict=True)]


def test_every_mutating_rpc_and_every_state_is_in_the_matrix() -> None:
    """Each RPC that changes something has a row, and each table has every state of its noun."""
    tables = {
        "SERVER": ServerState,
        "DISK": DiskState,
        "BACKUP": BackupState,
        "IMAGE": ImageState,
        "LOCK": LockState,
    }
    for name, states in tables.items():
        assert globals()[name].split("\n")[1].split() == list(states), name
    rows = {rpc for name in tables for rpc, _, _ in cells(globals()[name])}
    mutating = {name for name in RPCS if not name.startswith(tuple(READS))}
    assert rows | ELSEWHERE | LEFT_TO_THE_WORK >= mutating


@contextmanager
def state(tenant: Tenant, noun: str, name: str, wanted: str) -> Iterator[None]:
    """Puts a resource into a state, and back."""
    service = {"server": "ecs", "disk": "ecs", "backup": "csbs", "image": "ims"}[noun]
    collection = {
        "server": tenant.server,
        "disk": tenant.disk,
        "backup": tenant.backup,
        "image": tenant.image,
    }[noun]
    with tenant.cloud.databases[service].read() as session:
        row = f"FROM {noun} WHERE name = '{collection(name)}'"
        before = session.connection().exec_driver_sql(f"SELECT state {row}").scalar_one()
    update = f"UPDATE {noun} SET state = :state WHERE name = :name"
    tenant.cloud.execute(service, update, state=wanted, name=collection(name))
    try:
        yield
    finally:
        tenant.cloud.execute(service, update, state=before, name=collection(name))


def answer(tenant: Tenant, name: str, request: Any) -> str:
    """`ok`, or the reason why not. Where it can, the request only checks."""
    if RPCS[name].has("validate_only"):
        request.validate_only = True
    try:
        RPCS[name].call(RPCS[name].client(tenant), request)
    except RemoteRefusal as refusal:
        return refusal.reason
    return "ok"


def about_idle(tenant: Tenant) -> Mapping[str, Message]:
    """The requests about the server `idle`."""
    idle = tenant.server("idle")
    changes: dict[str, Message] = {
        "UpdateServer": servers.UpdateServerRequest(),
        "StopServer": servers.StopServerRequest(name=idle),
        "RebootServer": servers.RebootServerRequest(name=idle),
        "DeleteServer": servers.DeleteServerRequest(name=idle),
        "AttachDisk": disks.AttachDiskRequest(name=tenant.disk("loose"), server=idle),
        "CreateBackup": backups.CreateBackupRequest(parent=tenant.parent),
    }
    changes["UpdateServer"].server.name = idle
    changes["CreateBackup"].backup.server = idle
    return requests(tenant) | changes


@pytest.mark.parametrize(
    ("name", "wanted", "cell"), [each for each in cells(SERVER) if each[0] != "FreezeServer"]
)
def test_a_server_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """What an RPC about a server answers in each of its states."""
    request: Any = about_idle(stage)[name]
    if name == "DetachDisk":
        request.server, request.name = stage.server("run"), stage.disk("run-data-1")
    if name == "RestoreDisks":
        request.content.disks[0].size_bytes = 512
    with state(stage, "server", "run" if name == "DetachDisk" else "idle", wanted):
        assert answer(stage, name, request) == REASONS.get(cell, cell)


@pytest.mark.parametrize(
    ("name", "wanted", "cell"), [each for each in cells(SERVER) if each[0] == "FreezeServer"]
)
def test_a_freeze_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """A freeze cannot only check, so each is of its own, and thawed."""
    freeze = f"matrix-{wanted.lower().replace('_', '-')}"
    request = sources.FreezeServerRequest(
        server=stage.server("idle"), freeze_id=freeze, backup=stage.backup("x")
    )
    with state(stage, "server", "idle", wanted):
        assert answer(stage, name, request) == REASONS.get(cell, cell)
        thaw = sources.ThawServerRequest(server=stage.server("idle"), freeze_id=freeze)
        stage.end(RPCS["ThawServer"].call(stage.as_service("csbs"), thaw).operation, "ecs")


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(SERVER_WITH_CHANGING_DISK))
def test_a_server_while_a_disk_is_attached_or_detached(
    stage: Tenant, name: str, wanted: str, cell: str
) -> None:
    """What an RPC about a server answers while a data disk of it is being attached or detached."""
    request: Any = about_idle(stage)[name]
    for field, value in (("name", "run"), ("server", "run")):
        if getattr(request, field, None) == stage.server("idle"):
            setattr(request, field, stage.server(value))
    if name == "UpdateServer":
        request.server.name = stage.server("run")
    if name == "CreateBackup":
        request.backup.server = stage.server("run")
    if name == "RestoreDisks":
        request.content.disks[0].size_bytes = 512
        request.mappings[0].disk = stage.disk("run-system")
    fitting = "RUNNING" if name in {"StopServer", "RebootServer", "DetachDisk"} else "STOPPED"
    # DetachDisk is about the only data disk.
    changing = "run-system" if name == "DetachDisk" else "run-data-1"
    with state(stage, "server", "run", fitting), state(stage, "disk", changing, wanted):
        assert answer(stage, name, request) == REASONS.get(cell, cell)


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(DISK))
def test_a_disk_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """What an RPC about a data disk answers in each of its states; in three of them a server has it."""
    disk = "run-data-1" if wanted in {"IN_USE", "ATTACHING", "DETACHING"} else "loose"
    request: Any = requests(stage)[name]
    request.name = stage.disk(disk)
    with state(stage, "disk", disk, wanted):
        assert answer(stage, name, request) == REASONS.get(cell, cell)


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(BACKUP))
@pytest.mark.rule("R02", "R05")
def test_a_backup_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """What an RPC about a backup answers in each of its states, while it is not marked."""
    mark(stage, is_ready=False)
    with state(stage, "backup", "free", wanted):
        assert answer_of_backup(stage, name, f"{name}-{wanted}") == REASONS.get(cell, cell)


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(MARKED_BACKUP))
@pytest.mark.rule("R02", "R04", "R05")
def test_a_marked_backup_while_it_is_creating(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """The mark allows an image, and neither a restore nor a deletion."""
    mark(stage, is_ready=True)
    with state(stage, "backup", "free", wanted):
        assert answer_of_backup(stage, name, f"{name}-marked") == REASONS.get(cell, cell)


def mark(tenant: Tenant, *, is_ready: bool) -> None:
    """Sets or clears the mark of the backup `free`."""
    update = "UPDATE backup SET image_ready = :ready WHERE name = :name"
    tenant.cloud.execute("csbs", update, ready=is_ready, name=tenant.backup("free"))


def answer_of_backup(tenant: Tenant, name: str, request_id: str) -> str:
    """The answer to a request about the backup `free`; a lock that was taken is given back."""
    request: Any = requests(tenant)[name]
    if name == "LockBackup":
        request.request_id = request_id
    seen = answer(tenant, name, request)
    if name == "LockBackup":
        release = locks.ReleaseLockRequest(backup=request.backup, image=request.image, request_id=request_id)
        tenant.as_service("ims").locks.ReleaseLock(release)
    return seen


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(IMAGE))
@pytest.mark.rule("R37")
def test_an_image_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """What an RPC about an image answers in each of its states."""
    image = {"CreateDisk": "logs", "ReinstallServerOs": "ready"}.get(name, "whole")
    with state(stage, "image", image, wanted):
        assert answer(stage, name, requests(stage)[name]) == REASONS.get(cell, cell)


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(UPLOADING_IMAGE))
def test_an_unfinished_upload(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """An upload that has not all its bytes may be deleted, and not used."""
    complete = "UPDATE image SET upload_is_complete = :complete WHERE name = :name"
    stage.cloud.execute("ims", complete, complete=False, name=stage.image("logs"))
    request = (
        images.DeleteImageRequest(name=stage.image("logs"))
        if name == "DeleteImage"
        else requests(stage)[name]
    )
    with state(stage, "image", "logs", wanted):
        assert answer(stage, name, request) == REASONS.get(cell, cell)
    stage.cloud.execute("ims", complete, complete=True, name=stage.image("logs"))


@pytest.mark.parametrize(("name", "wanted", "cell"), cells(LOCK))
@pytest.mark.rule("R10")
def test_a_lock_in_each_state(stage: Tenant, name: str, wanted: str, cell: str) -> None:
    """What an RPC about a lock answers in each of its states."""
    ims, image, key = stage.as_service("ims"), stage.image("matrix"), f"matrix-{name}-{wanted}"
    taken = locks.LockBackupRequest(backup=stage.backup("free"), image=image, request_id=key)
    token = ims.locks.LockBackup(taken).lock.token
    if wanted == "CONFIRMED":
        ims.locks.ConfirmLock(locks.ConfirmLockRequest(backup=taken.backup, image=image, token=token))
    release = locks.ReleaseLockRequest(backup=taken.backup, image=image, token=token)
    if wanted == "RELEASED":
        ims.locks.ReleaseLock(release)
    requests_by_name: dict[str, Message] = {
        "LockBackup": taken,
        "ConfirmLock": locks.ConfirmLockRequest(backup=taken.backup, image=image, token=token),
        "ReleaseLock": release,
        "GetBackupContent": locks.GetBackupContentRequest(backup=taken.backup, image=image, token=token),
    }
    try:
        assert answer(stage, name, requests_by_name[name]) == REASONS.get(cell, cell)
    finally:
        ims.locks.ReleaseLock(release)
