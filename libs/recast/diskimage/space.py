"""Free bytes of a file system, and the reservation of a file's space before it is written."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from recast.diskimage.errors import OutOfSpace


def free_bytes(folder: Path) -> int:
    """Return the bytes that a process without privileges may still write to the folder's file system."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def reserve(path: Path, size_bytes: int, extents: Iterable[tuple[int, int]], needed_bytes: int) -> None:
    """Make a file of `size_bytes` that reads as zeros, and has blocks for the (offset, length) `extents`.

    `needed_bytes` is the sum of their lengths. Raises OutOfSpace.
    """
    # Before the first block: a file that cannot be whole would take the last free bytes from other writers.
    if (free := free_bytes(path.parent)) < needed_bytes:
        raise OutOfSpace(needed_bytes, free)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        for offset, length in extents:
            os.posix_fallocate(fd, offset, length)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(needed_bytes, free_bytes(path.parent)) from error
        raise
    finally:
        os.close(fd)
