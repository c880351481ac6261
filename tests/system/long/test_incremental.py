"""Incremental backups: the chunks that are read, and that every backup is whole all the same."""

from pathlib import Path

import pytest

from recast.csbs.v1 import backup_pb2
from recast.ecs.v1 import disk_service_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from tests.harness.expectations import file_digest
from tests.harness.project import Tenant

MIB = 1 << 20


def reads(backup: backup_pb2.Backup) -> list[int]:
    """The MiB that were read of each disk."""
    return [disk.read_bytes // MIB for disk in backup.disks]


def made_from(tenant: Tenant, backup_id: str) -> list[str]:
    """The digests of a server that is made from an image of the backup."""
    tenant.create_image(backup_id, backup_id)
    tenant.create_server(f"from-{backup_id}", backup_id)
    return tenant.digests(f"from-{backup_id}")


def test_a_second_backup_reads_the_changes_and_is_whole(main: Tenant) -> None:
    """After a write of two blocks the second backup reads two chunks, and a server of it has every byte."""
    data = [ecs_pb.DataDiskSpec(image=main.image("media-1")), ecs_pb.DataDiskSpec(image=main.image("logs"))]
    server = main.create_server("inc", data_disks=data)
    first = main.create_backup("inc-1", "inc")
    assert not first.incremental
    assert all(reads(first))
    main.write(server.disks[0].disk, offset=40 * MIB + 512)
    main.write(server.disks[1].disk, offset=5 * MIB, length=1536)
    second = main.create_backup("inc-2", "inc")
    assert second.incremental
    assert [disk.read_bytes for disk in second.disks] == [MIB, 1536, 0]
    third = main.create_backup("inc-3", "inc")
    assert reads(third) == [0, 0, 0]
    assert third.stored_bytes == 0
    main.delete_backup("inc-1")
    main.wait_until_idle("csbs")
    assert made_from(main, "inc-2") == made_from(main, "inc-3") == main.digests("inc")
    verify = main.create_backup("inc-4", "inc", full=True)
    assert not verify.incremental
    assert reads(verify) >= reads(first)
    assert verify.stored_bytes == 0


def test_after_a_backup_that_failed_everything_is_read(main: Tenant) -> None:
    """A backup that was cancelled leaves layers that equal no backup, so the next reads all, and is whole."""
    server = main.create_server("inc-failed")
    main.create_backup("inc-failed-1", "inc-failed")
    main.write(server.disks[0].disk, offset=30 * MIB)
    with main.unfinished_backup("inc-failed-2", "inc-failed") as answer:
        main.write(server.disks[0].disk, offset=32 * MIB)
        main.cancel(answer.operation, "csbs")
        main.end(answer.operation, "csbs")
    third = main.create_backup("inc-failed-3", "inc-failed")
    assert not third.incremental
    assert made_from(main, "inc-failed-3") == main.digests("inc-failed")


def test_disks_that_come_back_in_another_order_keep_roles_and_bytes(main: Tenant) -> None:
    """After disks were detached and attached in another order a backup has each in its new place, with its
    own bytes.
    """
    data = [ecs_pb.DataDiskSpec(image=main.image(f"media-{number}")) for number in (1, 2)]
    main.create_server("order", data_disks=data)
    main.create_backup("order-1", "order")
    for number in (1, 2):
        main.detach(f"order-data-{number}", "order")
    for number in (2, 1):
        main.attach(f"order-data-{number}", "order")
    backup = main.create_backup("order-2", "order")
    assert [(disk.id, disk.disk) for disk in backup.disks] == [
        ("system", main.disk("order-system")),
        ("data-1", main.disk("order-data-2")),
        ("data-2", main.disk("order-data-1")),
    ]
    assert reads(backup) == [0, 0, 0]
    wanted = [file_digest(main.sources / name) for name in ("sys.raw", "media-2.raw", "media-1.raw")]
    assert made_from(main, "order-2") == main.digests("order") == wanted


def test_a_disk_that_was_backed_up_with_another_server_meanwhile_is_whole(main: Tenant) -> None:
    """A disk that moved to another server, was written and backed up there, and came back, is backed up
    whole.
    """
    main.create_disk("mover", image_id="media-1")
    for name in ("home", "away"):
        main.create_server(name)
    main.attach("mover", "home")
    main.create_backup("home-1", "home")
    main.detach("mover", "home")
    main.attach("mover", "away")
    main.write(main.disk("mover"), offset=MIB)
    main.create_backup("away-1", "away")
    main.detach("mover", "away")
    main.attach("mover", "home")
    main.write(main.disk("mover"), offset=3 * MIB)
    assert made_from(main, "home-1")[1] == file_digest(main.sources / "media-1.raw")
    main.create_backup("home-2", "home")
    assert made_from(main, "home-2") == main.digests("home")


def test_a_disk_made_anew_under_an_old_name_is_read_whole(main: Tenant) -> None:
    """A disk that has the name of one that was backed up, and another size, is another disk: everything of it
    is read.
    """
    main.create_server("renewed")
    main.create_disk("phoenix", image_id="media-1")
    main.attach("phoenix", "renewed")
    main.create_backup("renewed-1", "renewed")
    main.detach("phoenix", "renewed")
    gone = disk_service_pb2.DeleteDiskRequest(name=main.disk("phoenix"))
    main.wait(main.recast.disks.DeleteDisk(gone).operation, "ecs")
    main.create_disk("phoenix", image_id="logs")
    main.attach("phoenix", "renewed")
    backup = main.create_backup("renewed-2", "renewed")
    assert reads(backup)[1] > 0
    assert made_from(main, "renewed-2")[1] == file_digest(main.sources / "logs.raw")


@pytest.mark.rule("R35")
def test_after_a_restore_or_an_os_change_everything_is_read(main: Tenant, sources: Path) -> None:
    """Disks that a restore or a change of OS replaced are read whole by the next backup; the others are
    not.
    """
    server = main.create_server("replaced", data_disks=[ecs_pb.DataDiskSpec(image=main.image("media-2"))])
    main.create_backup("replaced-1", "replaced")
    main.write(server.disks[1].disk, offset=0)
    main.restore("replaced-1")
    second = main.create_backup("replaced-2", "replaced")
    assert all(reads(second))
    change = ecs_pb.ChangeServerOsRequest(name=server.name, image=main.image("sys"))
    main.wait(main.recast.servers.ChangeServerOs(change).operation, "ecs")
    third = main.create_backup("replaced-3", "replaced")
    assert (reads(third)[0] > 0, reads(third)[1]) == (True, 0)
    wanted = [file_digest(sources / name) for name in ("sys.raw", "media-2.raw")]
    assert made_from(main, "replaced-3") == made_from(main, "replaced-2") == wanted
