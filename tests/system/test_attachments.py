"""AttachDisk and DetachDisk: the promise of the answer, refusals while the work lasts, the end."""

from contextlib import suppress

import pytest

from recast.ecs.v1 import disk_service_pb2 as pb
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind, RemoteRefusal
from recast.longrunning.v1 import operation_metadata_pb2
from tests.harness.expectations import refused, state_of, until
from tests.harness.project import Tenant

MIB = 1 << 20


def test_an_attachment_takes_its_place_by_the_answer(main: Tenant) -> None:
    """The answer names the place, which no other disk gets while the work is not done; then the disk is
    IN_USE, and the work's result is the disk.
    """
    main.create_server("promised")
    for name in ("promised-a", "promised-b"):
        main.create_disk(name, MIB)
    with main.cloud.work_held("ecs", "AttachDisk"):
        answers = [main.start_attachment(name, "promised") for name in ("promised-a", "promised-b")]
        assert [state_of(answer.disk) for answer in answers] == 2 * ["ATTACHING"]
        assert [answer.disk.attachments[0].device for answer in answers] == ["vdb", "vdc"]
        assert main.get_disk("promised-a").attachments == answers[0].disk.attachments
        metadata = main.metadata(answers[0].operation, "ecs")
        assert (metadata.verb, metadata.target) == ("AttachDisk", main.disk("promised-a"))
    for answer in answers:
        main.wait(answer.operation, "ecs")
        disk = main.get_disk(answer.disk.name.rpartition("/")[2])
        assert (state_of(disk), disk.attachments) == ("IN_USE", answer.disk.attachments)


def test_a_disk_and_its_server_are_left_alone_while_it_is_attached(main: Tenant) -> None:
    """While a disk is being attached it is neither attached, detached nor deleted, and its server is not
    stopped, restarted or deleted; the disk is named as what is in the way.
    """
    for name in ("occupied", "occupied-other"):
        main.create_server(name)
    main.create_disk("occupied-disk", MIB)
    disk, server = main.disk("occupied-disk"), main.server("occupied")
    with main.cloud.work_held("ecs", "AttachDisk"):
        answer = main.start_attachment("occupied-disk", "occupied")
        for call in (
            lambda: main.start_attachment("occupied-disk", "occupied"),
            lambda: main.start_attachment("occupied-disk", "occupied-other"),
            lambda: main.start_detachment("occupied-disk", "occupied"),
            lambda: main.stop_server("occupied"),
            lambda: main.recast.servers.RebootServer(ecs_pb.RebootServerRequest(name=server)),
            lambda: main.delete_server("occupied"),
        ):
            with refused("DISK_STATE_FORBIDS", disk=disk, state="ATTACHING", vendor_code="Ecs.0101"):
                call()
        with refused("DISK_IN_USE", disk=disk, server=server):
            main.recast.disks.DeleteDisk(pb.DeleteDiskRequest(name=disk))
        main.stop_server("occupied-other")
    main.wait(answer.operation, "ecs")
    main.stop_server("occupied")


def test_a_disk_keeps_its_place_until_it_is_detached(main: Tenant) -> None:
    """While a disk is being detached its place is not free; afterwards the next disk gets it."""
    main.create_server("leaving", data_disks=[ecs_pb.DataDiskSpec(size_bytes=MIB)])
    for name in ("leaving-a", "leaving-b"):
        main.create_disk(name, MIB)
    with main.cloud.work_held("ecs", "DetachDisk"):
        answer = main.start_detachment("leaving-data-1", "leaving")
        assert state_of(answer.disk) == "DETACHING"
        assert [place.position for place in answer.disk.attachments] == [1]
        assert [place.position for place in main.attach("leaving-a", "leaving").attachments] == [2]
        with refused("DISK_STATE_FORBIDS", disk=main.disk("leaving-data-1"), state="DETACHING"):
            main.start_detachment("leaving-data-1", "leaving")
    main.wait(answer.operation, "ecs")
    assert state_of(main.get_disk("leaving-data-1")) == "AVAILABLE"
    assert [place.position for place in main.attach("leaving-b", "leaving").attachments] == [1]


@pytest.mark.rule("R13")
def test_a_backup_waits_until_a_disk_is_attached(main: Tenant) -> None:
    """A backup that meets a disk that is being attached is tried again, and has that disk."""
    main.create_server("joining", data_disks=[ecs_pb.DataDiskSpec(size_bytes=MIB)])
    main.create_disk("joining-new", MIB)
    with main.cloud.work_held("ecs", "AttachDisk"):
        answer = main.start_attachment("joining-new", "joining").operation
        backup = main.start_backup("joining", "joining")
        until(lambda: main.metadata(backup.operation, "csbs").retries, "a retry")
        assert main.get_server("joining").frozen_for == ""
    main.wait(answer, "ecs")
    main.wait(backup.operation, "csbs")
    assert len(main.get_backup("joining").disks) == len(backup.backup.disks) == 3


@pytest.mark.rule("R13")
@pytest.mark.fault("FAULT-F08")
def test_a_backup_fails_when_a_disk_is_detached_before_its_freeze(main: Tenant) -> None:
    """A backup has the disks that its answer named, or fails, names the disk and frees the server."""
    main.create_server("parting", data_disks=[ecs_pb.DataDiskSpec(size_bytes=MIB)])
    with main.cloud.work_held("ecs", "DetachDisk"):
        answer = main.start_detachment("parting-data-1", "parting").operation
        backup = main.start_backup("parting", "parting")
        assert len(backup.backup.disks) == 2
        until(lambda: main.metadata(backup.operation, "csbs").retries, "a retry")
    main.wait(answer, "ecs")
    changed = main.disk("parting-data-1")
    with refused("SERVER_DISKS_CHANGED", Kind.ABORTED, disk=changed, server=main.server("parting")):
        main.wait(backup.operation, "csbs")
    failed = main.get_backup("parting")
    assert (state_of(failed), failed.image_ready) == ("ERROR", False)
    assert main.get_server("parting").frozen_for == ""
    assert len(main.create_backup("parting-again", "parting").disks) == 1


@pytest.mark.fault("FAULT-F08")
def test_a_disk_attached_after_the_answer_is_no_disk_of_the_backup(main: Tenant) -> None:
    """A disk that was attached between the answer of a backup and its freeze fails the backup as well."""
    main.create_server("adding")
    main.create_disk("adding-new", MIB)
    with main.cloud.work_held("csbs", "CreateBackup"):
        backup = main.start_backup("adding", "adding")
        main.attach("adding-new", "adding")
    with refused("SERVER_DISKS_CHANGED", Kind.ABORTED, disk=main.disk("adding-new")):
        main.wait(backup.operation, "csbs")


@pytest.mark.fault("FAULT-F08")
def test_a_disk_detached_at_once_is_in_the_backup_or_fails_it(main: Tenant) -> None:
    """A detachment right after the answer of a backup is refused, or fails the backup: no disk is omitted."""
    for number in range(5):
        name = f"hurried-{number}"
        main.create_server(name, data_disks=[ecs_pb.DataDiskSpec(size_bytes=MIB)])
        answer = main.start_backup(name, name)
        with suppress(RemoteRefusal):
            main.detach(f"{name}-data-1", name)
        with suppress(RemoteRefusal):
            main.wait(answer.operation, "csbs")
        made = main.get_backup(name)
        assert (state_of(made), len(made.disks)) in {("AVAILABLE", 2), ("ERROR", 2)}


def test_a_disk_without_files_is_not_attached(main: Tenant) -> None:
    """When the disk's files are not there the work fails, the place is free, and the disk is as before."""
    main.create_server("hollow")
    main.create_disk("hollow", MIB)
    folder = main.path(main.disk("hollow")).parent
    folder.rename(folder.with_name("hollow.aside"))
    try:
        answer = main.start_attachment("hollow", "hollow")
        with refused("DISK_IO_FAILED", Kind.ABORTED):
            main.wait(answer.operation, "ecs")
    finally:
        folder.with_name("hollow.aside").rename(folder)
    disk = main.get_disk("hollow")
    assert (state_of(disk), list(disk.attachments)) == ("AVAILABLE", [])
    assert state_of(main.attach("hollow", "hollow")) == "IN_USE"


def test_a_cancel_of_an_attachment_gives_the_place_back(main: Tenant) -> None:
    """An attachment that is cancelled in time ends CANCELLED; a shared disk is still in use elsewhere."""
    for name in ("regret-a", "regret-b"):
        main.create_server(name)
    main.create_disk("regret", MIB, shared=True)
    main.attach("regret", "regret-a")
    with main.cloud.work_held("ecs", "AttachDisk"):
        answer = main.start_attachment("regret", "regret-b")
        main.cancel(answer.operation, "ecs")
        metadata = main.end(answer.operation, "ecs")
    assert metadata.state == operation_metadata_pb2.OPERATION_STATE_CANCELLED
    disk = main.get_disk("regret")
    assert state_of(disk) == "IN_USE"
    assert [place.server for place in disk.attachments] == [main.server("regret-a")]
