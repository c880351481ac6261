"""One inspection, start to end, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from recast.preparation import linux, windows
from recast.preparation.checks import Check, met, run_checks, unknown
from recast.preparation.content import BudgetedReader, ContentReader, UnreadableError
from recast.preparation.filetree import FileTree
from recast.preparation.fstab import MountedTree
from recast.preparation.journal import SCAN_BUDGET_BYTES, replayed
from recast.preparation.partitions import GPT_LDM, MBR_LDM, Partition, PartitionTable, read_table
from recast.preparation.report import FileSystem, Finding, Report, printable
from recast.preparation.signatures import Signature, read_optical_format, read_signature
from recast.preparation.sleuthkit import READABLE_TYPES, ReaderImage, SleuthKitTree

_NAME_LIMIT = 120
_LINUX_ONLY = frozenset({"xfs", "btrfs", "luks", "lvm2", "raid"})
_SPANNING = frozenset({"lvm2", "raid", "ldm"})
# What a disk without partitions holds no operating system in; of a table, all partitions must be so.
_EMPTY = frozenset({"blank", "swap"})
_CONTENTS = {
    "blank": "nothing",
    "unknown": "no known file system",
    "outside": "nothing: it lies beyond the end of the disk",
}
_NO_SYSTEM = _EMPTY | {"unknown", "iso9660", "udf"}


@dataclass(frozen=True)
class Volume:
    """One partition, or the whole disk: its signature, and its files if they can be read."""

    partition: Partition
    signature: Signature
    tree: FileTree | None = None
    problem: str = ""

    @property
    def devices(self) -> tuple[str, ...]:
        """The names by which an fstab may mount this volume, in lower case."""
        names = {
            "uuid": self.signature.uuid,
            "label": self.signature.label.lower(),
            "partuuid": self.partition.uuid,
            "partlabel": self.partition.label.lower(),
        }
        by_path = tuple(f"/dev/disk/by-{kind}/{name}" for kind, name in names.items() if name)
        return tuple(f"{kind}={name}" for kind, name in names.items() if name) + by_path

    def __str__(self) -> str:
        place = f"partition {self.partition.slot}" if self.partition.slot else "the disk"
        content = _CONTENTS.get(self.signature.type)
        return f"{place} holds {content or self.signature.type}" + (
            f" ({self.problem})" if self.problem else ""
        )


@dataclass(frozen=True)
class System:
    """The operating system of a disk, if there is one, and the findings of its checks."""

    os_type: str
    name: str
    version: str
    findings: tuple[Finding, ...]
    is_there: bool | None = True
    """Whether there is one; None if it may be in what was not read."""


def inspect_here(reader: ContentReader) -> Report:
    """Return the report on the disk in `reader`. Hostile content can hang this process: see isolation.py."""
    budgeted = BudgetedReader(reader)
    try:
        table = read_table(budgeted)
        volumes = list(_read_volumes(budgeted, BudgetedReader(reader, SCAN_BUDGET_BYTES), table))
        optical_format = read_optical_format(budgeted)
    except UnreadableError as error:
        return unread_report(str(error))
    return _report(table, volumes, optical_format)


def unread_report(reason: str) -> Report:
    """Return the report of a disk of which nothing could be read, for `reason`."""
    return Report("unknown", "", "", "unknown", "none", "", None, (), (_unreadable(reason),))


def _read_volumes(
    reader: BudgetedReader, scan_reader: BudgetedReader, table: PartitionTable
) -> Iterator[Volume]:
    """Yield the volumes of the disk in `reader`. Scans of journals read it by `scan_reader`."""
    whole = Partition(0, 0, reader.size_bytes, 0)
    for partition in table.partitions or (() if table.problem else (whole,)):
        is_cut = partition.offset + partition.length > reader.size_bytes
        problem = "it ends beyond the end of the disk" if is_cut else ""
        signature = _signature(reader, partition)
        tree = None
        if signature.type in READABLE_TYPES:
            try:
                content = _as_booted(reader, scan_reader, partition, signature)
                tree = SleuthKitTree(ReaderImage(content), partition.offset, signature.type)
                signature = _signature(content, partition)  # the journal may have a newer label
            except UnreadableError as error:
                problem = str(error)
        yield Volume(partition, signature, tree, problem)


def _as_booted(
    reader: ContentReader, scan_reader: ContentReader, partition: Partition, signature: Signature
) -> ContentReader:
    """Return the disk's content as a boot finds it: the volume's journal, if it is ext, is replayed first."""
    return reader if signature.type == "ntfs" else replayed(reader, scan_reader, partition.offset)


def _signature(reader: ContentReader, partition: Partition) -> Signature:
    if partition.offset >= reader.size_bytes:
        return Signature("outside")
    if partition.type in GPT_LDM or partition.type == MBR_LDM:
        return Signature("ldm")
    return read_signature(reader, partition.offset)


def _report(table: PartitionTable, volumes: list[Volume], optical_format: str) -> Report:
    problems = [table.problem] if table.problem else []
    system = (
        _find_linux(volumes, problems)
        or _find_windows(volumes, problems)
        or _no_system(table, volumes, problems)
    )
    return Report(
        system.os_type,
        printable(system.name, _NAME_LIMIT),
        printable(system.version, _NAME_LIMIT),
        table.firmware,
        table.kind,
        optical_format,
        system.is_there,
        tuple(FileSystem(v.partition.slot, v.signature.type, v.partition.offset) for v in volumes),
        (*system.findings, *_spanned_findings(table, volumes)),
    )


def _find_linux(volumes: list[Volume], problems: list[str]) -> System | None:
    root = _find_root(linux.has_linux, volumes, problems)
    if root is None:
        return None
    tree = MountedTree(
        root, {name: volume.tree for volume in volumes if volume.tree for name in volume.devices}
    )
    values: dict[str, str] = {}
    with suppress(UnreadableError):  # the check OS_RELEASE reports it
        values = linux.read_os_release(tree)
    name = values.get("PRETTY_NAME") or values.get("NAME", "")
    return System("linux", name, values.get("VERSION_ID", ""), run_checks(linux.CHECKS, tree))


def _find_windows(volumes: list[Volume], problems: list[str]) -> System | None:
    root = _find_root(windows.has_windows, volumes, problems)
    if root is None:
        return None
    version = ""
    with suppress(UnreadableError):  # the version is not required
        version = windows.read_version(root)
    return System("windows", "Windows", version, run_checks(windows.CHECKS, root))


def _no_system(table: PartitionTable, volumes: list[Volume], problems: list[str]) -> System:
    """Return a system without a name: a Linux if a volume has a type that only Linux uses.

    It has one finding in place of each check, of which none could be made.
    """
    is_linux = any(volume.signature.type in _LINUX_ONLY for volume in volumes)
    full = [volume for volume in volumes if volume.signature.type != "blank"] or volumes
    reason = "; ".join([*problems, *(_described(volume, bool(problems)) for volume in full[:8])])
    is_there = None if problems or _may_hold_system(table, volumes) else False
    return System("linux" if is_linux else "unknown", "", "", (_unreadable(reason),), is_there)


def _may_hold_system(table: PartitionTable, volumes: list[Volume]) -> bool:
    """Return whether an operating system may be in what was not read; none was found in what was."""
    if table.partitions:
        return any(volume.signature.type not in _EMPTY for volume in volumes)
    return any(volume.tree is None and volume.signature.type not in _NO_SYSTEM for volume in volumes)


def _described(volume: Volume, has_problems: bool) -> str:
    if volume.tree is not None:
        return str(volume) if has_problems else f"{volume} without an operating system"
    is_read = volume.problem or volume.signature.type in _NO_SYSTEM | {"outside"}
    return str(volume) if is_read else f"{volume}, which is not read"


def _unreadable(reason: str) -> Finding:
    return _SYSTEM_READABLE.finding(unknown(reason))


def _find_root(
    is_root: Callable[[FileTree], bool], volumes: list[Volume], problems: list[str]
) -> FileTree | None:
    for volume in volumes:
        try:
            if volume.tree is not None and is_root(volume.tree):
                return volume.tree
        except UnreadableError as error:
            problems.append(f"partition {volume.partition.slot}: {error}")
    return None


def _spanned_findings(table: PartitionTable, volumes: list[Volume]) -> list[Finding]:
    """Return the finding on volumes that span disks; none if nothing was read that could say so."""
    spanning = [str(volume) for volume in volumes if volume.signature.type in _SPANNING]
    if spanning:
        problem = f"{', '.join(spanning)}: a volume that spans disks loses data unless all are restored"
        return [_SPANNED.finding(unknown(problem))]
    if table.problem or not any(volume.tree for volume in volumes):
        return []
    return [_SPANNED.finding(met("no LVM, RAID or dynamic disk on any partition"))]


_SYSTEM_READABLE = Check("SYSTEM_READABLE", True, "")
_SPANNED = Check("NO_SPANNED_VOLUMES", False, "Keep each volume group or dynamic volume on a single disk.")
