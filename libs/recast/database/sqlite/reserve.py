"""A file beside a SQLite database that takes space, and is removed when the storage is full.

So on a full storage resources can be deleted and chunks be collected, which frees space; only what takes
space is refused.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

from recast.faults import StorageFull

# More than one write takes: its pages in the WAL, and their place in the file at the next checkpoint.
_WRITE_BYTES = 4 << 20


class Reserve:
    """The reserve of one database. A process has one write at a time; processes may share the file."""

    def __init__(self, database: Path, size_bytes: int) -> None:
        self.path = database.with_name(f"{database.name}.reserve")
        self._database = database
        self._size_bytes = size_bytes
        self._is_laid = self.path.exists()

    def prepare(self, takes_space: bool) -> None:
        """Called before each write. Frees the reserve for a write that could not be written without it.

        StorageFull for a write that begins what takes space, until the reserve could be laid again.
        """
        free = _free_bytes(self._database.parent)
        if not self._is_laid and free >= 2 * self._size_bytes:
            self._lay()
        if takes_space and not self._is_laid:
            raise self.full()
        if self._is_laid and free < _WRITE_BYTES:
            if takes_space:
                raise self.full()
            self.free()

    def free(self) -> None:
        """Removes the file, so that the next write has its space."""
        self._is_laid = False
        with suppress(OSError):  # another process was first
            self.path.unlink()

    def full(self) -> StorageFull:
        """The refusal of what takes space."""
        return StorageFull(free_bytes=_free_bytes(self._database.parent))

    def _lay(self) -> None:
        """Blocks, and not a hole. A storage that cannot give them is as good as full."""
        with suppress(OSError):
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size_bytes)
                self._is_laid = True
            finally:
                os.close(fd)
                if not self._is_laid:
                    self.path.unlink(missing_ok=True)


def _free_bytes(folder: Path) -> int:
    try:
        room = os.statvfs(folder)
    except OSError:  # the write itself finds out why
        return sys.maxsize
    return room.f_bavail * room.f_frsize
