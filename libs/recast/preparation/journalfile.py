"""Where the blocks of an ext volume's journal lie: superblock, group descriptor, inode, block map.

Source: the kernel's Documentation/filesystems/ext4, chapters "Super Block", "Block Group Descriptors",
"Index Nodes" and "The Contents of inode.i_block". The content is a tenant's: each lookup reads at most six
blocks, whatever they contain, and the reader's budget bounds the blocks that are cached.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from recast.preparation.content import ContentReader, UnreadableError

_SUPERBLOCK_OFFSET: Final = 1024
_SUPERBLOCK_SIZE: Final = 1024
_COMPAT_HAS_JOURNAL: Final = 0x4
_INCOMPAT_RECOVER: Final = 0x4
_INCOMPAT_JOURNAL_DEVICE: Final = 0x8
_INCOMPAT_META_BG: Final = 0x10
_INCOMPAT_64BIT: Final = 0x80
_MAX_LOG_BLOCK_SIZE: Final = 6  # 64 KiB
_MODE_TYPE: Final = 0xF000
_MODE_REGULAR: Final = 0x8000
_INODE_EXTENTS: Final = 0x80000

_EXTENT_HEADER: Final = struct.Struct("<HHHHI")
_EXTENT_MAGIC: Final = 0xF30A
_EXTENT_MAX_DEPTH: Final = 5
_EXTENT_MAX_LENGTH: Final = 0x8000  # a larger number marks an extent that was allocated and never written
_LEAF: Final = struct.Struct("<IHHI")
_INDEX: Final = struct.Struct("<IIHH")
_ENTRY_SIZE: Final = 12
_DIRECT_BLOCKS: Final = 12


class JournalError(UnreadableError):
    """The journal cannot be read, or needs more than its blocks to be replayed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"its journal cannot be read: {reason}")


@dataclass(frozen=True)
class ExtSuperblock:
    """The values of an ext superblock that lead to its journal."""

    block_size: int
    block_count: int
    inode_count: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    has_meta_groups: bool
    has_journal: bool
    needs_recovery: bool
    is_journal_device: bool
    journal_inode: int
    journal_device: int


def read_superblock(reader: ContentReader, offset: int) -> ExtSuperblock:
    """Return the superblock of the ext volume at `offset` bytes. Raises JournalError if it has no sense."""
    raw = reader.pread(offset + _SUPERBLOCK_OFFSET, _SUPERBLOCK_SIZE)
    if len(raw) < _SUPERBLOCK_SIZE:
        raise JournalError("the disk ends within the superblock")
    inode_count, low_count = struct.unpack_from("<II", raw, 0x0)
    (log_block_size,) = struct.unpack_from("<I", raw, 0x18)
    (inodes_per_group,) = struct.unpack_from("<I", raw, 0x28)
    (revision,) = struct.unpack_from("<I", raw, 0x4C)
    (inode_size,) = struct.unpack_from("<H", raw, 0x58)
    compat, incompat = struct.unpack_from("<II", raw, 0x5C)
    journal_inode, journal_device = struct.unpack_from("<II", raw, 0xE0)
    (descriptor_size,) = struct.unpack_from("<H", raw, 0xFE)
    (high_count,) = struct.unpack_from("<I", raw, 0x150)
    is_64bit = bool(incompat & _INCOMPAT_64BIT)
    if log_block_size > _MAX_LOG_BLOCK_SIZE or not inodes_per_group:
        raise JournalError("the superblock contradicts itself")
    return ExtSuperblock(
        block_size=1024 << log_block_size,
        block_count=low_count | (high_count << 32 if is_64bit else 0),
        inode_count=inode_count,
        inodes_per_group=inodes_per_group,
        inode_size=inode_size if revision else 128,
        descriptor_size=descriptor_size if is_64bit else 32,
        has_meta_groups=bool(incompat & _INCOMPAT_META_BG),
        has_journal=bool(compat & _COMPAT_HAS_JOURNAL),
        needs_recovery=bool(incompat & _INCOMPAT_RECOVER),
        is_journal_device=bool(incompat & _INCOMPAT_JOURNAL_DEVICE),
        journal_inode=journal_inode,
        journal_device=journal_device,
    )


class JournalFile:
    """The journal of one volume, as numbered blocks."""

    def __init__(self, reader: ContentReader, offset: int, superblock: ExtSuperblock) -> None:
        """Open the journal of the volume at `offset` bytes. Raises JournalError if its inode is damaged."""
        self._reader = reader
        self._offset = offset
        self._superblock = superblock
        self.block_size = superblock.block_size
        inode = self._inode(superblock.journal_inode)
        mode, low_size = struct.unpack_from("<H2xI", inode)
        (flags,) = struct.unpack_from("<I", inode, 0x20)
        (high_size,) = struct.unpack_from("<I", inode, 0x6C)
        if mode & _MODE_TYPE != _MODE_REGULAR:
            raise JournalError(f"inode {superblock.journal_inode} is no regular file")
        self.block_count = (low_size | high_size << 32) // self.block_size
        root = inode[0x28:0x64]
        self._map: _BlockMap = (
            _ExtentMap(root, self._volume_block)
            if flags & _INODE_EXTENTS
            else _IndirectMap(root, self._volume_block, self.block_size)
        )

    def block(self, index: int) -> bytes:
        """Return the journal's block `index`. Raises JournalError if there is none."""
        return self._at(self.offset_of(index), self.block_size)

    def offset_of(self, index: int) -> int:
        """Return where the journal's block `index` lies on the disk, in bytes."""
        number = self._map.volume_block(index) if 0 <= index < self.block_count else 0
        if not number:
            raise JournalError(f"it has no block {index}")
        return self._offset_of_volume_block(number)

    def _inode(self, number: int) -> bytes:
        if not 0 < number <= self._superblock.inode_count:
            raise JournalError(f"inode {number} does not exist")
        table, size = self._inode_table(number), self._superblock.inode_size
        if not 128 <= size <= self.block_size:
            raise JournalError(f"inodes of {size} bytes")
        start = self._offset_of_volume_block(table)
        return self._at(start + (number - 1) % self._superblock.inodes_per_group * size, 128)

    def _inode_table(self, inode: int) -> int:
        """Return the number of the first block of the inode table that holds `inode`."""
        group, size = (inode - 1) // self._superblock.inodes_per_group, self._superblock.descriptor_size
        if not 32 <= size <= self.block_size:
            raise JournalError(f"group descriptors of {size} bytes")
        if self._superblock.has_meta_groups and group >= self.block_size // size:
            raise JournalError(f"inode {inode} is in a meta block group")
        # The descriptors begin in the block after the one that holds the superblock.
        first = _SUPERBLOCK_OFFSET // self.block_size + 1
        raw = self._at(self._offset_of_volume_block(first) + group * size, size)
        (table,) = struct.unpack_from("<I", raw, 0x8)
        return int(table | (struct.unpack_from("<I", raw, 0x28)[0] << 32 if size >= 64 else 0))

    def _volume_block(self, number: int) -> bytes:
        return self._at(self._offset_of_volume_block(number), self.block_size)

    def _offset_of_volume_block(self, number: int) -> int:
        if not 0 < number < self._superblock.block_count:
            raise JournalError(f"block {number} is outside the volume")
        return self._offset + number * self.block_size

    def _at(self, offset: int, length: int) -> bytes:
        content = self._reader.pread(offset, length)
        if len(content) < length:
            raise JournalError("the disk ends before it")
        return content


class _BlockMap(Protocol):
    def volume_block(self, index: int) -> int:
        """Return the number on the volume of a file's block `index`, or 0 for a hole."""


class _ExtentMap:
    """A tree of extents. Each step of a lookup goes one level down, so that no tree is endless."""

    def __init__(self, root: bytes, read: Callable[[int], bytes]) -> None:
        self._root = root
        self._read = read
        self._nodes: dict[int, bytes] = {}

    def volume_block(self, index: int) -> int:
        node = self._root
        count, depth = _extent_header(node)
        if depth > _EXTENT_MAX_DEPTH:
            raise JournalError("its tree of extents is too deep")
        while True:
            entry = _entry_for(node, count, index)
            if entry < 0:
                return 0
            place = _EXTENT_HEADER.size + entry * _ENTRY_SIZE
            if not depth:
                start, length, high, low = _LEAF.unpack_from(node, place)
                is_inside = index - start < length <= _EXTENT_MAX_LENGTH
                return (high << 32 | low) + index - start if is_inside else 0
            _, low, high, _ = _INDEX.unpack_from(node, place)
            node = self._node(high << 32 | low)
            parent_depth = depth
            count, depth = _extent_header(node)
            if depth != parent_depth - 1:
                raise JournalError("its tree of extents is damaged")

    def _node(self, number: int) -> bytes:
        if number not in self._nodes:
            self._nodes[number] = self._read(number)
        return self._nodes[number]


def _extent_header(node: bytes) -> tuple[int, int]:
    magic, count, _, depth, _ = _EXTENT_HEADER.unpack_from(node)
    if magic != _EXTENT_MAGIC or _EXTENT_HEADER.size + count * _ENTRY_SIZE > len(node):
        raise JournalError("its tree of extents is damaged")
    return count, depth


def _entry_for(node: bytes, count: int, index: int) -> int:
    """Return which of a node's `count` entries covers the file's block `index`, or -1."""

    def start(entry: int) -> int:
        return int(struct.unpack_from("<I", node, _EXTENT_HEADER.size + entry * _ENTRY_SIZE)[0])

    return bisect_right(range(count), index, key=start) - 1


class _IndirectMap:
    """The block lists of ext2 and ext3: twelve direct blocks, then one, two and three levels of lists."""

    def __init__(self, root: bytes, read: Callable[[int], bytes], block_size: int) -> None:
        self._root = struct.unpack("<15I", root)
        self._read = read
        self._per_list = block_size // 4
        self._lists: dict[int, bytes] = {}

    def volume_block(self, index: int) -> int:
        if index < _DIRECT_BLOCKS:
            return int(self._root[index])
        index -= _DIRECT_BLOCKS
        for levels in (1, 2, 3):
            if index < self._per_list**levels:
                return self._in_lists(self._root[_DIRECT_BLOCKS + levels - 1], levels, index)
            index -= self._per_list**levels
        return 0

    def _in_lists(self, number: int, levels: int, index: int) -> int:
        for level in reversed(range(levels)):
            if not number:
                return 0
            if number not in self._lists:
                self._lists[number] = self._read(number)
            entry = index // self._per_list**level % self._per_list
            (number,) = struct.unpack_from("<I", self._lists[number], entry * 4)
        return number
