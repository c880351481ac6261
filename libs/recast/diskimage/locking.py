"""The lock on a disk's folder, which every action on the disk holds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recast.diskimage.durable import locked
from recast.diskimage.errors import DiskBusy, DiskNotFound


@contextmanager
def disk_locked(folder: Path, *, exclusive: bool) -> Iterator[int]:
    """Hold the flock of a disk; yields its descriptor. Raises DiskBusy at once, or DiskNotFound."""
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(folder, exclusive=exclusive))
        except FileNotFoundError:
            raise DiskNotFound(folder.name) from None
        except DiskBusy:
            raise DiskBusy(f"disk {folder.name} is in use by another action", folder.name) from None
        yield lock
