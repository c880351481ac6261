"""CreateServers: one request, many servers; each whole or not there at all (R14)."""

from collections.abc import Callable

import pytest

from recast.client.waiting import metadata_of
from recast.ecs.v1 import server_service_pb2 as ecs_pb
from recast.faults import Kind
from recast.longrunning.v1.operation_metadata_pb2 import OperationState
from tests.harness.expectations import file_digest, refused, state_of
from tests.harness.project import Tenant

MIB = 1 << 20
BAD = Kind.INVALID_ARGUMENT


@pytest.mark.rule("R14")
def test_a_batch_makes_servers_with_numbered_names(main: Tenant, sources: object) -> None:
    """Three servers of one request have ids and names with -0000 on, equal disks, and an outcome each."""
    answer = main.start_servers("batch", count=3, display_name="web.front", leave_stopped=True)
    names = [main.server(f"batch-000{number}") for number in range(3)]
    assert [server.name for server in answer.servers] == names
    assert [state_of(server) for server in answer.servers] == 3 * ["CREATING"]
    result = main.result(answer.operation, "ecs", ecs_pb.CreateServersResult)
    assert [(outcome.server, outcome.HasField("error")) for outcome in result.outcomes] == [
        (n, False) for n in names
    ]
    ids = [f"{answer.operation.name.rpartition('/')[2]}-000{number}" for number in range(3)]
    assert [outcome.id for outcome in result.outcomes] == ids
    made = [main.get_server(f"batch-000{number}") for number in range(3)]
    assert [server.display_name for server in made] == [f"web.front-000{number}" for number in range(3)]
    assert [state_of(server) for server in made] == 3 * ["STOPPED"]
    assert len({disk.disk for server in made for disk in server.disks}) == 3


@pytest.mark.rule("R14")
def test_a_name_that_ends_in_a_number_is_counted_on(main: Tenant) -> None:
    """A batch whose base ends in -0007 goes on from there; one server alone has its plain name."""
    answer = main.start_servers("counted-0007", count=2)
    assert [server.name for server in answer.servers] == [main.server(f"counted-000{n}") for n in (7, 8)]
    main.wait(answer.operation, "ecs")
    assert main.create_server("counted-0042", count=1).display_name == "counted-0042"


@pytest.mark.parametrize(
    ("server_id", "display_name", "count", "field"),
    [
        ("a" * 60, "x", 2, "server_id"),
        ("x", "n" * 60, 2, "server.display_name"),
        ("x-9999", "x", 2, "server_id"),
        ("x", "x-9950", 51, "server.display_name"),
    ],
)
def test_a_base_that_leaves_no_room_for_numbers_is_refused(
    main: Tenant, server_id: str, display_name: str, count: int, field: str
) -> None:
    """A batch whose names would be too long, or count past 9999, is refused and the field named."""
    with refused("SERVER_NAME_INVALID", BAD, vendor_code="Ecs.0914") as seen:
        main.start_servers(server_id, display_name=display_name, count=count)
    assert [each.field for each in seen[0].fields] == [field]


def test_at_most_a_hundred_servers_a_request(main: Tenant) -> None:
    """A request for 101 servers is refused."""
    with refused("COUNT_EXCEEDED", BAD, count="101", limit="100", vendor_code="Ecs.0913"):
        main.start_servers("many", count=101)
    with refused("REQUEST_INVALID", BAD) as seen:
        main.start_servers("many", count=-1)
    assert [each.field for each in seen[0].fields] == ["count"]


def test_a_batch_with_one_id_that_is_taken_makes_none(main: Tenant) -> None:
    """When one id of a batch is taken, nothing is made."""
    main.create_server("clash-0001")
    with refused("SERVER_ID_TAKEN", Kind.ALREADY_EXISTS, server=main.server("clash-0001")):
        main.start_servers("clash", count=3)
    with refused("SERVER_NOT_FOUND", Kind.NOT_FOUND):
        main.get_server("clash-0000")


@pytest.mark.rule("R14")
@pytest.mark.parametrize("count", [1, 2])
def test_a_part_is_known_from_the_first_answer(main: Tenant, count: int) -> None:
    """The answer's operation names a part for each server, one alone too; what has one server made is no
    batch, and has none.
    """
    answer = main.start_servers(f"parts-{count}", count=count)
    parts = metadata_of(answer.operation).parts
    operation = answer.operation.name.rpartition("/")[2]
    assert [part.id for part in parts] == [f"{operation}-000{number}" for number in range(count)]
    assert [part.target for part in parts] == [server.name for server in answer.servers]
    main.wait(answer.operation, "ecs")
    assert [part.id for part in main.metadata(answer.operation, "ecs").parts] == [part.id for part in parts]
    stop = ecs_pb.StopServerRequest(name=answer.servers[0].name)
    assert not metadata_of(main.recast.servers.StopServer(stop).operation).parts


@pytest.mark.rule("R14")
def test_one_servers_failure_is_its_own(main: Tenant) -> None:
    """When the disks of one server of a batch cannot be made, that one is reported and leaves nothing; the
    others are there.
    """
    folders = main.cloud.disk_folders()
    # The host refuses an overlay smaller than its base. No request can lead to one: the database does.
    spoil = "UPDATE disk SET size_bytes = 512 WHERE name = NEW.name"
    when = f"AFTER INSERT ON disk WHEN NEW.name = '{main.disk('part-0001-system')}'"
    with main.cloud.trigger("ecs", when, spoil):
        answer = main.start_servers("part", count=3)
    result = main.result(answer.operation, "ecs", ecs_pb.CreateServersResult)
    assert [outcome.HasField("error") for outcome in result.outcomes] == [False, True, False]
    parts = main.metadata(answer.operation, "ecs").parts
    assert [(part.id, part.target) for part in parts] == [(each.id, each.server) for each in result.outcomes]
    assert [OperationState.Name(part.state) for part in parts] == [
        f"OPERATION_STATE_{state}" for state in ("SUCCEEDED", "FAILED", "SUCCEEDED")
    ]
    assert parts[1].error == result.outcomes[1].error
    assert "base" in result.outcomes[1].error.message
    for number in (0, 2):
        assert state_of(main.get_server(f"part-000{number}")) == "RUNNING"
        assert main.digests(f"part-000{number}") == [file_digest(main.sources / "sys.raw")]
    with refused("SERVER_NOT_FOUND", Kind.NOT_FOUND):
        main.get_server("part-0001")
    with refused("DISK_NOT_FOUND", Kind.NOT_FOUND):
        main.get_disk("part-0001-system")
    assert len(main.cloud.disk_folders() - folders) == 2


def test_a_creation_that_fails_leaves_nothing(tenant_of: Callable[[str], Tenant]) -> None:
    """When the image's bytes are damaged the operation fails, and of the servers no row, file or pin is left
    (V14).
    """
    tenant = tenant_of("damaged")
    tenant.import_image("sys", "old.raw")
    folders, rows = tenant.cloud.disk_folders(), tenant.cloud.rows("ecs")
    store = tenant.cloud.root / "ims-store/damaged/chunks"
    victim = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    answer = tenant.start_servers("lost", count=2, data_disks=[ecs_pb.DataDiskSpec(size_bytes=MIB)])
    with refused("CONTENT_DAMAGED", Kind.DATA_LOSS):
        tenant.wait(answer.operation, "ecs")
    left = tenant.cloud.rows("ecs")
    assert [left[table] for table in ("server", "disk", "attachment")] == [
        rows[table] for table in ("server", "disk", "attachment")
    ]
    assert tenant.cloud.disk_folders() == folders
    assert not list((tenant.cloud.root / "ecs/bases").glob(".*"))
    tenant.delete_image("sys")


@pytest.mark.rule("R39")
def test_named_disks_are_as_requested_and_the_others_as_in_the_image(main: Tenant) -> None:
    """A request that names one of the image's disks changes that disk alone; disks that name none come in
    addition (V3).
    """
    data = [ecs_pb.DataDiskSpec(image=main.image(f"media-{number}")) for number in (1, 2)]
    main.create_server("v3", data_disks=data)
    main.create_backup("v3", "v3")
    main.create_image("v3", "v3")
    requested = [
        ecs_pb.DataDiskSpec(image_disk="data-2", size_bytes=8 * MIB, display_name="big", shared=True),
        ecs_pb.DataDiskSpec(size_bytes=MIB),
    ]
    system = ecs_pb.SystemDiskSpec(size_bytes=80 * MIB)
    made = main.create_server("v3-made", "v3", data_disks=requested, system_disk=system)
    assert [(disk.position, disk.size_bytes, disk.shared) for disk in made.disks] == [
        (0, 80 * MIB, False),
        (1, 5 * MIB + 1536, False),
        (2, 8 * MIB, True),
        (3, MIB, False),
    ]
    assert made.disks[2].display_name == "big"
    sources = main.sources
    assert main.digests("v3-made")[:3] == [
        file_digest(sources / "sys.raw", 80 * MIB),
        file_digest(sources / "media-1.raw"),
        file_digest(sources / "media-2.raw", 8 * MIB),
    ]
    for disk, problem in (("data-3", "no such"), ("system", "no such")):
        with refused("IMAGE_DISK_UNKNOWN", BAD, disk=disk) as seen:
            main.start_servers("v3-bad", "v3", data_disks=[ecs_pb.DataDiskSpec(image_disk=disk)])
        assert problem in seen[0].text
        assert [each.field for each in seen[0].fields] == ["data_disks[0].image_disk"]
    twice = 2 * [ecs_pb.DataDiskSpec(image_disk="data-1")]
    with refused("IMAGE_DISK_UNKNOWN", BAD, disk="data-1") as seen:
        main.start_servers("v3-bad", "v3", data_disks=twice)
    assert [(each.field, each.description) for each in seen[0].fields] == [
        ("data_disks[1].image_disk", "it is named twice")
    ]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"system_disk": ecs_pb.SystemDiskSpec(size_bytes=32 * MIB)}, "system_disk.size_bytes"),
        ({"data_disks": [ecs_pb.DataDiskSpec(size_bytes=512), "logs"]}, "data_disks[1].size_bytes"),
    ],
)
def test_a_disk_below_its_images_size_is_refused(
    main: Tenant, options: dict[str, list[object]], field: str
) -> None:
    """Sizes may only grow: less than the image's is refused, and the field named (V2)."""
    if "data_disks" in options:
        smaller = ecs_pb.DataDiskSpec(image=main.image("logs"), size_bytes=MIB)
        options = {"data_disks": [options["data_disks"][0], smaller]}
    with refused("SIZE_BELOW_IMAGE", BAD, vendor_code="Ecs.0055") as seen:
        main.start_servers("tight", **options)
    assert [each.field for each in seen[0].fields] == [field]


@pytest.mark.parametrize("size", [0, 511, 513, MIB + 1, (32 << 40) + 512])
def test_an_empty_disk_has_a_size_of_whole_sectors(main: Tenant, size: int) -> None:
    """An empty disk needs a size: a multiple of 512 bytes, at most 32 TiB."""
    with refused("REQUEST_INVALID", BAD) as seen:
        main.start_servers("sized", data_disks=[ecs_pb.DataDiskSpec(size_bytes=size)])
    assert [each.field for each in seen[0].fields] == ["data_disks[0].size_bytes"]
    with refused("REQUEST_INVALID", BAD) as seen:
        main.create_disk("sized", size)
    assert [each.field for each in seen[0].fields] == ["disk.size_bytes"]


@pytest.mark.parametrize("name", ["", "a b", "a" * 129, "<x>"])
def test_a_servers_name_is_well_formed(main: Tenant, name: str) -> None:
    """A server's name that is missing or malformed is refused."""
    with refused("REQUEST_INVALID", BAD) as seen:
        main.start_servers("named", display_name=name)
    assert [each.field for each in seen[0].fields] == ["server.display_name"]


@pytest.mark.rule("R49", "R50")
def test_each_kind_of_image_serves_for_its_own_use(main: Tenant) -> None:
    """Servers are made from system-disk images, disks from data-disk images; any other use is refused."""
    wanted = {"rule": "R50"}
    for kind, image in (("DATA_DISK", "logs"), ("ISO", "iso")):
        with refused("IMAGE_KIND_UNSUPPORTED", BAD, kind=kind, image=main.image(image), **wanted):
            main.start_servers("kinds", image)
    for kind, image in (("SYSTEM_DISK", "sys"), ("ISO", "iso")):
        with refused("IMAGE_KIND_UNSUPPORTED", BAD, kind=kind, image=main.image(image), **wanted):
            main.create_disk("kinds", image_id=image)
        with refused("IMAGE_KIND_UNSUPPORTED", BAD, kind=kind, image=main.image(image), **wanted) as seen:
            main.start_servers("kinds", data_disks=[ecs_pb.DataDiskSpec(image=main.image(image))])
        assert [each.field for each in seen[0].fields] == ["data_disks[0].image"]
    main.create_server("kinds-stopped", leave_stopped=True)
    change = ecs_pb.ChangeServerOsRequest(name=main.server("kinds-stopped"), image=main.image("logs"))
    with refused("IMAGE_KIND_UNSUPPORTED", BAD, kind="DATA_DISK", **wanted):
        main.recast.servers.ChangeServerOs(change)
