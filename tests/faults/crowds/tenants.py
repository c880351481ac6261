"""The project that the tests of races, stale owners, retries and drains work in."""

from pathlib import Path

from recast.ecs.v1 import server_pb2
from recast.ecs.v1 import server_service_pb2 as servers_pb
from tests.faults.crowds.replicas import Replicas
from tests.harness import disks
from tests.harness.project import Tenant

MIB = 1 << 20


def make_sources(folder: Path) -> Path:
    """The files that are imported: `sys.raw`, `logs.raw` and `odd.raw`."""
    folder.mkdir(parents=True, exist_ok=True)
    disks.make_system_disk(folder / "sys.raw", 48 * MIB, 2 * MIB)
    disks.make_text_disk(folder / "logs.raw", 8 * MIB, 1 * MIB)
    (folder / "odd.raw").write_bytes(b"odd" * 259)
    return folder


def make_tenant(replicas: Replicas, folder: Path) -> Tenant:
    """The project `main` with the images sys and logs, the running server `web` and the stopped `idle`."""
    tenant = Tenant(replicas, "main", make_sources(folder))  # type: ignore[arg-type]  # of a cloud it needs `client`
    tenant.import_image("sys", "sys.raw")
    tenant.import_image("logs", "logs.raw", kind="DATA_DISK")
    data = servers_pb.DataDiskSpec(image=tenant.image("logs"))
    tenant.create_server("web", data_disks=[data])
    tenant.create_server("idle", data_disks=[data], leave_stopped=True)
    return tenant


def start_server(tenant: Tenant, server_id: str, *, validate_only: bool = False) -> server_pb2.Server:
    """Requests the start of a server; gives it as in the answer."""
    request = servers_pb.StartServerRequest(name=tenant.server(server_id), validate_only=validate_only)
    return tenant.recast.servers.StartServer(request).server
