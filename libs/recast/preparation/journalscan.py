"""Finds the committed blocks in the log of a jbd2 journal.

Source of the format: the kernel's Documentation/filesystems/ext4/journal.rst; of what counts as committed:
fs/jbd2/recovery.c, and e2fsck, which replays a root file system before the kernel does. All numbers are
big-endian. The content is a tenant's: a scan ends after one round of the log, and saves numbers, no content.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from recast.preparation.crc32c import INITIAL, crc32c
from recast.preparation.journalfile import JournalError, JournalFile

MAX_BLOCKS: Final = 1 << 18
"""The most blocks that are laid over a volume: the largest journal that mke2fs makes by itself, 1 GiB."""

MAGIC: Final = 0xC03B3998
_HEADER: Final = struct.Struct(">III")  # magic, type, sequence
_DESCRIPTOR, _COMMIT, _SUPERBLOCK_V1, _SUPERBLOCK_V2, _REVOKE = range(1, 6)
_SUPERBLOCK_SIZE: Final = 1024
_CHECKSUM_AT: Final = 0xFC  # in the superblock
_CRC32C_TYPE: Final = 4

_COMPAT_CHECKSUM: Final = 0x1
_INCOMPAT_64BIT: Final = 0x2
_INCOMPAT_CSUM_V2: Final = 0x8
_INCOMPAT_CSUM_V3: Final = 0x10
_INCOMPAT_FAST_COMMIT: Final = 0x20
_INCOMPAT_KNOWN: Final = 0x3F
_DEFAULT_FAST_COMMIT_BLOCKS: Final = 256
_MIN_BLOCKS: Final = 1024
_FAST_COMMIT_HEAD: Final = struct.Struct("<HHII")  # tag, length, features, sequence
_FAST_COMMIT_HEAD_TAG: Final = 9

_FLAG_ESCAPED: Final = 0x1
_FLAG_SAME_UUID: Final = 0x2
_FLAG_LAST: Final = 0x8
_UUID_SIZE: Final = 16
_TAIL_SIZE: Final = 4  # the checksum at the end of a descriptor or revoke block

_COMMIT_CHECKSUM_AT: Final = 16
_COMMIT_HEADER_SIZE: Final = 60
_REVERSED_BITS: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class LoggedBlock(NamedTuple):
    """Where the journal has a block of the volume, and how it is written there."""

    position: int
    is_escaped: bool
    seed: int
    """The seed of its checksum."""
    checksum: int | None
    checksum_mask: int


def committed_blocks(file: JournalFile, volume_block_count: int) -> dict[int, LoggedBlock]:
    """Return the newest committed copy in `file` of each block of the volume, by the block's number."""
    log = _read_log(file)
    return _Scan(file, log, volume_block_count).run() if log.start else {}


@dataclass(frozen=True)
class _Log:
    """The journal's superblock."""

    start: int
    """The block at which the oldest transaction begins; 0 if there is none."""
    first: int
    end: int
    """The block after the last of the ring."""
    sequence: int
    has_checksum_v1: bool
    has_checksum_v2: bool
    has_checksum_v3: bool
    is_64bit: bool
    seed: int
    fast_commit_block: int | None

    @property
    def is_checksummed(self) -> bool:
        return self.has_checksum_v2 or self.has_checksum_v3

    @property
    def tag_size(self) -> int:
        if self.has_checksum_v3:
            return 16
        return 8 + (2 if self.has_checksum_v2 else 0) + (4 if self.is_64bit else 0)


def _read_log(file: JournalFile) -> _Log:
    raw = file.block(0)[:_SUPERBLOCK_SIZE]
    magic, kind, _, block_size, length, first, sequence, start = struct.unpack_from(">8I", raw)
    if magic != MAGIC or kind not in (_SUPERBLOCK_V1, _SUPERBLOCK_V2) or block_size != file.block_size:
        raise JournalError("its superblock is damaged")
    compat, incompat, read_only = (
        struct.unpack_from(">III", raw, 0x24) if kind == _SUPERBLOCK_V2 else (0, 0, 0)
    )
    if incompat & ~_INCOMPAT_KNOWN or read_only:
        raise JournalError(f"it has unknown features ({incompat:#x}, {read_only:#x})")
    _check_superblock_checksum(raw, compat, incompat)
    end, fast_commit_block = length, None
    if incompat & _INCOMPAT_FAST_COMMIT:
        count = struct.unpack_from(">I", raw, 0x54)[0] or _DEFAULT_FAST_COMMIT_BLOCKS
        if length - count >= _MIN_BLOCKS:
            end, fast_commit_block = length - count, length - count + 1
        else:
            raise JournalError("it is too short for its fast commits")
    if not 0 < first < end <= length <= file.block_count or (start and not first <= start < end):
        raise JournalError("its superblock contradicts itself")
    return _Log(
        start=start,
        first=first,
        end=end,
        sequence=sequence,
        has_checksum_v1=bool(compat & _COMPAT_CHECKSUM),
        has_checksum_v2=bool(incompat & _INCOMPAT_CSUM_V2),
        has_checksum_v3=bool(incompat & _INCOMPAT_CSUM_V3),
        is_64bit=bool(incompat & _INCOMPAT_64BIT),
        seed=crc32c(INITIAL, raw[0x30:0x40]),
        fast_commit_block=fast_commit_block,
    )


def _check_superblock_checksum(raw: bytes, compat: int, incompat: int) -> None:
    kinds = (compat & _COMPAT_CHECKSUM, incompat & _INCOMPAT_CSUM_V2, incompat & _INCOMPAT_CSUM_V3)
    if sum(map(bool, kinds)) > 1:
        raise JournalError("it has checksums of two kinds")
    if not incompat & (_INCOMPAT_CSUM_V2 | _INCOMPAT_CSUM_V3):
        return
    if raw[0x50] != _CRC32C_TYPE:
        raise JournalError(f"it has checksums of an unknown type ({raw[0x50]})")
    if not _is_checksum_right(raw, INITIAL, _CHECKSUM_AT):
        raise JournalError("the checksum of its superblock is wrong")


def _is_checksum_right(block: bytes, seed: int, at: int) -> bool:
    """Return whether the number at `at` is the checksum of `block` with that number as zero."""
    (checksum,) = struct.unpack_from(">I", block, at)
    return bool(crc32c(seed, block[:at] + bytes(4) + block[at + 4 :]) == checksum)


class _Tag(NamedTuple):
    number: int
    flags: int
    checksum: int | None


class _Scan:
    """One pass over the log. A transaction's blocks count once its commit block is found.

    The kernel makes three passes: for the end, the revoke records, the blocks. One is enough: a revoke
    record concerns the copies in its own and in earlier transactions alone.
    """

    def __init__(self, file: JournalFile, log: _Log, volume_block_count: int) -> None:
        self._file = file
        self._log = log
        self._volume_block_count = volume_block_count
        self._at = log.start
        self._left = log.end - log.first + 1
        self._sequence = log.sequence
        self._commit_time = 0
        self._committed: dict[int, LoggedBlock] = {}
        self._is_suspect = False
        self._begin()

    def _begin(self) -> None:
        """Begin a transaction."""
        self._pending: dict[int, LoggedBlock] = {}
        self._revokes: list[bytes] = []
        self._crc32 = 0

    def run(self) -> dict[int, LoggedBlock]:
        """Return the committed blocks. Whatever is no block of the next transaction ends the log."""
        while True:
            block = self._file.block(self._advance())
            magic, kind, sequence = _HEADER.unpack_from(block)
            if magic != MAGIC or sequence != self._sequence:
                break
            if kind == _DESCRIPTOR:
                self._add_descriptor(block)
            elif kind == _REVOKE:
                self._is_suspect |= not self._is_tail_right(block)
                self._revokes.append(block)
            elif kind != _COMMIT or not self._is_committed(block):
                break
            else:
                self._apply()
        self._refuse_fast_commits()
        return self._committed

    def _advance(self) -> int:
        """Return the block to read, and go on to the next, from the last of the ring to the first."""
        self._left -= 1
        if self._left < 0:
            raise JournalError("its log has no end")
        at = self._at
        self._at = at + 1 if at + 1 < self._log.end else self._log.first
        return at

    def _is_tail_right(self, block: bytes) -> bool:
        return not self._log.is_checksummed or _is_checksum_right(
            block, self._log.seed, len(block) - _TAIL_SIZE
        )

    def _add_descriptor(self, block: bytes) -> None:
        # A wrong checksum may belong to an older log at the same place: the commit block decides.
        self._is_suspect |= not self._is_tail_right(block)
        self._add_to_crc32(block)
        seed = crc32c(self._log.seed, block[8:12]) if self._log.is_checksummed else 0
        mask = INITIAL if self._log.has_checksum_v3 else 0xFFFF
        for tag in _tags(block, self._log):
            index = self._advance()
            if self._log.has_checksum_v1:
                self._add_to_crc32(self._file.block(index))
            self._pending[tag.number] = LoggedBlock(
                index, bool(tag.flags & _FLAG_ESCAPED), seed, tag.checksum, mask
            )
        _check_count(self._pending)

    def _add_to_crc32(self, block: bytes) -> None:
        # The checksum is crc32_be(), whose bits are those of zlib's in the opposite order.
        if self._log.has_checksum_v1:
            self._crc32 = zlib.crc32(block.translate(_REVERSED_BITS), self._crc32)

    def _is_committed(self, block: bytes) -> bool:
        """Return whether `block` commits the transaction; if not, it ends the log."""
        (time,) = struct.unpack_from(">Q", block, 48)
        is_older = time < self._commit_time
        if self._is_suspect:
            if is_older:
                return False
            raise JournalError(f"a checksum in its transaction {self._sequence} is wrong")
        if self._log.has_checksum_v1 and not self._is_crc32_right(block):
            return False
        if self._log.is_checksummed and not _is_checksum_right(block, self._log.seed, _COMMIT_CHECKSUM_AT):
            header = block[:_COMMIT_HEADER_SIZE].ljust(len(block), b"\0")
            if not is_older and _is_checksum_right(header, self._log.seed, _COMMIT_CHECKSUM_AT):
                # Kernels with jbd2_commit_block_csum_verify_partial() apply it; older ones and e2fsck do not.
                raise JournalError(f"the commit block of its transaction {self._sequence} is torn")
            return False
        self._commit_time = time
        return True

    def _is_crc32_right(self, block: bytes) -> bool:
        kind, size = block[12], block[13]
        (checksum,) = struct.unpack_from(">I", block, _COMMIT_CHECKSUM_AT)
        if (kind, size, checksum) == (0, 0, 0):
            return True  # written without a checksum
        crc32 = int(f"{~self._crc32 & INITIAL:032b}"[::-1], 2)
        return (kind, size, checksum) == (1, 4, crc32)

    def _apply(self) -> None:
        self._committed |= self._pending
        for number in self._pending:
            if number >= self._volume_block_count:
                raise JournalError(f"it has a block {number}, which is outside the volume")
        for block in self._revokes:
            for number in self._revoked(block):
                self._committed.pop(number, None)
        _check_count(self._committed)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._begin()

    def _revoked(self, block: bytes) -> Iterator[int]:
        (size,) = struct.unpack_from(">I", block, 12)
        record = struct.Struct(">Q" if self._log.is_64bit else ">I")
        if size > len(block) - (_TAIL_SIZE if self._log.is_checksummed else 0):
            raise JournalError("a revoke block is damaged")
        for at in range(16, size - record.size + 1, record.size):
            yield record.unpack_from(block, at)[0]

    def _refuse_fast_commits(self) -> None:
        """Raise JournalError if fast commits follow the last transaction: they name changes, not blocks."""
        if self._log.fast_commit_block is None:
            return
        head = _FAST_COMMIT_HEAD.unpack_from(self._file.block(self._log.fast_commit_block))
        if head[0] == _FAST_COMMIT_HEAD_TAG and head[3] == self._sequence:
            raise JournalError("it has fast commits, which are not read")


def _check_count(blocks: dict[int, LoggedBlock]) -> None:
    if len(blocks) > MAX_BLOCKS:
        raise JournalError(f"it has more than {MAX_BLOCKS} blocks to replay")


def _tags(block: bytes, log: _Log) -> Iterator[_Tag]:
    size = log.tag_size
    end = len(block) - (_TAIL_SIZE if log.is_checksummed else 0)
    at = _HEADER.size
    while at + size <= end:
        number, checksum, flags = struct.unpack_from(">IHH", block, at)
        if log.is_64bit:
            number |= struct.unpack_from(">I", block, at + 8)[0] << 32
        if log.has_checksum_v3:
            (checksum,) = struct.unpack_from(">I", block, at + 12)
        yield _Tag(number, flags, checksum if log.is_checksummed else None)
        if flags & _FLAG_LAST:
            return
        at += size + (0 if flags & _FLAG_SAME_UUID else _UUID_SIZE)
