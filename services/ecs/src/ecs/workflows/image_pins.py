"""The pins on images: work holds them until its disks are made; handlers take them before the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from google.longrunning import operations_pb2
from sqlmodel import Session

from ecs.peers.ims import Images
from ecs.storage import disks
from recast.database import Database
from recast.ecs.v1 import disk_service_pb2, server_service_pb2
from recast.operations import OperationRow, Operations


class HasOperation(Protocol):
    """An answer that names the work that its request recorded."""

    @property
    def operation(self) -> operations_pb2.Operation:
        """The work."""
        ...


A = TypeVar("A", bound=HasOperation)


@dataclass(frozen=True)
class ImagePins:
    """Pins the images of recorded work."""

    database: Database
    operations: Operations
    images: Images

    def before_answer(self, answer: A) -> A:
        """The answer, once no image that its work reads can be deleted."""
        self.operations.reserve(answer.operation, self._pin)
        return answer

    def _pin(self, row: OperationRow) -> None:
        with self.database.read() as session:
            wanted = images_wanted(session, row.verb, row.request)
        for image in wanted:
            self.images.pin(image, row.id, row.target)


def images_wanted(session: Session, verb: str, request: bytes) -> list[str]:
    """The images that the work reads, by its verb and its recorded request."""
    return _WANTED[verb](session, request)


def _of_new_servers(session: Session, request: bytes) -> list[str]:
    requested = server_service_pb2.CreateServersResult.FromString(request).outcomes
    plan = [disk for each in requested for _, disk in disks.attached_to(session, each.server)]
    return sorted({disk.source_image for disk in plan if disk.source_image})


def _of_request(message: Any) -> Callable[[Session, bytes], list[str]]:
    """For requests that name one image, or none."""
    return lambda _session, request: [image for image in [message.FromString(request).image] if image]


_WANTED: Mapping[str, Callable[[Session, bytes], list[str]]] = {
    "CreateServers": _of_new_servers,
    "ChangeServerOs": _of_request(server_service_pb2.ChangeServerOsRequest),
    "ReinstallServerOs": _of_request(server_service_pb2.ChangeServerOsRequest),
    "CreateDisk": _of_request(disk_service_pb2.CreateDiskRequest),
}
