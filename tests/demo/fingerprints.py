"""The digest of a disk's whole content, which does not depend on its holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from recast.diskimage import DiskHost

BLOCK = 64 << 10
_PIECE = 16 * BLOCK
_ZEROS = bytes(BLOCK)


class Content(Protocol):
    """A disk's bytes. Outside of `data_extents` all are zero; inside, any may be."""

    size_bytes: int

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) in bytes, ascending, apart."""

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes."""


class RawFile:
    """The content of a raw file, read without Recast: the demo's own disks are not judged by it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self._fd).st_size

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """See `Content`."""
        end = 0
        while (start := self._next_data(end)) is not None:
            end = os.lseek(self._fd, start, os.SEEK_HOLE)
            yield start, end - start

    def pread(self, offset: int, length: int) -> bytes:
        """See `Content`."""
        return os.pread(self._fd, length, offset)

    def _next_data(self, offset: int) -> int | None:
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return None
            raise


def fingerprint(content: Content) -> str:
    """Return the BLAKE3, in hex, of the size and of (offset, content) of each 64 KiB block that is not zero.

    Two disks have the same one if and only if a guest reads the same bytes from both.
    """
    digest = blake3(content.size_bytes.to_bytes(8, "little"))
    for start, end in _whole_blocks(content):
        for at in range(start, end, _PIECE):
            piece = content.pread(at, min(_PIECE, end - at))
            for within in range(0, len(piece), BLOCK):
                block = piece[within : within + BLOCK]
                if block != _ZEROS[: len(block)]:
                    digest.update((at + within).to_bytes(8, "little"))
                    digest.update(block)
    return str(digest.hexdigest())


def fingerprint_of_file(path: Path) -> str:
    """The fingerprint of a raw file."""
    with closing(RawFile(path)) as content:
        return fingerprint(content)


def fingerprint_of_disk(path: Path) -> str:
    """The fingerprint of a disk of ECS, by the path of its connection."""
    # .../disks/<id>/active.qcow2 in the host's data folder, see FORMAT.md of libs/recast/diskimage.
    with DiskHost(path.parents[2]).disk(path.parent.name).reader() as content:
        return fingerprint(content)


def _whole_blocks(content: Content) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of whole blocks with data in them, each block once, cut at the disk's end."""
    done = 0
    for offset, length in content.data_extents():
        start = max(done, offset // BLOCK * BLOCK)
        done = min(content.size_bytes, -(-(offset + length) // BLOCK) * BLOCK)
        if start < done:
            yield start, done
