"""The check that the disks of a content fit their target disks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecs.domain.refusals import RestoreTargetInvalid
from recast.faults import Refusal, all_of


@dataclass(frozen=True)
class FittingDisk:
    """A disk of a content, or a disk of the server."""

    name: str
    is_system: bool
    size_bytes: int
    shared: bool = False


def check_restore(
    contents: Sequence[FittingDisk], attached: Sequence[FittingDisk], mapping: Mapping[str, str]
) -> None:
    """Refuses, with every problem at once, a mapping of content to disks that cannot be carried out."""
    by_name = {disk.name: disk for disk in attached}
    problems: list[Refusal] = []
    for content in contents:
        target = by_name.get(mapping.get(content.name, ""))
        problem = ""
        if target is None:
            problem = "it is not attached to the server, or not mapped"
        elif target.shared:
            problem = "it is shared"
        elif target.is_system != content.is_system:
            problem = "a system disk goes to the system disk, a data disk to a data disk"
        elif target.size_bytes < content.size_bytes:
            problem = f"it has {target.size_bytes} bytes, the content {content.size_bytes}"
        if problem:
            disk = mapping.get(content.name, "nothing")
            problems.append(RestoreTargetInvalid(content_disk=content.name, disk=disk, problem=problem))
    if problems:
        raise all_of(problems)
