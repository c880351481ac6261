"""RestoreBackup: the bytes come back to the server's disks, after any change of them."""

import pytest

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as pb
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind
from tests.harness.expectations import file_digest, refused, state_of
from tests.harness.project import Tenant

MIB = 1 << 20


@pytest.fixture(scope="module")
def restorable(main: Tenant) -> Tenant:
    """The project with the server `rest` of three disks and its backup `rest`."""
    data = [ecs_pb.DataDiskSpec(image=main.image(f"media-{number}")) for number in (1, 2)]
    main.create_server("rest", data_disks=data)
    main.create_backup("rest", "rest")
    return main


@pytest.mark.rule("R05", "R13")
def test_an_available_backup_is_restored_byte_for_byte(restorable: Tenant) -> None:
    """A restore writes every disk back; the running server is stopped for it and stays so, unless power_on is
    set.
    """
    wanted = [file_digest(restorable.sources / f"{name}.raw") for name in ("sys", "media-1", "media-2")]
    for power_on, after in ((False, "STOPPED"), (True, "RUNNING")):
        for number, disk in enumerate(restorable.get_server("rest").disks):
            restorable.write(disk.disk, offset=number * MIB)
        assert not set(wanted) & set(restorable.digests("rest"))
        answer = restorable.start_restore("rest", power_on=power_on)
        assert state_of(answer.backup) == "RESTORING"
        backup = restorable.result(answer.operation, "csbs", backup_pb2.Backup)
        assert state_of(backup) == "AVAILABLE"
        assert state_of(restorable.get_server("rest")) == after
        assert restorable.digests("rest") == wanted


def test_disks_are_mapped_to_others(restorable: Tenant) -> None:
    """A backup is written to another server, each disk to the one that it is mapped to, larger ones too."""
    data = [ecs_pb.DataDiskSpec(size_bytes=size) for size in (8 * MIB, 6 * MIB)]
    restorable.create_server("other", data_disks=data, leave_stopped=True)
    mappings = [
        pb.RestoreMapping(backup_disk="data-1", disk=restorable.disk("other-data-2")),
        pb.RestoreMapping(backup_disk="data-2", disk=restorable.disk("other-data-1")),
    ]
    restorable.restore("rest", server=restorable.server("other"), mappings=mappings)
    sources = restorable.sources
    assert restorable.digests("other") == [
        file_digest(sources / "sys.raw"),
        file_digest(sources / "media-2.raw", 8 * MIB),
        file_digest(sources / "media-1.raw", 6 * MIB),
    ]


def test_every_problem_of_a_mapping_is_named_at_once(restorable: Tenant) -> None:
    """A restore whose disks do not fit is refused with every problem, each naming its disk, and nothing is
    written.
    """
    data = [ecs_pb.DataDiskSpec(size_bytes=MIB), ecs_pb.DataDiskSpec(size_bytes=8 * MIB, shared=True)]
    restorable.create_server("small", data_disks=data)
    mappings = {
        "system": "small-data-1",
        "data-1": "small-data-1",
        "data-2": "small-data-2",
        "data-9": "small-data-1",
    }
    with refused("RESTORE_TARGET_INVALID", vendor_code="CSBS.6014") as seen:
        restorable.start_restore(
            "rest",
            server=restorable.server("small"),
            mappings=[
                pb.RestoreMapping(backup_disk=disk, disk=restorable.disk(target))
                for disk, target in mappings.items()
            ],
        )
    named = {
        part
        for each in seen[0].violations
        for part in ("no such", "system disk", "another disk", "shared")
        if part in each.description
    }
    assert named == {"no such", "system disk", "another disk", "shared"}
    assert {each.resource for each in seen[0].violations} == {
        restorable.disk(f"small-data-{n}") for n in (1, 2)
    }
    with refused("RESTORE_TARGET_INVALID") as seen:
        restorable.start_restore("rest", server=restorable.server("small"))
    assert [each.resource for each in seen[0].violations] == [
        restorable.disk(f"rest-data-{n}") for n in (1, 2)
    ]
    smaller = [pb.RestoreMapping(backup_disk="data-1", disk=restorable.disk("small-data-1"))]
    with refused("RESTORE_TARGET_INVALID") as seen:
        restorable.start_restore("rest", server=restorable.server("small"), mappings=smaller)
    assert f"it has {MIB} bytes" in seen[0].violations[0].description
    assert state_of(restorable.get_backup("rest")) == "AVAILABLE"


def test_a_restore_after_an_os_change_goes_to_the_new_system_disk(main: Tenant) -> None:
    """The system disk of a backup goes to the server's system disk of today, though that is another disk than
    it was.
    """
    main.import_image("sys-2", "old.raw")
    main.create_server("rest-os", leave_stopped=True)
    main.create_backup("rest-os", "rest-os")
    change = ecs_pb.ChangeServerOsRequest(name=main.server("rest-os"), image=main.image("sys-2"))
    main.wait(main.recast.servers.ChangeServerOs(change).operation, "ecs")
    assert main.digests("rest-os") == [file_digest(main.sources / "old.raw")]
    main.restore("rest-os")
    assert main.digests("rest-os") == [file_digest(main.sources / "sys.raw")]


def test_a_restore_to_a_server_that_is_gone_is_refused(main: Tenant) -> None:
    """A restore to a server that is gone is refused with that reason."""
    main.create_server("rest-gone")
    main.create_backup("rest-gone", "rest-gone")
    main.delete_server("rest-gone")
    with refused(
        "SERVER_NOT_FOUND", Kind.NOT_FOUND, server=main.server("rest-gone"), vendor_code="CSBS.6000"
    ):
        main.start_restore("rest-gone")


def test_a_restore_to_a_server_that_is_being_backed_up_fails_and_leaves_both_as_they_were(
    main: Tenant,
) -> None:
    """A frozen server's disks are not written: the restore fails, and its backup is AVAILABLE as before."""
    main.create_server("rest-frozen")
    main.create_backup("rest-frozen", "rest-frozen")
    before = main.get_server("rest-frozen").disks
    answer = main.start_backup("rest-frozen-2", "rest-frozen")
    main.wait(answer.operation, "csbs")
    main.cloud.execute(
        "ecs",
        "UPDATE server SET frozen_for = 'x', freeze_id = 'x' WHERE name = :name",
        name=main.server("rest-frozen"),
    )
    with refused("SERVER_FROZEN"):
        main.restore("rest-frozen")
    assert state_of(main.get_backup("rest-frozen")) == "AVAILABLE"
    assert list(main.get_server("rest-frozen").disks) == list(before)
    assert state_of(main.get_server("rest-frozen")) == "RUNNING"
