"""A server of nine disks of one size, which differ only in content and position."""

from collections.abc import Callable, Sequence

import pytest

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as ims_pb
from tests.harness import disks  # found by conftest: the demo's programs are no package
from tests.harness.project import Tenant

MIB = 1 << 20
SIZE = 5 * MIB + 3 * 512  # whole sectors, and neither whole chunks of 1 MiB nor whole clusters of 64 KiB
ROLES = [content_pb2.DISK_ROLE_SYSTEM] + 8 * [content_pb2.DISK_ROLE_DATA]
IDS = ["system", *(f"data-{position}" for position in range(1, 9))]


@pytest.fixture(scope="module")
def crowd(tenant_of: Callable[[str], Tenant], tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    """A project with a system image as small as the data disks are."""
    tenant = tenant_of("crowd")
    path = tmp_path_factory.mktemp("crowd") / "small.raw"
    disks.make_system_disk(path, SIZE, 0)
    answer = tenant.recast.import_image(path, tenant.header("small", path))
    tenant.result(answer.operation, "ims", image_pb2.Image)
    return tenant


def make_server(tenant: Tenant, server_id: str) -> tuple[list[str], list[str]]:
    """Makes a server of 1 + 8 sparse disks, each with bytes of its own: its disks and their digests, in
    order.
    """
    data = 8 * [ecs_pb.DataDiskSpec(size_bytes=SIZE)]
    server = tenant.create_server(server_id, "small", data_disks=data, leave_stopped=True)
    names = [disk.disk for disk in server.disks]
    for number, name in enumerate(names):
        scribble(tenant, name, number)
    digests = tenant.digests(server_id)
    assert len(set(digests)) == 9
    return names, digests


def scribble(tenant: Tenant, disk: str, number: int) -> None:
    """Writes some sectors into the middle of a disk and the last one, which no other number writes so."""
    tenant.write(disk, 2 * MIB + number * 70_144, 512 * (number + 1), 0x10 + number)
    tenant.write(disk, SIZE - 512, 512, 0x40 + number)


def shapes(
    listed: Sequence[backup_pb2.BackupDisk | image_pb2.DefaultDisk],
) -> list[tuple[str, int, int, int]]:
    """The id, role, position and size of each disk of a backup or an image."""
    return [(disk.id, disk.role, disk.position, disk.size_bytes) for disk in listed]


WANTED_SHAPES = [(name, ROLES[place], place, SIZE) for place, name in enumerate(IDS)]


def provision(tenant: Tenant, backup_id: str) -> list[str]:
    """The digests of a server that is made of an image of the backup; all nine disks retain their
    role, position and size.
    """
    tenant.create_image(backup_id, backup_id)
    request = ims_pb.GetProvisioningDefaultsRequest(name=tenant.image(backup_id))
    assert shapes(tenant.recast.images.GetProvisioningDefaults(request).disks) == WANTED_SHAPES
    server = tenant.create_server(f"of-{backup_id}", backup_id)
    seen = [(disk.role, disk.position, disk.size_bytes) for disk in server.disks]
    assert seen == [shape[1:] for shape in WANTED_SHAPES]
    return tenant.digests(f"of-{backup_id}")


@pytest.mark.rule("R12", "R39")
def test_nine_disks_of_one_size_come_through_backup_image_and_provisioning(crowd: Tenant) -> None:
    """A new server has every disk of its source in its place, byte for byte."""
    _, wanted = make_server(crowd, "nine")
    backup = crowd.create_backup("nine", "nine")
    assert shapes(backup.disks) == WANTED_SHAPES
    assert provision(crowd, "nine") == wanted


@pytest.mark.rule("R12", "R13")
def test_nine_disks_are_restored_each_to_its_own_whatever_their_order(crowd: Tenant) -> None:
    """After disks were written, detached and attached in another order, a restore gives each its own bytes
    back, in its new place; and a backup of the new order is provisioned in that order.
    """
    names, wanted = make_server(crowd, "turned")
    crowd.create_backup("turned-1", "turned")
    for number, name in enumerate(names):
        scribble(crowd, name, number + 20)
    ids = [name.rpartition("/")[2] for name in names]
    for moved in (ids[3], ids[6]):
        crowd.detach(moved, "turned")
    for moved in (ids[6], ids[3]):
        crowd.attach(moved, "turned")
    turned = [0, 1, 2, 6, 4, 5, 3, 7, 8]
    placed = [(names[number], ROLES[place], place) for place, number in enumerate(turned)]
    crowd.restore("turned-1")
    server = crowd.get_server("turned")
    assert [(disk.disk, disk.role, disk.position) for disk in server.disks] == placed
    assert crowd.digests("turned") == [wanted[number] for number in turned]
    backup = crowd.create_backup("turned-2", "turned")
    assert shapes(backup.disks) == WANTED_SHAPES
    assert [disk.disk for disk in backup.disks] == [names[number] for number in turned]
    assert provision(crowd, "turned-2") == [wanted[number] for number in turned]


def test_an_incremental_backup_follows_each_disk_to_its_new_place(crowd: Tenant) -> None:
    """Of disks that changed places the next backup reads the writes to each, and
    nothing else; it is whole.
    """
    names, _ = make_server(crowd, "moved")
    crowd.create_backup("moved-1", "moved")
    ids = [name.rpartition("/")[2] for name in names]
    for moved in (ids[2], ids[7]):
        crowd.detach(moved, "moved")
    for moved in (ids[7], ids[2]):
        crowd.attach(moved, "moved")
    for number in (7, 5):
        crowd.write(names[number], SIZE - 512, 512, 0x70 + number)
    backup = crowd.create_backup("moved-2", "moved")
    assert backup.incremental
    read = {disk.disk: disk.read_bytes for disk in backup.disks}
    assert {name for name, count in read.items() if count} == {names[7], names[5]}
    assert max(read.values()) <= MIB
    assert provision(crowd, "moved-2") == crowd.digests("moved")
