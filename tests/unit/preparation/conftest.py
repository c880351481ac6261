"""Small real disks to inspect, and readers over them."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from recast.preparation import linux
from recast.preparation.checks import run_checks
from recast.preparation.content import UnreadableError
from recast.preparation.report import Finding
from tests.harness import disks
from tests.harness.memory_tree import LinkTo, MemoryTree

MIB = 1 << 20
BLOCK = 4096


class FileReader:
    """A raw file as a ContentReader that counts its reads."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self._fd).st_size
        self.bytes_read = 0

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        assert offset >= 0
        assert 0 < length <= self.size_bytes - offset
        self.bytes_read += length
        return os.pread(self._fd, length, offset)

    def __del__(self) -> None:
        os.close(self._fd)


class BytesReader:
    """Bytes as a ContentReader."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        return self._content[offset : offset + length]


class FailsAt(MemoryTree):
    """A MemoryTree in which one path, and all below it, cannot be read."""

    def __init__(self, files: Mapping[str, str | LinkTo], damaged: str) -> None:
        super().__init__(files)
        self._damaged = damaged

    def _resolve(self, path: str) -> str:
        found = super()._resolve(path)
        if self._damaged and (found + "/").startswith(self._damaged + "/"):
            raise UnreadableError(f"{path} is damaged")
        return found


def _linux_finding(
    check: str, files: Mapping[str, str | LinkTo | disks.Link | None], damaged: str = ""
) -> Finding:
    content = {
        path: LinkTo(each.target) if isinstance(each, disks.Link) else each
        for path, each in {**disks.system_files("prepared"), **files}.items()
        if each is not None
    }
    findings = run_checks(linux.CHECKS, FailsAt(content, damaged))
    return next(finding for finding in findings if finding.check == check)


@pytest.fixture
def linux_finding() -> Callable[..., Finding]:
    """Give a function from a check and files to its finding on the prepared server with these files.

    None removes a file; `damaged` is a path that cannot be read.
    """
    return _linux_finding


@pytest.fixture
def bytes_reader() -> type[BytesReader]:
    """Give the reader over bytes."""
    return BytesReader


@pytest.fixture
def file_reader() -> type[FileReader]:
    """Give the reader over a file."""
    return FileReader


@pytest.fixture
def make_disk(tmp_path: Path) -> Callable[..., disks.SystemDisk]:
    """Give a maker of small system disks; its arguments are those of disks.make_system_disk."""

    def make(**kwargs: Any) -> disks.SystemDisk:
        wanted = {"size_bytes": 24 * MIB, "content_bytes": 0} | kwargs
        return disks.make_system_disk(tmp_path / "disk.raw", **wanted)

    return make


def debugfs(disk: disks.SystemDisk, command: str) -> str:
    """Run one command of debugfs, writing, on a disk without partitions."""
    program = disks.find_program("debugfs", "e2fsprogs")
    done = subprocess.run(
        [program, "-w", "-R", command, str(disk.path)], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def delete_file() -> Callable[[disks.SystemDisk, str], str]:
    """Give a function that deletes a file of a disk without partitions, as its system would."""
    return lambda disk, path: debugfs(disk, f"rm {path}")


@pytest.fixture
def plant_extent_bush() -> Callable[[disks.SystemDisk, str], None]:
    """Give a function that makes a directory's extents a tree of 340 to the sixth leaves, in six blocks."""
    return _plant_extent_bush


def _plant_extent_bush(disk: disks.SystemDisk, path: str) -> None:
    place = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", debugfs(disk, f"imap {path}"))
    free = re.search(r"found: (\d+)", debugfs(disk, "ffb 1"))
    assert place
    assert free
    inode, block = int(place[1]) * BLOCK + int(place[2], 16), int(free[1])

    def node(depth: int, entry: bytes, count: int) -> bytes:
        return struct.pack("<HHHHI", 0xF30A, count, 340, depth, 0) + entry * count

    with disk.path.open("r+b") as file:
        os.pwrite(file.fileno(), node(6, struct.pack("<IIHH", 0, block, 0, 0), 4), inode + 40)
        for level in range(5):
            child = struct.pack("<IIHH", 0, block + level + 1, 0, 0)
            os.pwrite(file.fileno(), node(5 - level, child, 340), (block + level) * BLOCK)
        os.pwrite(file.fileno(), node(0, struct.pack("<IHHI", 0, 1, 0, 5), 340), (block + 5) * BLOCK)
