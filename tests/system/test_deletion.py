"""Deleting images and backups: the order, the exceptions, and the space that is
freed (R15, R17, R44, R45).
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from ims.storage import images
from ims.storage.chunks import ImageChunks
from recast.client import Service
from recast.contentstore import CollectChunks
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind, Unavailable
from recast.ims.v1 import image_service_pb2 as ims_pb
from recast.ims.v1 import provisioning_service_pb2 as provisioning_pb
from tests.harness.expectations import file_digest, refused, state_of, until
from tests.harness.project import Tenant


@pytest.fixture(scope="module")
def deleting(main: Tenant) -> Tenant:
    """The project with the server `del`."""
    main.create_server("del")
    return main


@pytest.mark.rule("R15", "R17")
def test_a_backup_goes_after_its_image(deleting: Tenant) -> None:
    """A backup that an image stands on is not deleted; once the image is deleted, it is."""
    deleting.create_backup("del-1", "del")
    deleting.create_image("del-1", "del-1")
    image = deleting.image("del-1")
    with refused("BACKUP_HAS_IMAGE", image=image, rule="R15", vendor_code="CSBS.8007") as seen:
        deleting.delete_backup("del-1")
    assert [each.resource for each in seen[0].violations] == [image]
    deleting.delete_image("del-1")
    deleting.delete_backup("del-1")
    with refused("BACKUP_NOT_FOUND", Kind.NOT_FOUND, backup=deleting.backup("del-1")):
        deleting.get_backup("del-1")


@pytest.mark.rule("R44")
def test_an_image_takes_its_backup_along_when_requested(deleting: Tenant) -> None:
    """With delete_backup both are gone, the image first."""
    deleting.create_backup("del-2", "del")
    deleting.create_image("del-2", "del-2")
    deleting.delete_image("del-2", delete_backup=True)
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        deleting.get_image("del-2")
    with refused("BACKUP_NOT_FOUND", Kind.NOT_FOUND):
        deleting.get_backup("del-2")


@pytest.mark.rule("R44")
def test_when_the_backup_cannot_follow_the_image_is_gone_all_the_same(deleting: Tenant) -> None:
    """When the backup is busy the image is deleted, the backup stays, and the operation reports that."""
    deleting.create_backup("del-3", "del")
    deleting.create_image("del-3", "del-3")
    with deleting.cloud.chunks_held("csbs", "main"):
        restore = deleting.start_restore("del-3")
        with refused(
            "BACKUP_DELETION_FAILED", backup=deleting.backup("del-3"), rule="R44", vendor_code="IMG.0176"
        ):
            deleting.delete_image("del-3", delete_backup=True)
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        deleting.get_image("del-3")
    deleting.wait(restore.operation, "csbs")
    backup = deleting.get_backup("del-3")
    assert (state_of(backup), backup.image) == ("AVAILABLE", "")


@pytest.mark.rule("R45")
def test_a_backup_that_stays_is_free_for_another_image(deleting: Tenant) -> None:
    """Without delete_backup the backup stays AVAILABLE, and another image can be made of it."""
    deleting.create_backup("del-4", "del")
    deleting.create_image("del-4", "del-4")
    deleting.delete_image("del-4")
    backup = deleting.get_backup("del-4")
    assert (state_of(backup), backup.image) == ("AVAILABLE", "")
    assert state_of(deleting.create_image("del-4-again", "del-4")) == "NORMAL"


def test_an_image_without_a_backup_takes_none_along(main: Tenant) -> None:
    """An imported image stands on no backup: a deletion with its backup is refused, and the image stays."""
    with refused("DELETE_BACKUP_UNSUPPORTED", Kind.INVALID_ARGUMENT, image=main.image("sys")):
        main.delete_image("sys", delete_backup=True)
    assert state_of(main.get_image("sys")) == "NORMAL"


def test_an_image_that_servers_are_made_from_is_not_deleted(deleting: Tenant) -> None:
    """While servers are made from an image it is not deleted, and the refusal names
    them; afterwards it is.
    """
    deleting.import_image("pinned", "media-1.raw", kind="DATA_DISK")
    deleting.create_disk("pinned-1", image_id="pinned")
    data = [ecs_pb.DataDiskSpec(image=deleting.image("pinned"))]
    with ExitStack() as held:
        for base in (deleting.cloud.root / "ecs/bases").glob("*.raw"):
            fd = os.open(base, os.O_RDONLY)
            held.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX)  # as an eviction of the base would: the new disk waits for it
        answer = deleting.start_servers("pinned", data_disks=data)
        wanted = {"image": deleting.image("pinned"), "holder": deleting.server("pinned")}
        until(lambda: _is_pinned(deleting, "pinned"), "the pin")
        with refused("IMAGE_IN_USE", **wanted):
            deleting.delete_image("pinned")
    deleting.wait(answer.operation, "ecs")
    deleting.delete_image("pinned")
    assert deleting.digest(deleting.disk("pinned-data-1")) == file_digest(deleting.sources / "media-1.raw")


def test_every_reader_of_an_image_is_named(deleting: Tenant) -> None:
    """An image with several readers names each; a pin taken twice is one, and releasing an unknown pin is no
    error.
    """
    deleting.import_image("read", "odd.raw", kind="DATA_DISK")
    pins = deleting.as_service("ecs").provisioning
    holders = [deleting.server(f"reader-{number}") for number in (1, 2)]
    for number in (0, 1, 1):
        pin = provisioning_pb.PinImageRequest(
            image=deleting.image("read"), pin_id=f"p{number}", holder=holders[number]
        )
        pins.PinImage(pin)
    with refused("IMAGE_IN_USE") as seen:
        deleting.delete_image("read")
    assert [each.resource for each in seen[0].violations] == holders
    for number in (0, 1, 1):
        pins.UnpinImage(provisioning_pb.UnpinImageRequest(image=deleting.image("read"), pin_id=f"p{number}"))
    deleting.delete_image("read")


def test_deleting_a_backup_frees_the_chunks_of_no_other(tenant_of: Callable[[str], Tenant]) -> None:
    """Chunks that only a deleted backup needed are collected; those that another needs stay, and that one is
    whole.
    """
    tenant = tenant_of("collect")
    tenant.import_image("sys", "old.raw")
    server = tenant.create_server("one")
    tenant.create_backup("first", "one")
    base = tenant.cloud.chunks("csbs", "collect")
    tenant.write(server.disks[0].disk, offset=40 << 20, pattern=1)
    tenant.create_backup("second", "one")
    tenant.write(server.disks[0].disk, offset=40 << 20, pattern=2)
    tenant.create_backup("third", "one")
    assert len(tenant.cloud.chunks("csbs", "collect") - base) == 2
    tenant.delete_backup("second")
    tenant.wait_until_idle("csbs")
    assert len(tenant.cloud.chunks("csbs", "collect") - base) == 1
    assert len(tenant.cloud.indexes("csbs", "collect")) == 2
    tenant.restore("third")
    tenant.restore("first")
    assert tenant.digests("one") == [file_digest(tenant.sources / "old.raw")]
    for name in ("first", "third"):
        tenant.delete_backup(name)
    tenant.wait_until_idle("csbs")
    assert tenant.cloud.chunks("csbs", "collect") == set() == tenant.cloud.indexes("csbs", "collect")


def test_deleting_an_imported_image_frees_the_chunks_of_no_other(tenant_of: Callable[[str], Tenant]) -> None:
    """The chunks of a deleted import are collected, but for those that another image has too."""
    tenant = tenant_of("collect-ims")
    tenant.import_image("one", "media-1.raw", kind="DATA_DISK")
    only_one = tenant.cloud.chunks("ims", "collect-ims")
    tenant.import_image("two", "media-2.raw", kind="DATA_DISK")
    tenant.import_image("two-again", "media-2.raw", kind="DATA_DISK")
    both = tenant.cloud.chunks("ims", "collect-ims")
    tenant.delete_image("one")
    tenant.wait_until_idle("ims")
    assert tenant.cloud.chunks("ims", "collect-ims") == both - only_one
    tenant.delete_image("two")
    tenant.wait_until_idle("ims")
    disk = tenant.create_disk("two", image_id="two-again")
    assert tenant.digest(disk.name) == file_digest(tenant.sources / "media-2.raw")
    tenant.delete_image("two-again")
    tenant.wait_until_idle("ims")
    assert tenant.cloud.chunks("ims", "collect-ims") == set() == tenant.cloud.indexes("ims", "collect-ims")


def test_a_failed_backup_leaves_no_index_and_its_chunks_are_collected(
    tenant_of: Callable[[str], Tenant],
) -> None:
    """A backup that was cancelled leaves no index, and once it is deleted no chunk."""
    tenant = tenant_of("collect-failed")
    tenant.import_image("sys", "old.raw")
    tenant.create_server("one")
    with tenant.unfinished_backup("failed", "one") as answer:
        tenant.cancel(answer.operation, "csbs")
        tenant.end(answer.operation, "csbs")
    assert tenant.cloud.indexes("csbs", "collect-failed") == set()
    tenant.delete_backup("failed")
    tenant.wait_until_idle("csbs")
    assert tenant.cloud.chunks("csbs", "collect-failed") == set()


class IdleWork:
    """The operation that a collection of chunks needs; no other work is at the store."""

    def __init__(self, project: str) -> None:
        self.project = self.target = project

    def use(self, resource: str, *, exclusive: bool) -> None:
        """Is given at once."""

    def check(self) -> None:
        """Is not cancelled."""


class DeletesBeforeOpening:
    """A chunk store with a deletion between the query of live contents and the opening of the store."""

    def __init__(self, chunks: Any, delete: Callable[[], object]) -> None:
        self._chunks = chunks
        self._delete = delete

    def open(self, project: str, content: str) -> Any:
        """The partition, later."""
        self._delete()
        return self._chunks.open(project, content)


@pytest.mark.parametrize(
    ("service", "chunks", "live_contents"),
    [("csbs", BackupChunks, backups.live_contents), ("ims", ImageChunks, images.live_contents)],
)
def test_a_deletion_beside_a_collection_is_no_damage(
    service: Service, chunks: Any, live_contents: Any, tenant_of: Callable[[str], Tenant]
) -> None:
    """A deletion while chunks are collected makes the collection start again; other content stays whole."""
    tenant = tenant_of(f"beside-{service}")
    for name in ("stays", "goes"):
        tenant.import_image(name, "sys.qcow2")
        tenant.create_server(name, name)
        tenant.create_backup(name, name)
    root, database = tenant.cloud.root, tenant.cloud.databases[service]
    store = chunks((root / f"{service}-store").as_uri(), (root / f"keys/{service}-store.key").read_bytes())
    delete = {"csbs": tenant.delete_backup, "ims": tenant.delete_image}[service]
    late = DeletesBeforeOpening(store, lambda: delete("goes"))
    with pytest.raises(Unavailable):
        CollectChunks(database, late, live_contents).run(IdleWork(tenant.project))
    CollectChunks(database, store, live_contents).run(IdleWork(tenant.project))
    tenant.wait_until_idle(service)
    tenant.create_image("left", "stays")
    tenant.create_server("left", "left")
    assert tenant.digests("left") == [file_digest(tenant.sources / "sys.raw")]


def test_servers_live_on_without_their_image_and_are_not_reinstalled(deleting: Tenant) -> None:
    """After its image is deleted a server has its disks and starts; it can no longer be reinstalled from it
    (V8).
    """
    deleting.import_image("mortal", "old.raw")
    deleting.create_server("mortal", "mortal", leave_stopped=True)
    deleting.delete_image("mortal")
    request = ecs_pb.ReinstallServerOsRequest(name=deleting.server("mortal"))
    with refused("IMAGE_GONE", server=deleting.server("mortal"), image=deleting.image("mortal")):
        deleting.recast.servers.ReinstallServerOs(request)
    start = ecs_pb.StartServerRequest(name=deleting.server("mortal"))
    deleting.wait(deleting.recast.servers.StartServer(start).operation, "ecs")
    assert deleting.digests("mortal") == [file_digest(deleting.sources / "old.raw")]


def _is_pinned(tenant: Tenant, image_id: str) -> bool:
    """Whether a deletion would be refused now."""
    try:
        request = ims_pb.DeleteImageRequest(name=tenant.image(image_id), validate_only=True)
        tenant.recast.images.DeleteImage(request)
    except Exception:  # noqa: BLE001  # any refusal will do: the test checks it next
        return True
    return False
