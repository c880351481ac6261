"""Reads an ext3 or ext4 volume as a boot would: with the committed blocks of its journal laid over it.

A running server's last changes are in the journal alone.
"""

from __future__ import annotations

import struct
from typing import Final

from recast.preparation.content import BudgetSpentError, ContentReader
from recast.preparation.crc32c import crc32c
from recast.preparation.journalfile import JournalError, JournalFile, read_superblock
from recast.preparation.journalscan import MAGIC, LoggedBlock, committed_blocks

SCAN_BUDGET_BYTES: Final = 128 << 20
"""The most that the scans of one disk's journals may read: descriptors, not the blocks that they describe."""


def replayed(reader: ContentReader, scan_reader: ContentReader, offset: int) -> ContentReader:
    """Return `reader` with the journal of the ext volume at `offset` bytes laid over that volume.

    The scan reads by `scan_reader`. Raises JournalError if the journal cannot be read, or is elsewhere.
    """
    superblock = read_superblock(scan_reader, offset)
    if superblock.is_journal_device:
        raise JournalError("the volume is the journal of another volume")
    if not (superblock.needs_recovery and superblock.has_journal):
        return reader
    if not superblock.journal_inode or superblock.journal_device:
        raise JournalError("it is on another device")
    try:
        blocks = committed_blocks(JournalFile(scan_reader, offset, superblock), superblock.block_count)
    except BudgetSpentError as error:
        raise JournalError(str(error)) from None
    file = JournalFile(reader, offset, superblock)
    return _ReplayedReader(reader, file, offset, blocks) if blocks else reader


class _ReplayedReader:
    """A disk with the committed blocks of one volume's journal in their places.

    A block's checksum is verified when it is read: a scan that read them all would take too long.
    """

    def __init__(
        self, reader: ContentReader, file: JournalFile, offset: int, blocks: dict[int, LoggedBlock]
    ) -> None:
        self._reader = reader
        self._file = file
        self._offset = offset
        self._blocks = blocks
        self.size_bytes = reader.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Return the `length` bytes at `offset`, fewer at the disk's end."""
        content = self._reader.pread(offset, length)
        size, start = self._file.block_size, offset - self._offset
        first, end = max(start // size, 0), -(-(start + len(content)) // size)
        numbers = [number for number in range(first, end) if number in self._blocks]
        if not numbers:
            return content
        result = bytearray(content)
        for number in numbers:
            at = number * size - start
            cut = slice(max(at, 0), min(at + size, len(result)))
            result[cut] = self._block(number)[cut.start - at : cut.stop - at]
        return bytes(result)

    def _block(self, number: int) -> bytes:
        logged = self._blocks[number]
        content = self._file.block(logged.position)
        if logged.checksum is not None:
            found = crc32c(logged.seed, content) & logged.checksum_mask
            if found != logged.checksum:
                raise JournalError(f"the checksum of its block {logged.position} is wrong")
        return struct.pack(">I", MAGIC) + content[4:] if logged.is_escaped else content
