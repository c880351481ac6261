"""The bytes to inspect, and the bound on how many of them one inspection may ask for."""

from __future__ import annotations

from typing import Protocol

READ_BUDGET_BYTES = 64 << 20
"""What one inspection may read. An ordinary one reads about 3 MiB; one made to take long ends here."""


class ContentReader(Protocol):
    """A disk's content. An error that `pread` raises passes through an inspection unchanged."""

    @property
    def size_bytes(self) -> int:
        """The disk's size in bytes."""
        ...

    def pread(self, offset: int, length: int) -> bytes:
        """Return the `length` bytes at `offset`; both lie within `size_bytes`."""


class UnreadableError(Exception):
    """Something is there but cannot be read; the text says what and why."""


class BudgetSpentError(UnreadableError):
    """An inspection asked for more bytes than its budget."""


class BudgetedReader:
    """Passes reads on until the budget is spent, and cuts them at the disk's end."""

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
