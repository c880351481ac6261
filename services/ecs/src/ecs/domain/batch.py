"""The plan of a request for servers: their names, and the disks of each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecs.domain.disk import check_size
from ecs.domain.refusals import (
    CountExceeded,
    ImageDiskUnknown,
    ImageKindUnsupported,
    ServerNameInvalid,
    SizeBelowImage,
)
from recast.faults import FieldViolation

MAX_SERVERS = 100
_MAX_BATCH_BASE = 59
_NUMBERED = re.compile(r"(.*)-(\d{4})")


@dataclass(frozen=True)
class ImageDisk:
    """A disk of an image. `base` names its content: the digest of its index."""

    image: str
    id: str
    is_system: bool
    position: int
    display_name: str
    size_bytes: int
    base: str


@dataclass(frozen=True)
class RequestedDisk:
    """A data disk of a request: at most one of `image_disk` and `image` is set."""

    image_disk: str
    image: str
    size_bytes: int
    shared: bool
    display_name: str


@dataclass(frozen=True)
class PlannedDisk:
    """A disk of each new server. `source` is None for an empty disk."""

    is_system: bool
    position: int
    size_bytes: int
    shared: bool
    display_name: str
    source: ImageDisk | None


def base_name(index_digest: bytes) -> str:
    """The name of the base that holds a content: its index's digest. Equal contents share one base."""
    return index_digest.hex()


def plan_names(base: str, count: int, field: str) -> list[str]:
    """R14: one request makes many servers.

    A single server has the name itself; several get -0000, -0001, ..., or go on from the number in the name.
    """
    if count > MAX_SERVERS:
        raise CountExceeded(count=count, limit=MAX_SERVERS, fields=[FieldViolation("count", "at most 100")])
    if count <= 1:
        return [base]
    numbered = _NUMBERED.fullmatch(base)
    stem, first = (numbered.group(1), int(numbered.group(2))) if numbered else (base, 0)
    if len(stem) > _MAX_BATCH_BASE or first + count > 10_000:
        problem = (
            f"must leave room for a number: at most {_MAX_BATCH_BASE} characters, and no number past 9999"
        )
        raise ServerNameInvalid(field=field, problem=problem, fields=[FieldViolation(field, problem)])
    return [f"{stem}-{number:04d}" for number in range(first, first + count)]


def check_kind(image: str, kind: str) -> None:
    """Refuses an image that no server can be made from: only a system-disk or full-server image can (R50)."""
    if kind not in {"SYSTEM_DISK", "FULL_SERVER"}:
        wanted = "a server is made from a SYSTEM_DISK or FULL_SERVER image"
        raise ImageKindUnsupported(
            image=image, kind=kind, wanted=wanted, fields=[FieldViolation("image", wanted)]
        )


def check_data_kind(image: str, kind: str, field: str) -> None:
    """Refuses an image that no data disk can be made from: only a data-disk image can (R50)."""
    if kind != "DATA_DISK":
        wanted = "a data disk is made from a DATA_DISK image"
        raise ImageKindUnsupported(
            image=image, kind=kind, wanted=wanted, fields=[FieldViolation(field, wanted)]
        )


def plan_disks(
    image_disks: Sequence[ImageDisk],
    system_bytes: int,
    requested: Sequence[RequestedDisk],
    data_images: Mapping[str, ImageDisk],
) -> list[PlannedDisk]:
    """R12: every disk of the image at its position, changed by the request (R39); then the added disks.

    `system_bytes` of 0 means the image's size. `data_images` are the disks of the data-disk images that the
    request names.
    """
    overrides = _overrides(image_disks, requested)
    plan: list[PlannedDisk] = []
    for disk in sorted(image_disks, key=lambda each: each.position):
        index, override = overrides.get(disk.id, (-1, RequestedDisk("", "", 0, False, "")))
        field = "system_disk.size_bytes" if disk.is_system else f"data_disks[{index}].size_bytes"
        size = fitting_size(
            system_bytes if disk.is_system else override.size_bytes, disk.size_bytes, disk.id, field
        )
        name = override.display_name or ("" if disk.is_system else disk.display_name)
        plan.append(PlannedDisk(disk.is_system, disk.position, size, override.shared, name, disk))
    position = max(disk.position for disk in image_disks)
    for index, new in enumerate(requested):
        if not new.image_disk:
            position += 1
            source = data_images.get(new.image)
            label = new.display_name or f"data disk {index}"
            field = f"data_disks[{index}].size_bytes"
            size = fitting_size(new.size_bytes, source.size_bytes if source else 0, label, field)
            name = new.display_name or (source.display_name if source else "")
            plan.append(PlannedDisk(False, position, size, new.shared, name, source))
    return plan


def fitting_size(requested_bytes: int, source_bytes: int, disk: str, field: str) -> int:
    """The size of a disk made from an image disk of `source_bytes`; sizes may only grow (V2).

    A request of 0 means the size of the source.
    """
    size = requested_bytes or source_bytes
    check_size(size, field)
    if size < source_bytes:
        problem = FieldViolation(field, f"at least {source_bytes}")
        raise SizeBelowImage(disk=disk, size_bytes=size, image_bytes=source_bytes, fields=[problem])
    return size


def _overrides(
    image_disks: Sequence[ImageDisk], requested: Sequence[RequestedDisk]
) -> dict[str, tuple[int, RequestedDisk]]:
    """The requested disks that change a disk of the image, each with its index, by the image disk's id."""
    known = [disk.id for disk in image_disks if not disk.is_system]
    overrides: dict[str, tuple[int, RequestedDisk]] = {}
    for index, disk in enumerate(requested):
        if disk.image_disk:
            if disk.image_disk not in known or disk.image_disk in overrides:
                is_twice = disk.image_disk in overrides
                problem = "it is named twice" if is_twice else "the image has no such data disk"
                fields = [FieldViolation(f"data_disks[{index}].image_disk", problem)]
                raise ImageDiskUnknown(
                    disk=disk.image_disk, problem=problem, known=", ".join(known) or "none", fields=fields
                )
            overrides[disk.image_disk] = (index, disk)
    return overrides
