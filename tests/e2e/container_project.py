"""A project of a stack of containers, and the bytes of its disks, which are inside a container."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from google.longrunning import operations_pb2

from recast.client import Service
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ecs.v1 import disk_service_pb2
from recast.ecs.v1 import server_service_pb2 as ecs
from recast.faults import Kind
from recast.ims.v1 import image_service_pb2 as ims
from recast.testing import RecastStack, ServiceContainer
from tests.harness.expectations import PATIENCE_SECONDS, answered
from tests.harness.project import Tenant

T = TypeVar("T")
_DIGEST = (
    'qemu-img convert -f qcow2 -O raw "$0" /tmp/read.raw && sha256sum </tmp/read.raw; rm -f /tmp/read.raw'
)
# Kinds of refusals that pass by themselves after a restart.
_PASSING = {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED, Kind.CANCELLED}


class Guest(Tenant):
    """A project, by a client that reaches every container of the stack."""

    def __init__(self, stack: RecastStack, project: str, sources: Path) -> None:
        # Of its cloud a tenant needs clients alone.
        super().__init__(stack, project, sources)  # type: ignore[arg-type]
        self.stack = stack
        self._operator = stack.client(project, role="operator")

    def host_of(self, disk: str) -> tuple[ServiceContainer, str]:
        """The container that has a disk, and the disk's path in it."""
        request = disk_service_pb2.GetDiskConnectionRequest(name=disk)
        connection = self._operator.disks.GetDiskConnection(request).connection
        name = f"ecs-{connection.host}" if self.stack.is_scaled else "ecs"
        return self.stack.services[name], connection.path

    def digest(self, disk: str) -> str:
        """The digest of a whole disk, as qemu-img reads it where it is."""
        host, path = self.host_of(disk)
        return run(host, "sh", "-c", _DIGEST, path).split()[0]

    def write(self, disk: str, offset: int, length: int = 65536, pattern: int = 0xA5) -> None:
        """Writes a pattern onto a disk, as its guest would."""
        host, path = self.host_of(disk)
        run(host, "qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} {offset} {length}", path)

    def start_servers(
        self, server_id: str, image_id: str = "sys", **options: Any
    ) -> ecs.CreateServersResponse:
        """Requests servers; again while no host is known, as after a restart of its database."""
        identified = {"request_id": f"create-{server_id}"} | options
        begin = super().start_servers
        return again(lambda: begin(server_id, image_id, **identified))

    def wait(self, operation: operations_pb2.Operation, service: Service) -> operations_pb2.Operation:
        """Waits for the end of work; the refusal that it ended with is raised."""
        return again(lambda: self.recast.wait(operation, service, timeout_seconds=PATIENCE_SECONDS))


def run(container: ServiceContainer, *command: str) -> str:
    """The output of a command in a container."""
    done = container.exec(list(command))
    assert done.exit_code == 0, done.output
    return str(done.output.decode())


def again(call: Callable[[], T]) -> T:
    """The answer to a call, which is made again while a service is unreachable; the
    call must bear repeating.
    """
    # Work that ended as UNAVAILABLE gives the same at each repeat: the bound ends that.
    return answered(call, _PASSING, pause=0.2)


@cache
def digest_of(path: Path) -> str:
    """The digest of a file that does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lists_of(guest: Guest) -> dict[str, list[Any]]:
    """The lists of a project in the services, by kind."""
    parent, recast = guest.parent, guest.recast
    return {
        "backups": list(recast.backups.ListBackups(csbs.ListBackupsRequest(parent=parent)).backups),
        "images": list(recast.images.ListImages(ims.ListImagesRequest(parent=parent)).images),
        "servers": list(recast.servers.ListServers(ecs.ListServersRequest(parent=parent)).servers),
        "disks": list(recast.disks.ListDisks(disk_service_pb2.ListDisksRequest(parent=parent)).disks),
    }
