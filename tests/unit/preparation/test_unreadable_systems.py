"""A disk without a readable system: one finding says so, and whether a system may be there."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from recast.preparation.inspection import inspect_here, unread_report
from recast.preparation.report import Report, Verdict
from recast.preparation.signatures import read_signature
from tests.harness import disks, gpt
from tests.unit.preparation.conftest import BytesReader, FileReader

MIB = 1 << 20
SWAP = bytes(4086) + b"SWAPSPACE2" + bytes(MIB)
XFS = b"XFSB" + bytes(MIB)
NOISE = random.Random(3).randbytes(MIB)
Make = Callable[[Path], None]


def at(offset: int, content: bytes) -> bytes:
    """A disk of 1 MiB with `content` at `offset`."""
    return bytes(offset) + content + bytes(MIB - offset - len(content))


def partitioned(content: bytes) -> bytes:
    """A disk with an MBR and one partition."""
    entry = struct.pack("<B3xB3xII", 0, 0x83, 2048, len(content) // 512)
    return (bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512) + content


def optical(*descriptors: bytes) -> bytes:
    """An optical disc with the descriptors, each by its first bytes."""
    return at(0x8000, b"".join(each.ljust(2048, b"\0") for each in descriptors))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write into a disk."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def report_on(content: bytes) -> Report:
    """The report on a disk."""
    return inspect_here(BytesReader(content))


@pytest.mark.fault("FAULT-N10")
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (bytes(MIB), "the disk holds nothing"),
        (SWAP, "the disk holds swap"),
        (NOISE, "the disk holds no known file system"),
        (XFS, "the disk holds xfs, which is not read"),
        (partitioned(XFS), "partition 1 holds xfs, which is not read"),
        (at(0x400, b"\x10\x20\xf5\xf2"), "the disk holds f2fs, which is not read"),
        (at(0x8000, b"JFS1"), "the disk holds jfs, which is not read"),
        (b"5 byt", "the disk holds no known file system"),
    ],
)
def test_one_finding_says_that_no_check_could_be_made(content: bytes, wanted: str) -> None:
    """A disk without a readable system has one required finding, unknown, with the reason and no remedy."""
    (finding,) = report_on(content).findings
    assert (finding.check, finding.verdict, finding.required) == ("SYSTEM_READABLE", Verdict.UNKNOWN, True)
    assert (finding.detail, finding.remedy) == (wanted, "")


@pytest.mark.fault("FAULT-N10")
def test_a_volume_group_is_named_beside_it() -> None:
    """Of LVM it is said besides that a volume may span disks."""
    findings = report_on(at(512, b"LABELONE")).findings
    assert [each.check for each in findings] == ["SYSTEM_READABLE", "NO_SPANNED_VOLUMES"]
    assert not any(each.remedy for each in findings)


@pytest.mark.fault("FAULT-N10")
def test_what_is_unknown_has_no_remedy(tmp_path: Path) -> None:
    """Of a system that was found, only what is missing has a remedy."""
    path = tmp_path / "disk.raw"
    files = {"/etc/fstab": "#" * (2 * MIB), "/etc/udev/rules.d/70.rules": 'ATTR{address}=="a", NAME="e"\n'}
    disks.make_system_disk(path, 24 * MIB, 0, files=files)
    findings = inspect_here(FileReader(path)).findings
    assert {each.verdict for each in findings if each.remedy} == {Verdict.MISSING}
    assert any(each.verdict is Verdict.UNKNOWN for each in findings)


@pytest.mark.fault("FAULT-W10")
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (bytes(MIB), False),
        (NOISE, False),
        (SWAP, False),
        (partitioned(SWAP), False),
        (partitioned(bytes(MIB)), False),
        (optical(b"\x01CD001\x01"), False),
        (partitioned(NOISE), None),
        (partitioned(XFS), None),
        (XFS, None),
        (at(512, b"LABELONE"), None),
        (at(0, b"LUKS\xba\xbe"), None),
        (at(0x10034, b"ReIsEr2Fs"), None),
        (at(0x1055C, b"\x19\x01\x54\x19"), None),
    ],
)
def test_whether_a_system_may_be_there(content: bytes, wanted: bool | None) -> None:
    """Noise, an empty disk and swap hold no system; a partition table and what is not read may."""
    assert report_on(content).holds_system is wanted


@pytest.mark.fault("FAULT-W10")
def test_a_file_system_that_was_read_decides(tmp_path: Path) -> None:
    """A file system with a system holds one, one of logs none; one that is damaged may."""
    system, data = tmp_path / "system.raw", tmp_path / "data.raw"
    disks.make_system_disk(system, 24 * MIB, 0, table="none")
    disks.make_text_disk(data, 8 * MIB, MIB)
    assert inspect_here(FileReader(system)).holds_system is True
    assert inspect_here(FileReader(data)).holds_system is False
    overwrite(data, 1024 + 32, bytes(4))  # blocks per group
    assert inspect_here(FileReader(data)).holds_system is None


@pytest.mark.fault("FAULT-W10")
@pytest.mark.parametrize(("offset", "magic", "name"), [(1024 + 56, b"\x53\xef", "ext2"), (0, b"XFSB", "xfs")])
def test_a_disc_that_was_on_the_disk_before_is_not_its_content(offset: int, magic: bytes, name: str) -> None:
    """A file system is recognised though the descriptors of an earlier disc are left on the disk."""
    content = bytearray(optical(b"\x01CD001\x01", b"\xffCD001\x01"))
    content[offset : offset + len(magic)] = magic
    assert read_signature(BytesReader(bytes(content)), 0).type == name


@pytest.mark.fault("FAULT-W10")
def test_a_table_that_cannot_be_read_may_hold_a_system(tmp_path: Path) -> None:
    """A damaged GPT, and a disk that could not be read, decide nothing; a GPT without entries holds none."""
    path = tmp_path / "disk.raw"
    for slots, wanted in (([], False), ([gpt.Slot(gpt.LINUX, MIB, MIB, "root", disks.ROOT_UUID)], False)):
        with path.open("wb") as file:
            file.truncate(4 * MIB)
            gpt.write_gpt(file.fileno(), 4 * MIB, slots, disks.ROOT_UUID)
        assert inspect_here(FileReader(path)).holds_system is wanted
    overwrite(path, 512, b"\xff" * 512)
    overwrite(path, 4 * MIB - 512, b"\xff" * 512)
    assert inspect_here(FileReader(path)).holds_system is None
    assert unread_report("it takes too long").holds_system is None


@pytest.mark.fault("FAULT-W10")
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (optical(b"\x01CD001\x01", b"\xffCD001\x01"), "iso9660"),
        (optical(b"\x00CD001\x01EL TORITO", b"\x01CD001\x01"), "iso9660"),
        (optical(b"\x00BEA01\x01", b"\x00NSR03\x01", b"\x00TEA01\x01"), "udf"),
        (optical(b"\x01CD001\x01", b"\xffCD001\x01", b"\x00BEA01\x01", b"\x00NSR02\x01"), "iso9660"),
        (partitioned(bytes(MIB))[:512] + optical(b"\x01CD001\x01")[512:], "iso9660"),
        (optical(b"\xffCD001\x01"), ""),
        (optical(b"\x00BEA01\x01", b"\x00TEA01\x01"), ""),
        (at(0x9000, b"\x01CD001\x01"), ""),
        (NOISE, ""),
        (XFS, ""),
        (b"", ""),
    ],
)
def test_optical_discs(content: bytes, wanted: str) -> None:
    """A primary volume descriptor makes an ISO 9660, one of UDF a UDF, in a hybrid disc as well."""
    assert report_on(content).optical_format == wanted
