"""Servers and disks by themselves: attaching, detaching, deleting, changing the OS."""

import pytest

from recast.ecs.v1 import disk_service_pb2 as disk_pb
from recast.ecs.v1 import server_pb2
from recast.ecs.v1 import server_service_pb2 as pb
from recast.faults import Kind
from tests.harness.expectations import file_digest, refused, state_of
from tests.harness.project import Tenant

MIB = 1 << 20


def delete_disk(tenant: Tenant, disk_id: str) -> None:
    """Deletes a disk."""
    request = disk_pb.DeleteDiskRequest(name=tenant.disk(disk_id))
    tenant.wait(tenant.recast.disks.DeleteDisk(request).operation, "ecs")


def test_a_deleted_server_leaves_its_data_disks(main: Tenant) -> None:
    """A server that is deleted takes its system disk along and leaves its data disks, whole and free to
    attach.
    """
    main.create_server("leaves", data_disks=[pb.DataDiskSpec(image=main.image("media-1"))])
    folders = main.cloud.disk_folders()
    main.delete_server("leaves", delete_data_disks=False)
    assert len(folders - main.cloud.disk_folders()) == 1
    with refused("DISK_NOT_FOUND", Kind.NOT_FOUND):
        main.get_disk("leaves-system")
    disk = main.get_disk("leaves-data-1")
    assert (state_of(disk), list(disk.attachments)) == ("AVAILABLE", [])
    assert main.digest(disk.name) == file_digest(main.sources / "media-1.raw")
    main.create_server("heir")
    assert state_of(main.attach("leaves-data-1", "heir")) == "IN_USE"


def test_a_deleted_server_takes_its_data_disks_along_when_requested_but_for_shared_ones(main: Tenant) -> None:
    """With delete_data_disks every data disk goes too, except one that another server has attached."""
    data = [pb.DataDiskSpec(size_bytes=MIB), pb.DataDiskSpec(size_bytes=MIB, shared=True)]
    main.create_server("takes", data_disks=data)
    main.create_server("sharer")
    main.attach("takes-data-2", "sharer")
    main.delete_server("takes", delete_data_disks=True)
    with refused("DISK_NOT_FOUND", Kind.NOT_FOUND):
        main.get_disk("takes-data-1")
    left = main.get_disk("takes-data-2")
    assert [place.server for place in left.attachments] == [main.server("sharer")]
    assert state_of(left) == "IN_USE"


def test_a_disk_is_attached_in_the_next_free_place(main: Tenant) -> None:
    """A disk is attached in the first place that is free, and named by it."""
    main.create_server("places", data_disks=2 * [pb.DataDiskSpec(size_bytes=MIB)])
    main.create_disk("place", MIB)
    main.detach("places-data-1", "places")
    attached = main.attach("place", "places")
    assert [(place.position, place.device) for place in attached.attachments] == [(1, "vdb")]
    assert [disk.disk for disk in main.get_server("places").disks] == [
        main.disk(name) for name in ("places-system", "place", "places-data-2")
    ]


def test_a_disk_is_attached_once_unless_it_is_shared(main: Tenant) -> None:
    """A disk is attached to one server; a shared one to several, to each once."""
    for name in ("once-a", "once-b"):
        main.create_server(name)
    main.create_disk("once", MIB)
    main.attach("once", "once-a")
    wanted = {"server": main.server("once-a"), "vendor_code": "Ecs.0057"}
    for server in ("once-a", "once-b"):
        with refused("DISK_ALREADY_ATTACHED", **wanted):
            main.attach("once", server)
    main.create_disk("twice", MIB, shared=True)
    main.attach("twice", "once-a")
    assert len(main.attach("twice", "once-b").attachments) == 2
    with refused("DISK_ALREADY_ATTACHED", server=main.server("once-b")):
        main.attach("twice", "once-b")
    assert state_of(main.detach("twice", "once-a")) == "IN_USE"
    assert state_of(main.detach("twice", "once-b")) == "AVAILABLE"


def test_a_disk_is_detached_from_where_it_is(main: Tenant) -> None:
    """A disk that is not attached to the server is not detached from it."""
    main.create_server("apart")
    main.create_disk("apart", MIB)
    with refused(
        "DISK_NOT_ATTACHED", disk=main.disk("apart"), server=main.server("apart"), vendor_code="Ecs.0111"
    ):
        main.detach("apart", "apart")


def test_a_system_disk_comes_and_goes_with_its_server(main: Tenant) -> None:
    """A system disk is not attached, detached or deleted by itself."""
    for name in ("bound", "bound-other"):
        main.create_server(name)
    with refused("SYSTEM_DISK_BOUND", disk=main.disk("bound-system")):
        main.attach("bound-system", "bound-other")
    with refused("SYSTEM_DISK_BOUND"):
        main.detach("bound-system", "bound")
    with refused("SYSTEM_DISK_BOUND"):
        delete_disk(main, "bound-system")


def test_an_attached_disk_is_not_deleted_and_every_server_is_named(main: Tenant) -> None:
    """A disk that is attached is not deleted; each server that has it is named. Detached, it is
    deleted with its files.
    """
    for name in ("user-a", "user-b"):
        main.create_server(name)
    main.create_disk("used", MIB, shared=True)
    for name in ("user-a", "user-b"):
        main.attach("used", name)
    with refused("DISK_IN_USE", disk=main.disk("used")) as seen:
        delete_disk(main, "used")
    assert [each.resource for each in seen[0].violations] == [main.server("user-a"), main.server("user-b")]
    folder = main.path(main.disk("used")).parent
    for name in ("user-a", "user-b"):
        main.detach("used", name)
    assert folder.exists()
    delete_disk(main, "used")
    assert not folder.exists()


@pytest.mark.rule("R35")
def test_an_os_is_changed_of_a_stopped_server_alone(main: Tenant) -> None:
    """The OS of a running server is not changed (V6)."""
    main.create_server("awake")
    request = pb.ChangeServerOsRequest(name=main.server("awake"), image=main.image("sys"))
    with refused(
        "SERVER_STATE_FORBIDS", server=main.server("awake"), state="RUNNING", vendor_code="Ecs.0100"
    ):
        main.recast.servers.ChangeServerOs(request)


@pytest.mark.rule("R35")
@pytest.mark.fault("FAULT-N21")
def test_a_new_system_disk_is_as_large_as_the_larger_and_grows_on_request(main: Tenant) -> None:
    """A changed system disk has the larger of the old size and the image's, or more on request; never less
    (V2, V7). Its id is the server's, and a part of the operation's.
    """
    system = pb.SystemDiskSpec(size_bytes=72 * MIB)
    main.create_server("grown", leave_stopped=True, system_disk=system)
    request = pb.ChangeServerOsRequest(name=main.server("grown"), image=main.image("sys"))
    for requested, wanted in ((0, 72), (80, 80)):
        request.system_disk_bytes = requested * MIB
        before = main.get_server("grown").disks[0].disk
        answer = main.recast.servers.ChangeServerOs(request)
        server = main.result(answer.operation, "ecs", server_pb2.Server)
        assert server.disks[0].size_bytes == wanted * MIB
        changed_by = answer.operation.name.rpartition("/")[2]
        assert server.disks[0].disk == main.disk(f"grown-system-{changed_by[:8]}")
        assert main.digests("grown") == [file_digest(main.sources / "sys.raw", wanted * MIB)]
        with refused("DISK_NOT_FOUND", Kind.NOT_FOUND):
            main.get_disk(before.rpartition("/")[2])
    request.system_disk_bytes = 32 * MIB
    with refused("SIZE_BELOW_IMAGE", Kind.INVALID_ARGUMENT) as seen:
        main.recast.servers.ChangeServerOs(request)
    assert [each.field for each in seen[0].fields] == ["system_disk_bytes"]


def test_a_reinstallation_brings_the_image_back_and_starts_the_server_on_request(main: Tenant) -> None:
    """A reinstalled server has its image's system disk again; with power_on it runs."""
    server = main.create_server(
        "again", leave_stopped=True, data_disks=[pb.DataDiskSpec(image=main.image("logs"))]
    )
    for disk in server.disks:
        main.write(disk.disk, offset=MIB)
    data = main.digests("again")[1]
    request = pb.ReinstallServerOsRequest(name=server.name, power_on=True)
    after = main.result(main.recast.servers.ReinstallServerOs(request).operation, "ecs", server_pb2.Server)
    assert state_of(after) == "RUNNING"
    assert main.digests("again") == [file_digest(main.sources / "sys.raw"), data]


def test_power_goes_up_and_down_and_round(main: Tenant) -> None:
    """A server is stopped, started and rebooted, by way of the states between."""
    main.create_server("power")
    name = main.server("power")
    servers = main.recast.servers
    steps = [
        (servers.StopServer, pb.StopServerRequest(name=name), "STOPPING", "STOPPED"),
        (servers.StartServer, pb.StartServerRequest(name=name), "STARTING", "RUNNING"),
        (servers.RebootServer, pb.RebootServerRequest(name=name), "REBOOTING", "RUNNING"),
    ]
    for call, request, between, after in steps:
        answer = call(request)
        assert state_of(answer.server) == between
        assert state_of(main.result(answer.operation, "ecs", server_pb2.Server)) == after


def test_an_id_is_used_once(main: Tenant) -> None:
    """A disk's id that is taken is refused; a server whose disks' ids are taken gets others for them."""
    main.create_disk("taken-system", MIB)
    with refused("DISK_ID_TAKEN", Kind.ALREADY_EXISTS, disk=main.disk("taken-system")):
        main.create_disk("taken-system", MIB)
    assert main.create_server("taken").disks[0].disk != main.disk("taken-system")
    long = "l" * 63
    assert state_of(main.create_server(long)) == "RUNNING"
