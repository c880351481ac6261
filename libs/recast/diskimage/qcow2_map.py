"""The map of an untrusted qcow2 file: the place in the file of each byte of the disk.

Read without QEMU, so that what was checked is what is read. A map is sound when every table and every cluster
lies within the file, and no two entries name the same bytes of it: a file then holds at least one byte for
each byte of a plain disk, and it takes time and memory in proportion to the file alone. The reference counts
are not read: no content depends on them, and a writer that was killed leaves them behind.
Source: docs/interop/qcow2.txt of QEMU.
"""

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recast.diskimage.claims import SECTOR_BYTES, Claims
from recast.diskimage.import_refusals import IsDamaged, IsTooFragmented
from recast.diskimage.qcow2_header import FEATURE_EXTENDED_L2, Qcow2Header
from recast.diskimage.qemu_img import Watch
from recast.diskimage.reader import Extents

PLAIN, UNPACKED = 0, 1
"""The files of a map's extents: the qcow2 itself, and the raw file that its compressed clusters go to."""

_OFFSET = 0x00FFFFFFFFFFFE00
_IS_COMPRESSED = 1 << 62
_READS_AS_ZEROS = 1
_ENTRY_BYTES = 8
_SUBCLUSTERS = 32
_ALL_ALLOCATED = (1 << _SUBCLUSTERS) - 1
# 100 MiB; an extent is as long as its neighbours on the disk are neighbours in the file.
MOST_EXTENTS = 4 << 20
# Of tables between calls of the watch: 30 ms.
_WATCHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Qcow2Map:
    """The data of a disk in a qcow2 file. `data_bytes` and `compressed_bytes` are lengths on the disk."""

    extents: Extents
    data_bytes: int
    compressed_bytes: int


def read_map(path: Path, header: Qcow2Header, watch: Watch | None = None) -> Qcow2Map:
    """Read and check the map of a file whose header was accepted.

    `watch` is called periodically, and may raise. Raises IsDamaged, or IsTooFragmented.
    """
    with path.open("rb") as file:
        return _Scan(file, path.stat().st_size, header, watch).run()


class _Scan:
    """One reading of all tables."""

    def __init__(self, file: BinaryIO, file_bytes: int, header: Qcow2Header, watch: Watch | None) -> None:
        self._file = file
        self._file_bytes = file_bytes
        self._header = header
        self._watch = watch
        self._cluster_bytes = 1 << header.cluster_bits
        self._words = 2 if header.incompatible_features & FEATURE_EXTENDED_L2 else 1
        self._covered_bytes = self._cluster_bytes // (_ENTRY_BYTES * self._words) * self._cluster_bytes
        self._claims = Claims()
        self._extents = Extents()
        self._data_bytes = 0
        self._compressed_bytes = 0

    def run(self) -> Qcow2Map:
        """Read everything."""
        self._claims.add(0, self._cluster_bytes)
        self._claim_refcounts()
        try:
            for start, table in self._l2_tables():
                if self._words == 2:
                    self._read_extended(start, table)
                else:
                    self._read_standard(start, table)
        except IsTooFragmented:
            self._claims.check(self._watch)  # the true reason of a file that names one cluster over and over
            raise
        self._claims.check(self._watch)
        return Qcow2Map(self._extents, self._data_bytes, self._compressed_bytes)

    def _claim_refcounts(self) -> None:
        """The counts are not used, but data that lies in their clusters was overwritten."""
        header = self._header
        length = header.refcount_table_clusters << header.cluster_bits
        for entry in self._table(header.refcount_table_offset, length, "its refcount table"):
            block = entry & _OFFSET
            if block and block < self._file_bytes:
                self._claims.add(block, self._cluster_bytes)

    def _l2_tables(self) -> Iterator[tuple[int, "array[int]"]]:
        """Yield the L2 tables with the disk's first byte that each maps; not those without an entry."""
        header = self._header
        count = -(-header.size_bytes // self._covered_bytes)
        if header.l1_entries < count:
            raise IsDamaged("its L1 table is too small for its size")
        l1 = self._table(header.l1_offset, header.l1_entries * _ENTRY_BYTES, "its L1 table")[:count]
        self._claim_l2_tables(l1)
        unwatched_bytes = 0
        for index, entry in enumerate(l1):
            if offset := entry & _OFFSET:
                unwatched_bytes += self._cluster_bytes
                if self._watch is not None and unwatched_bytes >= _WATCHED_BYTES:
                    self._watch()
                    unwatched_bytes = 0
                self._file.seek(offset)
                table = _words(self._file.read(self._cluster_bytes))
                if any(table):
                    yield index * self._covered_bytes, table

    def _claim_l2_tables(self, l1: "array[int]") -> None:
        """Each L2 table is read once: a file of tables takes the time to read the file."""
        for entry in l1:
            if offset := entry & _OFFSET:
                self._claim_table(offset, self._cluster_bytes, "an L2 table")
        self._claims.check(self._watch)

    def _table(self, offset: int, length: int, name: str) -> "array[int]":
        self._claim_table(offset, length, name)
        self._file.seek(offset)
        return _words(self._file.read(length))

    def _claim_table(self, offset: int, length: int, name: str) -> None:
        if offset % self._cluster_bytes:
            raise IsDamaged(f"{name} does not begin at a cluster")
        if offset + length > self._file_bytes:
            raise IsDamaged(f"the file ends before {name}, or within it; send the whole file")
        self._claims.add(offset, -(-length // SECTOR_BYTES) * SECTOR_BYTES)

    def _read_standard(self, start: int, table: "array[int]") -> None:
        for index, entry, count in self._runs(table):
            at = start + index * self._cluster_bytes
            if at >= self._header.size_bytes:
                return
            if entry & _IS_COMPRESSED:
                self._add_compressed(at, entry)
            elif not entry & _READS_AS_ZEROS:
                self._add_plain(at, entry & _OFFSET, count)
            elif self._header.version > 2:
                self._claim_unused(entry & _OFFSET)
            else:
                raise IsDamaged("it uses the entry of zeros, which its version of qcow2 does not have")

    def _runs(self, table: "array[int]") -> Iterator[tuple[int, int, int]]:
        """Yield (index, entry, count) of the entries that are not empty.

        `count` plain clusters are one entry where they follow each other in the file too: most of a disk.
        """
        empty = _READS_AS_ZEROS if self._header.version > 2 else 0
        first = run = 0
        following = -1
        for index, entry in enumerate(table):
            if entry == following:
                following += self._cluster_bytes
                continue
            if run:
                yield first, run, index - first
                run, following = 0, -1
            if entry in (0, empty):
                continue
            if entry & (_IS_COMPRESSED | _READS_AS_ZEROS):
                yield index, entry, 1
            else:
                first, run, following = index, entry, entry + self._cluster_bytes
        if run:
            yield first, run, len(table) - first

    def _read_extended(self, start: int, table: "array[int]") -> None:
        for index in range(0, len(table), 2):
            entry, bitmap = table[index], table[index + 1]
            if entry == 0 and bitmap & _ALL_ALLOCATED == 0:
                continue
            at = start + index // 2 * self._cluster_bytes
            if at >= self._header.size_bytes:
                return
            zeros, allocated = bitmap >> _SUBCLUSTERS, bitmap & _ALL_ALLOCATED
            offset = entry & _OFFSET
            if (entry & _IS_COMPRESSED and bitmap) or zeros & allocated or (allocated and not offset):
                raise IsDamaged(f"the subclusters at byte {at} of the disk contradict each other")
            if entry & _IS_COMPRESSED:
                self._add_compressed(at, entry)
            elif allocated == _ALL_ALLOCATED:
                self._add_plain(at, offset)
            else:
                self._add_subclusters(at, offset, allocated)

    def _add_plain(self, at: int, offset: int, count: int = 1) -> None:
        if offset == 0:
            return
        within = min(count, -(-(self._header.size_bytes - at) // self._cluster_bytes))
        self._add_data(at, within * self._cluster_bytes, PLAIN, offset)
        self._claim_clusters(offset, within)

    def _add_subclusters(self, at: int, offset: int, allocated: int) -> None:
        self._claim_unused(offset)
        length = self._cluster_bytes // _SUBCLUSTERS
        for number in range(_SUBCLUSTERS):
            position = number * length
            if allocated >> number & 1 and at + position < self._header.size_bytes:
                self._add_data(at + position, length, PLAIN, offset + position)

    def _add_compressed(self, at: int, entry: int) -> None:
        offset_bits = 62 - (self._header.cluster_bits - 8)
        offset = entry & ((1 << offset_bits) - 1)
        more_sectors = (entry & (_IS_COMPRESSED - 1)) >> offset_bits
        end = (offset // SECTOR_BYTES + 1 + more_sectors) * SECTOR_BYTES
        # Its last byte lies in its last sector, at the end of the file perhaps.
        if end - SECTOR_BYTES >= self._file_bytes:
            raise IsDamaged(_ends_before(at))
        self._claims.add_compressed(offset, end)
        self._compressed_bytes += self._cluster_bytes
        self._add_data(at, self._cluster_bytes, UNPACKED, at)

    def _claim_unused(self, offset: int) -> None:
        """Claim a cluster that need not be in the file: it reads as zeros, or is read in part."""
        if offset and offset < self._file_bytes:
            self._claim_clusters(offset, 1)

    def _claim_clusters(self, offset: int, count: int) -> None:
        if offset % self._cluster_bytes:
            raise IsDamaged(f"it has data at byte {offset} of the file, where no cluster begins")
        self._claims.add(offset, count * self._cluster_bytes)

    def _add_data(self, at: int, length: int, file: int, offset: int) -> None:
        """Add data of the disk, cut to the disk's end: QEMU need not write the rest of the last cluster."""
        length = min(length, self._header.size_bytes - at)
        if file == PLAIN and offset + length > self._file_bytes:
            raise IsDamaged(_ends_before(at))
        self._data_bytes += length
        self._extents.append(at, length, file, offset)
        if len(self._extents.starts) > MOST_EXTENTS:
            raise IsTooFragmented(MOST_EXTENTS)


def _ends_before(at: int) -> str:
    return f"the file ends before the data of byte {at} of the disk, or within it; send the whole file"


def _words(content: bytes) -> "array[int]":
    words = array("Q")
    words.frombytes(content)
    if sys.byteorder == "little":
        words.byteswap()
    return words
