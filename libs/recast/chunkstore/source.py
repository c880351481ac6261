"""The interfaces that a caller implements: a disk to read, and a progress callback."""

from collections.abc import Callable, Iterator
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes total) by the calling thread, after each chunk and once before the first.

It may raise to abort: the worker threads are joined, no index is written, and the exception propagates.
"""


class DiskSource(Protocol):
    """A disk to read; it must not change meanwhile."""

    @property
    def size_bytes(self) -> int:
        """The size of the disk; any number of bytes."""
        ...

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) in bytes, ascending, not overlapping; everything else reads as zeros."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`, zeros where there is a hole; safe from any thread."""
        ...
