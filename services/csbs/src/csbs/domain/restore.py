"""The plan of a restore: the target disk of each disk of a backup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from csbs.domain.backup import BackupDisk
from csbs.domain.refusals import RestoreTargetInvalid
from recast.faults import Refusal, all_of


@dataclass(frozen=True)
class TargetDisk:
    """A disk that is attached to the server to restore."""

    disk: str
    is_system: bool
    shared: bool
    size_bytes: int


def plan_restore(
    backup: str, disks: Sequence[BackupDisk], targets: Sequence[TargetDisk], mapping: Mapping[str, str]
) -> dict[str, str]:
    """The target disk of every backup disk, by the backup disk's id.

    `mapping` is the request's; a disk that it leaves out goes to the disk that was backed up. Refused, with
    every problem at once, when a disk has no fitting target.
    """
    attached = {target.disk: target for target in targets}
    known = {disk.id for disk in disks}
    plan: dict[str, str] = {}
    problems: list[Refusal] = []

    def refuse(backup_disk: str, disk: str, problem: str) -> None:
        problems.append(
            RestoreTargetInvalid(backup=backup, backup_disk=backup_disk, disk=disk, problem=problem)
        )

    for unknown in mapping.keys() - known:
        refuse(unknown, mapping[unknown], "the backup has no such disk")
    for disk in disks:
        name = mapping.get(disk.id) or _default_target(disk, targets)
        target = attached.get(name)
        if target is None:
            refuse(disk.id, name, "it is not attached to the server; map the backup's disk to one that is")
        elif name in plan.values():
            refuse(disk.id, name, "another disk of the backup goes there")
        elif target.shared:
            refuse(disk.id, name, "it is shared")
        elif target.is_system != disk.is_system:
            refuse(disk.id, name, "a system disk goes to the system disk, a data disk to a data disk")
        elif target.size_bytes < disk.size_bytes:
            refuse(disk.id, name, f"it has {target.size_bytes} bytes, the backup {disk.size_bytes}")
        plan[disk.id] = name
    if problems:
        raise all_of(problems)
    return plan


def _default_target(disk: BackupDisk, targets: Sequence[TargetDisk]) -> str:
    """The disk that was backed up; for a system disk the server's current system disk, because an OS change
    replaces it.
    """
    if disk.is_system:
        return next((target.disk for target in targets if target.is_system), disk.disk)
    return disk.disk
