"""QEMU's own locks on an image file: a program that would write to it is held off."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recast.diskimage.errors import DiskBusy

# QEMU, block/file-posix.c: a program holds the byte 100 + n for each permission n that it uses, and
# 200 + n for each that it does not share. Permission 1 is to write.
_USES_WRITE = 101
_REFUSES_WRITE = 201
# struct flock of 64-bit Linux: type, whence, start, length, pid (0 for these locks).
_FLOCK = struct.Struct("hhqqi4x")


@contextmanager
def writers_excluded(image: Path, disk_id: str) -> Iterator[None]:
    """Let no QEMU open the image file for writing within the block; readers are let in.

    Raises DiskBusy while one has it open for writing.
    """
    fd = os.open(image, os.O_RDONLY)
    try:
        # Locks of the open file, so that another thread's descriptor of the same file does not end them.
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _REFUSES_WRITE, 1, 0))
        query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _USES_WRITE, 1, 0)
        held_by = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, query))[0]
        if held_by != fcntl.F_UNLCK:
            raise DiskBusy(f"disk {disk_id} is open for writing in a hypervisor", disk_id)
        yield
    finally:
        os.close(fd)
