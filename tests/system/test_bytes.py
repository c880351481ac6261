"""Bytes come back whole, on every disk."""

from pathlib import Path

import pytest

from recast.content.v1 import content_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from tests.harness.expectations import file_digest, state_of
from tests.harness.project import Tenant


@pytest.fixture(scope="module")
def whole(main: Tenant) -> Tenant:
    """The project with a server `source` of four disks, its backup `source`, and its image `whole`."""
    data = [ecs_pb.DataDiskSpec(image=main.image(name)) for name in ("media-1", "media-2", "logs")]
    main.create_server("source", data_disks=data)
    main.create_backup("source", "source")
    main.create_image("whole", "source")
    return main


@pytest.fixture(scope="module")
def originals(sources: Path) -> list[str]:
    """The digests of the files that the server's disks were made from."""
    return [file_digest(sources / name) for name in ("sys.raw", "media-1.raw", "media-2.raw", "logs.raw")]


@pytest.mark.rule("R01", "R12")
def test_a_server_from_a_full_server_image_has_every_byte_of_every_disk(
    whole: Tenant, originals: list[str]
) -> None:
    """A server made from the image of a backup has the source's disks, each in its place and bit for bit."""
    made = whole.create_server("bytes-all", "whole")
    assert whole.digests("bytes-all") == originals
    assert [disk.role for disk in made.disks] == [content_pb2.DISK_ROLE_SYSTEM] + 3 * [
        content_pb2.DISK_ROLE_DATA
    ]
    assert [disk.position for disk in made.disks] == [0, 1, 2, 3]
    assert [disk.device for disk in made.disks] == ["vda", "vdb", "vdc", "vdd"]
    assert state_of(made) == "RUNNING"


@pytest.mark.rule("R13")
def test_writes_after_the_backup_do_not_appear_in_servers_made_from_it(main: Tenant, sources: Path) -> None:
    """Writes to the source after its backup appear neither in the image nor in servers made from it."""
    server = main.create_server("source-then", data_disks=[ecs_pb.DataDiskSpec(image=main.image("media-1"))])
    main.create_backup("then", "source-then")
    for disk in server.disks:
        main.write(disk.disk, offset=3 << 20)
    main.create_image("then", "then")
    main.start_servers("then", "then", count=2)
    operation = main.start_servers("then-more", "then").operation
    main.wait(operation, "ecs")
    wanted = [file_digest(sources / name) for name in ("sys.raw", "media-1.raw")]
    assert main.digests("source-then") != wanted
    assert main.digests("then-0000") == main.digests("then-0001") == main.digests("then-more") == wanted


@pytest.mark.rule("R13")
def test_writes_while_the_backup_is_made_do_not_appear_in_it(main: Tenant, sources: Path) -> None:
    """Writes of the server after the freeze are not in the backup, though its bytes are read later."""
    server = main.create_server("source-mid")
    with main.unfinished_backup("mid", "source-mid") as answer:
        main.write(server.disks[0].disk, offset=3 << 20)
    main.wait(answer.operation, "csbs")
    main.create_image("mid", "mid")
    main.create_server("mid", "mid")
    assert main.digests("mid") == [file_digest(sources / "sys.raw")]
    assert main.digests("source-mid") != main.digests("mid")


def test_writes_on_one_server_of_an_image_do_not_appear_on_another(
    whole: Tenant, originals: list[str]
) -> None:
    """Servers of one image share its bytes, and none sees another's writes."""
    writer = whole.create_server("bytes-writer", "whole")
    for disk in writer.disks:
        whole.write(disk.disk, offset=1 << 20)
    whole.create_server("bytes-reader", "whole")
    assert whole.digests("bytes-reader") == originals
    assert not set(whole.digests("bytes-writer")) & set(originals)


@pytest.mark.rule("R35", "R36")
def test_an_os_change_writes_the_system_disk_alone(whole: Tenant, originals: list[str]) -> None:
    """After a change of OS to a full-server image the system disk is the image's, and every data disk is
    unchanged.
    """
    before = whole.create_server(
        "bytes-os", "sys", data_disks=[ecs_pb.DataDiskSpec(image=whole.image("media-2"))]
    )
    for disk in before.disks:
        whole.write(disk.disk, offset=2 << 20)
    data_before = whole.digests("bytes-os")[1:]
    whole.stop_server("bytes-os")
    request = ecs_pb.ChangeServerOsRequest(name=before.name, image=whole.image("whole"))
    whole.wait(whole.recast.servers.ChangeServerOs(request).operation, "ecs")
    after = whole.get_server("bytes-os")
    assert whole.digests("bytes-os") == [originals[0], *data_before]
    assert list(after.disks)[1:] == list(before.disks)[1:]
    assert after.disks[0].disk != before.disks[0].disk
    assert after.image == whole.image("whole")
    assert state_of(after) == "STOPPED"


@pytest.mark.rule("R64")
def test_an_image_is_used_after_its_source_server_is_gone(main: Tenant, sources: Path) -> None:
    """An image serves when the server that was backed up does not exist any more."""
    main.create_server("source-gone", data_disks=[ecs_pb.DataDiskSpec(image=main.image("logs"))])
    main.create_backup("gone", "source-gone")
    main.delete_server("source-gone")
    main.create_image("gone", "gone")
    main.create_server("gone", "gone")
    assert main.digests("gone") == [file_digest(sources / name) for name in ("sys.raw", "logs.raw")]


def test_a_larger_disk_holds_the_image_and_then_zeros(whole: Tenant, sources: Path) -> None:
    """A disk requested larger than the image's begins with the image's bytes and goes on with zeros (V2)."""
    size = (7 << 20) + 512
    data = [
        ecs_pb.DataDiskSpec(image_disk="data-2", size_bytes=size),
        ecs_pb.DataDiskSpec(size_bytes=1 << 20),
    ]
    made = whole.create_server("bytes-larger", "whole", data_disks=data)
    assert [disk.size_bytes for disk in made.disks][2:] == [size, 16 << 20, 1 << 20]
    assert whole.digest(made.disks[2].disk) == file_digest(sources / "media-2.raw", size)
    assert whole.digest(made.disks[4].disk) == file_digest(Path("/dev/null"), 1 << 20)


@pytest.mark.rule("R50")
def test_a_disk_from_a_data_image_has_its_bytes(main: Tenant, sources: Path) -> None:
    """A disk made from a data-disk image has the image's bytes."""
    disk = main.create_disk("bytes-disk", image_id="logs")
    assert main.digest(disk.name) == file_digest(sources / "logs.raw")
    assert (disk.source_image, disk.source_image_disk) == (main.image("logs"), "data-1")


@pytest.mark.rule("R47")
def test_an_imported_file_of_odd_length_is_continued_to_a_whole_sector(main: Tenant, sources: Path) -> None:
    """A raw file that is no whole number of sectors becomes a disk that ends with zeros."""
    main.import_image("odd", "odd.raw", kind="DATA_DISK")
    disk = main.create_disk("odd", image_id="odd")
    assert disk.size_bytes == 1024
    assert main.digest(disk.name) == file_digest(sources / "odd.raw", 1024)
