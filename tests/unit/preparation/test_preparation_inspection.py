"""The report of an inspection of real disks."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recast.preparation.inspection import inspect_here
from recast.preparation.report import FileSystem, Report, Verdict
from tests.harness.disks import Link, SystemDisk, make_system_disk

MIB = 1 << 20
MakeDisk = Callable[..., SystemDisk]
MakeReader = Callable[[Any], Any]


class FailsAfter:
    """A reader whose disk fails after some reads."""

    def __init__(self, reader: Any, reads: int) -> None:
        self._reader = reader
        self._left = reads
        self.size_bytes = reader.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes, as long as there is a disk."""
        self._left -= 1
        if self._left < 0:
            raise ConnectionError("the disk is gone")
        return bytes(self._reader.pread(offset, length))


def verdicts(report: Report) -> dict[str, Verdict]:
    """Return the report's verdicts by check."""
    return {finding.check: finding.verdict for finding in report.findings}


def missing(report: Report) -> set[str]:
    """Return the names of the missing checks."""
    return {finding.check for finding in report.missing}


def details(report: Report) -> str:
    """Return the details of all checks."""
    return "\n".join(finding.detail for finding in report.findings)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write into a disk."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), content, offset)


@pytest.mark.rule("R20")
def test_prepared(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A prepared server's disk has every check met, and the report names its system and its boot."""
    disk = make_disk()
    report = inspect_here(file_reader(disk.path))
    assert set(verdicts(report).values()) == {Verdict.OK}
    assert (report.os_type, report.os_version) == ("linux", "12")
    assert report.os_name == "Debian GNU/Linux 12 (bookworm)"
    assert (report.firmware, report.partition_table) == ("bios", "gpt")
    assert report.file_systems == (FileSystem(1, "blank", MIB), FileSystem(2, "ext4", 2 * MIB))


@pytest.mark.rule("R20")
def test_unprepared(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """An unprepared server's disk lacks Cloud-Init, an fstab by UUID, and interfaces of no one's name."""
    report = inspect_here(file_reader(make_disk(variant="unprepared").path))
    assert missing(report) == {"CLOUD_INIT_INSTALLED", "FSTAB_BY_UUID", "NO_PERSISTENT_NET_RULES"}
    assert all(finding.remedy for finding in report.missing)


@pytest.mark.parametrize(("table", "offset", "slot"), [("mbr", MIB, 1), ("none", 0, 0)])
def test_other_tables(
    make_disk: MakeDisk, file_reader: MakeReader, table: str, offset: int, slot: int
) -> None:
    """A disk with an MBR, or without any partition table, is read as one with a GPT is."""
    report = inspect_here(file_reader(make_disk(table=table).path))
    assert report.partition_table == table
    assert report.file_systems == (FileSystem(slot, "ext4", offset),)
    assert (report.os_type, report.missing, report.unknown) == ("linux", (), ())


def test_firmware(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A disk with an EFI system partition boots by UEFI."""
    assert inspect_here(file_reader(make_disk(has_esp=True, size_bytes=48 * MIB).path)).firmware == "uefi"


def test_backup_gpt(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A disk whose first GPT is destroyed is read by its second."""
    disk = make_disk()
    overwrite(disk.path, 512, bytes(512))
    assert inspect_here(file_reader(disk.path)).os_type == "linux"


def test_garbage_table(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A disk whose two GPTs are both destroyed has unknown checks alone, with the reason."""
    disk = make_disk()
    overwrite(disk.path, 512, b"\xff" * 512)
    overwrite(disk.path, disk.size_bytes - 512, b"\xff" * 512)
    report = inspect_here(file_reader(disk.path))
    assert set(verdicts(report).values()) == {Verdict.UNKNOWN}
    assert "both copies of the GPT are damaged" in report.findings[0].detail


@pytest.mark.parametrize(
    "content", [bytes(4 * MIB), random.Random(1).randbytes(4 * MIB), b"", b"\x55\xaa" * 256]
)
def test_no_file_system(bytes_reader: MakeReader, content: bytes) -> None:
    """A disk that is blank, noise, or hardly there makes every check unknown, with a reason."""
    report = inspect_here(bytes_reader(content))
    assert (report.os_type, report.missing) == ("unknown", ())
    assert set(verdicts(report).values()) == {Verdict.UNKNOWN}
    assert all(finding.detail for finding in report.findings)


def test_truncated(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A disk that ends within its root file system is read as far as it goes; nothing is missing."""
    disk = make_disk()
    os.truncate(disk.path, 3 * MIB)
    report = inspect_here(file_reader(disk.path))
    assert report.partition_table == "gpt"
    assert report.missing == ()


def test_partition_outside(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A partition that begins beyond the disk's end is named so."""
    disk = make_disk()
    os.truncate(disk.path, MIB)
    assert {fs.type for fs in inspect_here(file_reader(disk.path)).file_systems} == {"outside"}


def test_corrupt_superblock(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """A superblock that contradicts itself makes every check unknown, with the file system's error."""
    disk = make_disk()
    overwrite(disk.path, disk.root_offset + 1024 + 32, bytes(4))  # blocks per group
    report = inspect_here(file_reader(disk.path))
    assert set(verdicts(report).values()) == {Verdict.UNKNOWN}
    assert "blocks per group" in details(report)


@pytest.mark.parametrize(
    ("inside", "check"),
    [
        (b"cloud-init", "CLOUD_INIT_INSTALLED"),  # the block of the directory that names it
        (b"../usr/lib/os-release", "SYSTEM_READABLE"),  # the block of inodes that holds /etc
    ],
)
def test_corrupt_metadata(make_disk: MakeDisk, file_reader: MakeReader, inside: bytes, check: str) -> None:
    """Damaged directories and inodes make checks unknown, never missing."""
    disk = make_disk(table="none", files={"/usr/lib/systemd/system/cloud-init.service": None})
    overwrite(disk.path, disk.path.read_bytes().index(inside) // 4096 * 4096, b"\xff" * 4096)
    report = inspect_here(file_reader(disk.path))
    assert report.missing == ()
    assert verdicts(report)[check] is Verdict.UNKNOWN


@pytest.mark.rule("R20")
def test_deleted_file(make_disk: MakeDisk, file_reader: MakeReader, delete_file: Callable[..., str]) -> None:
    """Cloud-Init that was removed is missing, though its name is still in the directory's block."""
    disk = make_disk(table="none")
    delete_file(disk, "/usr/bin/cloud-init")
    assert b"cloud-init" in disk.path.read_bytes()
    assert missing(inspect_here(file_reader(disk.path))) == {"CLOUD_INIT_INSTALLED"}


def test_huge_fstab(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """An fstab of 2 MiB is not read: the check of it is unknown, the others are met."""
    report = inspect_here(file_reader(make_disk(files={"/etc/fstab": "#" * (2 * MIB)}).path))
    assert verdicts(report)["FSTAB_BY_UUID"] is Verdict.UNKNOWN
    assert {finding.check for finding in report.unknown} == {"FSTAB_BY_UUID"}


def test_os_release_is_a_loop(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """An os-release that links to itself leaves the name unknown and the other file decides."""
    report = inspect_here(file_reader(make_disk(files={"/etc/os-release": Link("os-release")}).path))
    assert verdicts(report)["OS_RELEASE"] is Verdict.UNKNOWN
    assert "symbolic links" in details(report)


def test_details_are_printable(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """Texts from a disk reach no terminal with control characters, nor at any length."""
    name = "\x1b[31m" + "x" * 5000
    report = inspect_here(
        file_reader(make_disk(files={"/usr/lib/os-release": f'PRETTY_NAME="{name}"\n'}).path)
    )
    assert report.os_name.isprintable()
    assert len(report.os_name) <= 120
    assert max(map(len, details(report).splitlines())) <= 300


@pytest.mark.parametrize(
    ("offset", "signature", "name"),
    [
        (0, b"XFSB", "xfs"),
        (512, b"LABELONE", "lvm2"),
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0, b"LUKS\xba\xbe", "luks"),
    ],
)
def test_unread_file_system(
    make_disk: MakeDisk, file_reader: MakeReader, offset: int, signature: bytes, name: str
) -> None:
    """A file system that is not read makes Linux's checks unknown, and is named as the reason."""
    disk = make_disk()
    overwrite(disk.path, disk.root_offset, bytes(4096))
    overwrite(disk.path, disk.root_offset + offset, signature)
    report = inspect_here(file_reader(disk.path))
    assert report.os_type == "linux"
    assert set(verdicts(report).values()) <= {Verdict.UNKNOWN}
    assert f"partition 2 holds {name}" in report.findings[0].detail


@pytest.mark.parametrize("reads", [0, 1, 3, 6, 9])
def test_reader_fails(make_disk: MakeDisk, file_reader: MakeReader, reads: int) -> None:
    """The reader's exception is raised, at any point of the inspection."""
    with pytest.raises(ConnectionError, match="is gone"):
        inspect_here(FailsAfter(file_reader(make_disk().path), reads))


def test_reads_little(tmp_path: Path, file_reader: MakeReader) -> None:
    """A disk of 8 GiB with content is judged by less than 5 MB of it."""
    disk = make_system_disk(tmp_path / "disk.raw", 8192 * MIB, 16 * MIB)
    reader = file_reader(disk.path)
    assert inspect_here(reader).missing == ()
    assert reader.bytes_read < 5_000_000
