"""Objects in a directory: obstore's local store, with durability added."""

import ctypes
import errno
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.store import LocalStore

from .errors import ObjectUnfit, StoreIoError
from .objects import MOST_BYTES, Buffer, ObstoreObjects, check_size, failing_as

_STAGED = re.compile(r".+#\d+")  # obstore's name for a file not yet linked to its own; its listing skips them


class LocalObjects(ObstoreObjects):
    """Objects as files under one directory, on one file system. Linux only, for `syncfs`."""

    failure = StoreIoError

    def __init__(self, root: Path) -> None:
        with failing_as(StoreIoError, "open", str(root)):
            root.mkdir(parents=True, exist_ok=True)
            # Two threads: compression is the limit, and more only wait for the same cores and the same disk.
            super().__init__(LocalStore(prefix=root), concurrency=2, puts_are_durable=False)
            self._root = root
            # Opened before the first put: a failed write-back is reported only to descriptors open by then.
            # One opened at the barrier could miss an error already reported elsewhere.
            self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._close = weakref.finalize(self, os.close, self._root_fd)

    def get(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return a file's bytes; None if there is none."""
        with self._opened("get", name) as fd:
            return None if fd is None else _read(fd, name, most_bytes)

    def read_back(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return the device's bytes: clean pages are dropped first.

        After a failed write-back the kernel treats the lost pages as clean, and would return bytes that are
        on no disk. Dirty pages stay, and are covered by our own barrier.
        """
        with self._opened("read", name) as fd:
            if fd is None:
                return None
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return _read(fd, name, most_bytes)

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None if there is none. It is not opened."""
        with self._failing("stat", name):
            try:
                found = os.stat(self._root / name, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return found.st_size if _is_object(found, name) else None

    @contextmanager
    def _opened(self, doing: str, name: str) -> Iterator[int | None]:
        """Open a regular file; give None if there is none.

        Whoever can write to the folder can put anything there: the opening neither follows a link nor waits
        for the other end of a pipe, and a device is not read.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._failing(doing, name):
            try:
                fd = os.open(self._root / name, flags)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link; a socket
                    raise ObjectUnfit(f"{name}: not a regular file") from error
                raise
            try:
                yield fd if _is_object(os.fstat(fd), name) else None
            finally:
                os.close(fd)

    def replace(self, name: str, data: Buffer) -> None:
        """Write beside, fsync, rename: a rename may reach the disk before the bytes that it names."""
        path = self._root / name
        staged = path.with_name(f"{path.name}#{secrets.randbits(63)}")  # a leftover is swept like obstore's
        with self._failing("put", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(staged, "xb", buffering=0) as file:
                    _write_all(file.fileno(), data)
                    os.fsync(file.fileno())
                os.replace(staged, path)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise

    def barrier(self) -> None:
        """Flush the whole file system: one call for all files and all their directories."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(self._root_fd) != 0:  # ctypes releases the GIL during the call
            error = ctypes.get_errno()
            raise StoreIoError(f"syncfs {self._root}: {os.strerror(error)}")

    def remove_leftovers(self, prefix: str) -> int:
        """Remove staged files that a killed put left; they may be links to whole objects, which stay."""
        removed = 0
        with self._failing("sweep", prefix):
            for folder, _, files in os.walk(self._root / prefix):
                for file in filter(_STAGED.fullmatch, files):
                    os.unlink(os.path.join(folder, file))
                    removed += 1
        return removed

    def close(self) -> None:
        """Close the directory."""
        self._close()


def _is_object(found: os.stat_result, name: str) -> bool:
    """Tell whether a file is an object: a folder has no object's name. ObjectUnfit for any other kind."""
    if stat.S_ISDIR(found.st_mode):
        return False
    if not stat.S_ISREG(found.st_mode):
        raise ObjectUnfit(f"{name}: not a regular file")
    return True


def _read(fd: int, name: str, most_bytes: int) -> memoryview:
    """Return the bytes of a file that has no more than `most_bytes`, not even while it is read."""
    size = os.fstat(fd).st_size
    check_size(name, size, most_bytes)
    data, done = bytearray(size), 0
    while done < size and (count := os.readv(fd, [memoryview(data)[done:]])):
        done += count
    return memoryview(data)[:done].toreadonly()


def _write_all(fd: int, data: Buffer) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
