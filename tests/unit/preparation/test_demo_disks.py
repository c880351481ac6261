"""The disks that the demo and these tests are made of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.harness import disks

MIB = 1 << 20


def test_real_content(tmp_path: Path) -> None:
    """A system disk has the requested amount of this machine's content, and is sparse beyond it."""
    disk = disks.make_system_disk(tmp_path / "disk.raw", 64 * MIB, 4 * MIB)
    status = disk.path.stat()
    assert (status.st_size, disk.content_bytes) == (64 * MIB, 4 * MIB)
    assert 4 * MIB < status.st_blocks * 512 < 24 * MIB


def test_file_system_is_whole(tmp_path: Path) -> None:
    """The root file system passes e2fsck, and has the UUID it was given."""
    disk = disks.make_system_disk(tmp_path / "disk.raw", 24 * MIB, 0, table="none")
    program = disks.find_program("e2fsck", "e2fsprogs")
    subprocess.run([program, "-fn", str(disk.path)], check=True, capture_output=True)
    assert disks.ROOT_UUID.bytes in disk.path.read_bytes()[1024:2048]


def test_incompressible(tmp_path: Path) -> None:
    """Noise is the same for the same seed, another for another, and exactly of the requested length."""
    paths = [tmp_path / name for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        disks.make_incompressible_disk(path, 4 * MIB, MIB + 512, seed)
    first, same, other = (path.read_bytes() for path in paths)
    assert first == same != other
    assert (len(first), first[MIB + 512 :]) == (4 * MIB, bytes(3 * MIB - 512))


def test_text(tmp_path: Path) -> None:
    """A text disk is one ext4 without partitions, of readable lines."""
    disks.make_text_disk(tmp_path / "disk.raw", 16 * MIB, 2 * MIB)
    content = (tmp_path / "disk.raw").read_bytes()
    assert content[1080:1082] == b"\x53\xef"
    assert content.count(b"/orders/") > 20_000


@pytest.mark.parametrize("compressed", [False, True])
def test_qcow2(tmp_path: Path, compressed: bool) -> None:
    """A qcow2, compressed or not, has the raw disk's content."""
    raw, qcow2 = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    disks.make_incompressible_disk(raw, 4 * MIB, MIB)
    disks.to_qcow2(raw, qcow2, compressed)
    program = disks.find_program("qemu-img", "qemu-utils")
    subprocess.run([program, "compare", "-f", "raw", "-F", "qcow2", str(raw), str(qcow2)], check=True)
    info = subprocess.run([program, "info", "--output=json", str(qcow2)], check=True, capture_output=True)
    assert json.loads(info.stdout)["format"] == "qcow2"


def test_missing_tool() -> None:
    """A program that is not there is named with the package that holds it."""
    with pytest.raises(disks.ToolMissingError, match="install the package e2fsprogs"):
        disks.find_program("mke2fs-of-another-world", "e2fsprogs")
