"""What an answer promises holds when it is given: here the work that would make it true has not begun."""

from collections.abc import Callable

import pytest

from recast.csbs.v1 import backup_service_pb2 as csbs_pb
from recast.ecs.v1 import disk_pb2 as disk_message_pb
from recast.ecs.v1 import disk_service_pb2 as disk_pb
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind
from recast.ims.v1 import image_service_pb2 as ims_pb
from tests.harness.expectations import refused
from tests.harness.project import Tenant

pytestmark = [pytest.mark.fault("FAULT-W02"), pytest.mark.fault("FAULT-F08")]


def create_servers(tenant: Tenant, image: str) -> ecs_pb.CreateServersResponse:
    """A batch that is made from the image."""
    return tenant.start_servers(f"of-{image}", image, count=2)


def create_on_data_image(tenant: Tenant, image: str) -> ecs_pb.CreateServersResponse:
    """A server of another image, with a data disk that is made from the image."""
    return tenant.start_servers(
        f"of-{image}", "sys", data_disks=[ecs_pb.DataDiskSpec(image=tenant.image(image))]
    )


def create_disk(tenant: Tenant, image: str) -> disk_pb.CreateDiskResponse:
    """A disk that is made from the image."""
    disk = disk_message_pb.Disk(display_name=image)
    name = tenant.image(image)
    return tenant.recast.disks.CreateDisk(
        disk_pb.CreateDiskRequest(parent=tenant.parent, disk_id=f"of-{image}", disk=disk, image=name)
    )


def change_os(tenant: Tenant, image: str) -> ecs_pb.ChangeServerOsResponse:
    """A change of a server's operating system to the image."""
    tenant.create_server(f"of-{image}", leave_stopped=True)
    request = ecs_pb.ChangeServerOsRequest(name=tenant.server(f"of-{image}"), image=tenant.image(image))
    return tenant.recast.servers.ChangeServerOs(request)


def reinstall_os(tenant: Tenant, image: str) -> ecs_pb.ReinstallServerOsResponse:
    """A reinstallation of a server of the image."""
    tenant.create_server(f"of-{image}", image, leave_stopped=True)
    request = ecs_pb.ReinstallServerOsRequest(name=tenant.server(f"of-{image}"))
    return tenant.recast.servers.ReinstallServerOs(request)


@pytest.mark.parametrize(
    ("verb", "kind", "file", "begin"),
    [
        ("CreateServers", "SYSTEM_DISK", "sys.qcow2", create_servers),
        ("CreateServers", "DATA_DISK", "odd.raw", create_on_data_image),
        ("CreateDisk", "DATA_DISK", "odd.raw", create_disk),
        ("ChangeServerOs", "SYSTEM_DISK", "sys.qcow2", change_os),
        ("ReinstallServerOs", "SYSTEM_DISK", "sys.qcow2", reinstall_os),
    ],
    ids=["servers", "data disk of a server", "disk", "change of OS", "reinstallation"],
)
def test_an_image_cannot_be_deleted_after_the_answer(
    main: Tenant,
    verb: str,
    kind: str,
    file: str,
    begin: Callable[[Tenant, str], ecs_pb.CreateServersResponse],
) -> None:
    """From the answer on the image is in use; the work then takes the same pin, and releases it."""
    image = f"pinned-{begin.__name__.replace('_', '-')}"
    main.import_image(image, file, kind)
    with main.cloud.work_held("ecs", verb):
        answer = begin(main, image)
        with refused("IMAGE_IN_USE"):
            main.delete_image(image)
    assert not main.wait(answer.operation, "ecs").HasField("error")
    main.delete_image(image)


@pytest.mark.rule("R15", "R09")
def test_a_backup_cannot_be_deleted_after_the_answer_of_its_image(main: Tenant) -> None:
    """From the answer on the backup has its image, for people and for another image."""
    main.create_server("locked-at-once")
    main.create_backup("locked-at-once", "locked-at-once")
    with main.cloud.work_held("ims", "CreateImage"):
        answer = main.start_image("locked-at-once", "locked-at-once")
        assert main.get_backup("locked-at-once").image == main.image("locked-at-once")
        with refused("BACKUP_HAS_IMAGE", rule="R15"):
            main.delete_backup("locked-at-once")
        with refused("BACKUP_ALREADY_HAS_IMAGE", Kind.ALREADY_EXISTS, rule="R09"):
            main.start_image("locked-second", "locked-at-once")
    main.wait(answer.operation, "ims")
    main.delete_image("locked-at-once")
    main.delete_backup("locked-at-once")


@pytest.mark.rule("R23")
def test_a_stopped_source_cannot_be_started_after_the_answer(main: Tenant) -> None:
    """From the answer on the server of an unfinished backup is held."""
    main.create_server("held-at-once", leave_stopped=True)
    start = ecs_pb.StartServerRequest(name=main.server("held-at-once"))
    with (
        main.unfinished_backup("held-at-once", "held-at-once") as backup,
        main.cloud.work_held("ims", "CreateImage"),
    ):
        answer = main.start_image("held-at-once", "held-at-once")
        with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
            main.recast.servers.StartServer(start)
        with refused("SERVER_BEING_BACKED_UP"):
            main.start_image("held-second", "x", backup="", server=main.server("held-at-once"))
        main.cancel(answer.operation, "ims")
        main.end(answer.operation, "ims")
    main.wait(backup.operation, "csbs")
    main.recast.servers.StartServer(start)


@pytest.mark.rule("R23")
def test_a_server_cannot_be_started_after_the_answer_of_its_own_image(main: Tenant) -> None:
    """From the answer on the server is held, before its backup has begun."""
    main.create_server("held-itself", leave_stopped=True)
    start = ecs_pb.StartServerRequest(name=main.server("held-itself"))
    with main.cloud.work_held("ims", "CreateImage"):
        answer = main.start_image("held-itself", "x", backup="", server=main.server("held-itself"))
        with refused("SERVER_IN_IMAGE_CREATION", rule="R23"):
            main.recast.servers.StartServer(start)
    main.wait(answer.operation, "ims")
    main.recast.servers.StartServer(start)


def test_a_repeated_request_has_the_promise_of_the_first(main: Tenant) -> None:
    """The replay of an answer reserves again what the first call did not come to reserve."""
    main.create_server("repeated")
    main.create_backup("repeated", "repeated")
    with main.cloud.work_held("ims", "CreateImage"):
        first = main.start_image("repeated", "repeated", request_id="repeated")
        # As after a call that died between its commit and the lock.
        main.cloud.execute(
            "csbs", "DELETE FROM image_lock WHERE backup = :name", name=main.backup("repeated")
        )
        main.cloud.execute(
            "csbs", "UPDATE backup SET image = '' WHERE name = :name", name=main.backup("repeated")
        )
        second = main.start_image("repeated", "repeated", request_id="repeated")
        assert second == first
        with refused("BACKUP_HAS_IMAGE", rule="R15"):
            main.delete_backup("repeated")
    main.wait(first.operation, "ims")
    ended = main.start_image("repeated", "repeated", request_id="repeated")
    assert ended == first


@pytest.mark.rule("R08")
@pytest.mark.fault("FAULT-W08")
def test_a_server_with_a_shared_disk_gets_no_backup_for_an_image(main: Tenant) -> None:
    """An image straight from such a server is refused before anything is made."""
    main.create_server("has-shared", data_disks=[ecs_pb.DataDiskSpec(size_bytes=512, shared=True)])
    with refused("SERVER_HAS_SHARED_DISK", rule="R08", disk=main.disk("has-shared-data-1")):
        main.start_image("of-shared", "x", backup="", server=main.server("has-shared"))
    with refused("SERVER_NOT_FOUND", Kind.NOT_FOUND):
        main.start_image("of-shared", "x", backup="", server=main.server("nowhere"))
    with refused("IMAGE_NOT_FOUND", Kind.NOT_FOUND):
        main.recast.images.GetImage(ims_pb.GetImageRequest(name=main.image("of-shared")))


@pytest.mark.fault("FAULT-W08")
def test_a_backup_that_was_made_for_an_image_goes_with_it(main: Tenant) -> None:
    """When the server is refused by the bytes of the backup, the backup that was made for that goes too."""
    main.import_image("of-old", "old.raw")
    main.create_server("of-old", "of-old")
    answer = main.start_image("of-unprepared", "x", backup="", server=main.server("of-old"))
    main.end(answer.operation, "ims")
    main.wait_until_idle("csbs")
    listed = main.recast.backups.ListBackups(csbs_pb.ListBackupsRequest(parent=main.parent))
    assert main.server("of-old") not in {each.server for each in listed.backups}
