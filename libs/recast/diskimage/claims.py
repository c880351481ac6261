"""Ranges of a file that must not overlap, in bounded memory."""

import heapq
from array import array
from collections.abc import Iterator

from recast.diskimage.import_refusals import IsDamaged, IsTooFragmented
from recast.diskimage.qemu_img import Watch

SECTOR_BYTES = 512
# A claim of the most sectors that its key can count is continued by another claim.
_MOST_SECTORS = (1 << 16) - 1
# 128 MiB: 1 TiB of compressed data, or of plain data without two neighbouring clusters.
MOST_CLAIMS = 16 << 20
# Sorted at once: Python's integers take four times the memory of the array's.
_SORTED_AT_ONCE = 1 << 18
_WATCHED_EVERY = 1 << 16


class Claims:
    """The ranges of a file that its header, its tables and its entries name, each of them once.

    A range is a key of 64 bits: its first byte, whether its end is certain, its number of sectors. The length
    of a compressed cluster is known to the sector only: its last byte lies in the last sector.
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        # The range that `add` continues: files are written in order, so that most clusters are neighbours.
        self._start = self._end = 0

    def add(self, start: int, length: int) -> None:
        """Claim `length` bytes; both numbers are multiples of 512."""
        end = start + length
        while start < end:
            part = min(end, start + _MOST_SECTORS * SECTOR_BYTES)
            if start != self._end or part - self._start > _MOST_SECTORS * SECTOR_BYTES:
                self._flush()
                self._start = start
            start = self._end = part

    def add_compressed(self, start: int, end: int) -> None:
        """Claim a compressed cluster that begins at `start`, and ends within the sector before `end`."""
        # Never joined: whether two of them are neighbours is not certain, and QEMU writes them in any order.
        self._append(start, end, is_compressed=True)

    def _flush(self) -> None:
        if self._end:
            self._append(self._start, self._end, is_compressed=False)
            self._start = self._end = 0

    def _append(self, start: int, end: int, *, is_compressed: bool) -> None:
        if len(self._keys) == MOST_CLAIMS:
            raise IsTooFragmented(MOST_CLAIMS)
        first_sector = start // SECTOR_BYTES
        self._keys.append(start << 17 | is_compressed << 16 | end // SECTOR_BYTES - first_sector)

    def check(self, watch: Watch | None) -> None:
        """Raise IsDamaged when two of the claims so far overlap; others may follow."""
        if len(self._keys) < MOST_CLAIMS:
            self._flush()
        certain_end = 0
        for number, key in enumerate(self._sorted()):
            if watch is not None and number % _WATCHED_EVERY == _WATCHED_EVERY - 1:
                watch()
            start, is_compressed, sectors = key >> 17, key >> 16 & 1, key & _MOST_SECTORS
            if start < certain_end:
                raise IsDamaged(f"two of its entries name the cluster at byte {start} of the file")
            end = (start // SECTOR_BYTES + sectors) * SECTOR_BYTES
            certain_end = max(start + 1, end - (SECTOR_BYTES - 1) * is_compressed)

    def _sorted(self) -> Iterator[int]:
        runs = [
            array("Q", sorted(self._keys[first : first + _SORTED_AT_ONCE]))
            for first in range(0, len(self._keys), _SORTED_AT_ONCE)
        ]
        return heapq.merge(*runs)
