"""What a request for servers comes to: their names, and the disks of each."""

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
class AskedDisk:
    """How one data disk was asked for: at most one of `image_disk` and `image` is set."""

    image_disk: str
    image: str
    size_bytes: int
    shared: bool
    display_name: str


@dataclass(frozen=True)
class PlannedDisk:
    """One disk that each new server gets. `source` is None for an empty one."""

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

    One keeps its name; more get -0000, -0001...; a name that ends so is counted on.
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
    """A server is made from a system-disk or a full-server image (R50)."""
    if kind not in {"SYSTEM_DISK", "FULL_SERVER"}:
        wanted = "a server is made from a SYSTEM_DISK or FULL_SERVER image"
        raise ImageKindUnsupported(
            image=image, kind=kind, wanted=wanted, fields=[FieldViolation("image", wanted)]
        )


def check_data_kind(image: str, kind: str, field: str) -> None:
    """A data disk is made from a data-disk image (R50)."""
    if kind != "DATA_DISK":
        wanted = "a data disk is made from a DATA_DISK image"
        raise ImageKindUnsupported(
            image=image, kind=kind, wanted=wanted, fields=[FieldViolation(field, wanted)]
        )


def plan_disks(
    image_disks: Sequence[ImageDisk],
    system_bytes: int,
    asked: Sequence[AskedDisk],
    data_images: Mapping[str, ImageDisk],
) -> list[PlannedDisk]:
    """R12: every disk of the image, in its place; those that the request names as it says (R39); then what it
    adds.

    `system_bytes` of 0 means the image's size. `data_images` are the disks of the data-disk images that the
    request names.
    """
    named = _named(image_disks, asked)
    plan: list[PlannedDisk] = []
    for disk in sorted(image_disks, key=lambda each: each.position):
        index, ask = named.get(disk.id, (-1, AskedDisk("", "", 0, False, "")))
        field = "system_disk.size_bytes" if disk.is_system else f"data_disks[{index}].size_bytes"
        size = fitting_size(
            system_bytes if disk.is_system else ask.size_bytes, disk.size_bytes, disk.id, field
        )
        name = ask.display_name or ("" if disk.is_system else disk.display_name)
        plan.append(PlannedDisk(disk.is_system, disk.position, size, ask.shared, name, disk))
    position = max(disk.position for disk in image_disks)
    for index, ask in enumerate(asked):
        if not ask.image_disk:
            position += 1
            source = data_images.get(ask.image)
            label = ask.display_name or f"data disk {index}"
            field = f"data_disks[{index}].size_bytes"
            size = fitting_size(ask.size_bytes, source.size_bytes if source else 0, label, field)
            name = ask.display_name or (source.display_name if source else "")
            plan.append(PlannedDisk(False, position, size, ask.shared, name, source))
    return plan


def fitting_size(asked_bytes: int, source_bytes: int, disk: str, field: str) -> int:
    """The size of a disk made from something of `source_bytes`; sizes may only grow (V2).

    0 asks for the source's.
    """
    size = asked_bytes or source_bytes
    check_size(size, field)
    if size < source_bytes:
        problem = FieldViolation(field, f"at least {source_bytes}")
        raise SizeBelowImage(disk=disk, size_bytes=size, image_bytes=source_bytes, fields=[problem])
    return size


def _named(image_disks: Sequence[ImageDisk], asked: Sequence[AskedDisk]) -> dict[str, tuple[int, AskedDisk]]:
    """The asks that say how a disk of the image is to be, by that disk's id."""
    known = [disk.id for disk in image_disks if not disk.is_system]
    named: dict[str, tuple[int, AskedDisk]] = {}
    for index, ask in enumerate(asked):
        if ask.image_disk:
            if ask.image_disk not in known or ask.image_disk in named:
                problem = (
                    "it is named twice" if ask.image_disk in named else "the image has no such data disk"
                )
                fields = [FieldViolation(f"data_disks[{index}].image_disk", problem)]
                raise ImageDiskUnknown(
                    disk=ask.image_disk, problem=problem, known=", ".join(known) or "none", fields=fields
                )
            named[ask.image_disk] = (index, ask)
    return named
