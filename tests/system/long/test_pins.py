"""A pin is released, although its server is gone meanwhile."""

from pathlib import Path

from recast.doctor import Installation, examine
from recast.ecs.v1 import server_pb2, server_service_pb2
from recast.ims.v1 import image_pb2
from recast.stack import LocalStack
from tests.demo import seed  # as above
from tests.harness import disks  # the demo is a folder of programs, not a package

MIB = 1 << 20


def test_a_pin_is_given_back_though_its_server_is_gone(tmp_path: Path) -> None:
    """IMS dies as ECS unpins, the server is deleted, IMS comes back: the pin is given back all the same."""
    points = tmp_path / "points"
    points.mkdir()
    with LocalStack(tmp_path / "stack", environment={"RECAST_FAULT_POINTS": str(points)}) as stack:
        with stack.client("demo") as recast:
            disks.make_system_disk(tmp_path / "system.raw", 64 * MIB, 1 * MIB)
            seed.import_image(recast, tmp_path / "system.raw", "debian", image_pb2.IMAGE_KIND_SYSTEM_DISK)
            (points / "ims.point").write_text("UnpinImage:commit")
            create = server_service_pb2.CreateServersRequest(
                parent=seed.PROJECT,
                server_id="one",
                server=server_pb2.Server(display_name="one"),
                image=f"{seed.PROJECT}/images/debian",
            )
            creation = recast.servers.CreateServers(create).operation
            stack.wait_for_end("ims")
            (points / "ims.point").unlink()
            delete = server_service_pb2.DeleteServerRequest(name=f"{seed.PROJECT}/servers/one")
            recast.wait(recast.servers.DeleteServer(delete).operation, "ecs")
            stack.restart("ims")
            recast.wait(creation, "ecs")
        assert examine(Installation.local(tmp_path / "stack"), at_rest=True).problems == ()
