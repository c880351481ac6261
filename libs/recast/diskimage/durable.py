"""Files that appear whole and survive a power failure; and the locks that keep writers apart."""

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
    """Go on: what a running service does at each step."""


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
    """Make durable what another program writes within the block to a file, which may be new.

    A failed write-back is told, once, to each descriptor that is open by then, and to none that is opened
    later. Not to the program alone: qemu-img ends well although the flush of its last writes failed.
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
        # syncfs(2) has no wrapper in Python; unlike sync(2) it reports what could not be written.
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

    Raises DiskBusy at once when another holds it, unless told to wait; FileNotFoundError when it is gone.
    The lock ends when the last copy of the descriptor is closed, so a child that inherits it keeps it.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        try:
            # Waiting is for holders known to be brief: one that merges gigabytes is better come back to.
            fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise DiskBusy(f"{path} is in use by another action") from None
        if not is_open_at(fd, path):
            raise FileNotFoundError(path)  # it was renamed or removed while we reached for its lock
        yield fd
    finally:
        os.close(fd)


def building_path(target: Path) -> Path:
    """Return where `make_once` builds a file before it takes its name."""
    return target.with_name(f".{target.name}.new")


def make_once(target: Path, fill: Callable[[Path, int], None], action: str, step: Step) -> None:
    """Make a file that many may want at the same time: it is never seen unfinished, and is durable on return.

    `fill(path, fd)` writes an empty file, open read-write; it may run again after a kill. Callers at the same
    time queue on the file being built: one fills it, the others find it made.
    """
    building = building_path(target)
    while not target.exists():
        fd = os.open(building, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Waits: whoever holds the lock is making what we want.
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not is_open_at(fd, building):
                continue  # the one before us finished: its file has left this name
            if target.exists():
                building.unlink()  # ours, made by our own open after the one before us had finished
                continue
            os.ftruncate(fd, 0)  # a killed attempt may have left part of its content
            fill(building, fd)
            step(f"{action}.filled")
            os.fchmod(fd, 0o444)
            os.fsync(fd)  # before the name: what can be seen is complete even after a power failure
            step(f"{action}.durable")
            building.rename(target)
            sync_path(target.parent)  # the name itself
            step(f"{action}.named")
            return
        except BaseException:
            # Half a base may be gigabytes. The lock is still ours, so this is the file we failed to fill.
            if is_open_at(fd, building):
                building.unlink()
            raise
        finally:
            os.close(fd)
    sync_path(target.parent)  # found: who made it may have been killed before its own
