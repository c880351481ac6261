"""The bytes to inspect, and the limit on the bytes that one inspection may read."""

from __future__ import annotations

from typing import Protocol

READ_BUDGET_BYTES = 64 << 20
"""The most that one inspection may read. An ordinary disk needs about 3 MiB; a crafted one ends here."""


class ContentReader(Protocol):
    """A disk's content. An error that `pread` raises passes through an inspection unchanged."""

    @property
    def size_bytes(self) -> int:
        """The disk's size in bytes."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Return the `length` bytes at `offset`; both lie within `size_bytes`."""


class UnreadableError(Exception):
    """A file or structure exists but cannot be read; the message names it and the reason."""


class NotRegularError(UnreadableError):
    """A directory, device, pipe or socket is where a file could be."""


class TooLargeError(UnreadableError):
    """A file is larger than what is read of one."""


class BudgetSpentError(UnreadableError):
    """An inspection read more bytes than its budget."""


class BudgetedReader:
    """Forwards reads until the budget is spent, and truncates them at the disk's end."""

    def __init__(self, reader: ContentReader, budget_bytes: int = READ_BUDGET_BYTES) -> None:
        self._reader = reader
        self._budget = self._left = budget_bytes
        self.size_bytes = reader.size_bytes
        self.reads = 0
        self.bytes_read = 0

    def pread(self, offset: int, length: int) -> bytes:
        """Return at most `length` bytes at `offset`: fewer, or none, only at the disk's end."""
        length = min(length, self.size_bytes - offset)
        if offset < 0 or length <= 0:
            return b""
        if length > self._left:
            raise BudgetSpentError(f"more than {self._budget} bytes would have to be read")
        self._left -= length
        self.reads += 1
        self.bytes_read += length
        return self._reader.pread(offset, length)
