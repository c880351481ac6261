"""Atomic, durable files; and the locks that exclude concurrent writers."""

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recast.diskimage.errors import DiskBusy

Step = Callable[[str], None]
"""Called with a step's name when it is done. Tests kill the process there; the names are FORMAT.md's."""


def no_step(_name: str) -> None:
    """Do nothing: the default in a running service."""


def sync_path(path: Path) -> None:
    """Make a file's content, or a directory's names, durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        # fsync flushes all dirty pages of the file, whichever process wrote them.
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def durably_written(path: Path) -> Iterator[None]:
    """Make another program's writes within the block to a file, which may be new, durable.

    A failed write-back is reported once to each descriptor that is open by then, and to none opened later.
    The program does not suffice: qemu-img exits with 0 although the flush of its last writes failed.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        yield
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: Path) -> None:
    """Make everything written so far to the file system of `path` durable, with one call for many files."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY)
    try:
        # syncfs(2) has no wrapper in Python; unlike sync(2) it reports failed writes.
        if libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed", str(path))
    finally:
        os.close(fd)


def is_open_at(fd: int, path: Path) -> bool:
    """Whether `path` still names the file that `fd` has open."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, *, exclusive: bool, wait: bool = False) -> Iterator[int]:
    """Hold the flock of a file or directory; yields its descriptor.

    Without `wait`, raises DiskBusy at once when another holds it; FileNotFoundError when the file is removed.
    The lock ends when the last copy of the descriptor is closed, so a child that inherits it holds it.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        try:
            # `wait` is only for brief holders: a merge of gigabytes is better retried.
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise DiskBusy(f"{path.name} is in use by another action") from None
        if not is_open_at(fd, path):
            raise FileNotFoundError(path)  # it was renamed or removed before the lock was taken
        yield fd
    finally:
        os.close(fd)


def building_path(target: Path) -> Path:
    """Return where `make_once` builds a file before it takes its name."""
    return target.with_name(f".{target.name}.new")


def make_once(target: Path, fill: Callable[[Path, int], None], action: str, step: Step) -> None:
    """Make a file that many callers may need at once: never visible unfinished, and durable on return.

    `fill(path, fd)` writes an empty file, open read-write; it may run again after a kill. Callers at the same
    time queue on the file being built: one fills it, the others find it made.
    """
    building = building_path(target)
    while not target.exists():
        fd = os.open(building, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Waits: the holder of the lock is making this file.
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not is_open_at(fd, building):
                continue  # the earlier holder finished: its file was renamed
            if target.exists():
                building.unlink()  # made by our own open after the earlier holder finished
                continue
            os.ftruncate(fd, 0)  # a killed attempt may have left part of its content
            fill(building, fd)
            step(f"{action}.filled")
            os.fchmod(fd, 0o444)
            os.fsync(fd)  # before the rename: a visible file is complete even after a power failure
            step(f"{action}.durable")
            building.rename(target)
            sync_path(target.parent)  # the name
            step(f"{action}.named")
            return
        except BaseException:
            # Half a base may be gigabytes. The lock is still held, so this is the unfinished file.
            if is_open_at(fd, building):
                building.unlink()
            raise
        finally:
            os.close(fd)
    sync_path(target.parent)  # found: its maker may have been killed before the sync
