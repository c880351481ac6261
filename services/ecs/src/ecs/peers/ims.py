"""The images of IMS: their disks, and pins that keep them while they are read."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from ecs.domain.batch import ImageDisk, base_name
from recast.content.v1 import content_pb2
from recast.ims.v1 import image_pb2
from recast.ims.v1 import provisioning_service_pb2 as pb
from recast.ims.v1 import provisioning_service_pb2_grpc as grpc_pb


@dataclass(frozen=True)
class ResolvedImage:
    """An image that is NORMAL: its kind by its name without the prefix, and the content of its disks."""

    name: str
    kind: str
    content: content_pb2.Content

    def disks(self) -> Sequence[ImageDisk]:
        """Its disks as domain values."""
        return [
            ImageDisk(
                self.name,
                disk.id,
                disk.role == content_pb2.DISK_ROLE_SYSTEM,
                disk.position,
                disk.display_name,
                disk.size_bytes,
                base_name(disk.index.digest),
            )
            for disk in self.content.disks
        ]

    def disk(self, disk_id: str) -> content_pb2.DiskContent:
        """The content of one disk by its id."""
        return next(disk for disk in self.content.disks if disk.id == disk_id)

    def system_disk(self) -> ImageDisk:
        """R35, R36: the only disk of a full-server image that an OS change uses."""
        return next(disk for disk in self.disks() if disk.is_system)


class Images:
    """The images of IMS."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._provisioning = grpc_pb.ProvisioningServiceStub(channel)

    def resolve(self, image: str) -> ResolvedImage:
        """The kind and the content of an image; refused unless it is NORMAL."""
        answer = self._provisioning.ResolveImage(pb.ResolveImageRequest(image=image))
        kind = image_pb2.ImageKind.Name(answer.image.kind).removeprefix("IMAGE_KIND_")
        return ResolvedImage(image, kind, answer.content)

    def pin(self, image: str, pin_id: str, holder: str) -> None:
        """Keeps the image's bytes until they are unpinned."""
        self._provisioning.PinImage(pb.PinImageRequest(image=image, pin_id=pin_id, holder=holder))

    def unpin(self, image: str, pin_id: str) -> None:
        """Removes the pin."""
        self._provisioning.UnpinImage(pb.UnpinImageRequest(image=image, pin_id=pin_id))
