"""Objects in a directory: obstore's local store, with durability added."""

import ctypes
import os
import re
import secrets
import weakref
from pathlib import Path

from obstore.store import LocalStore

from .errors import StoreIoError
from .objects import Buffer, ObstoreObjects, failing_as

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

    def read_back(self, name: str) -> memoryview | None:
        """Return the device's bytes: clean pages are dropped first.

        After a failed write-back the kernel treats the lost pages as clean, and would return bytes that are
        on no disk. Dirty pages stay, and are covered by our own barrier.
        """
        with self._failing("read", name):
            try:
                with open(self._root / name, "rb", buffering=0) as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    return memoryview(file.readall())
            except FileNotFoundError:
                return None

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


def _write_all(fd: int, data: Buffer) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
