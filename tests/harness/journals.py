"""Writes transactions into the journal of an ext volume, as a running server's kernel would leave them.

It can write what debugfs cannot: rings that wrap, 64-bit tags, checksums of every kind, torn transactions.
The format is that of the kernel's Documentation/filesystems/ext4/journal.rst.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from tests.harness import disks

MAGIC: Final = 0xC03B3998
MAGIC_BYTES: Final = struct.pack(">I", MAGIC)
REVOKES, WIDE, ASYNC, CSUM2, CSUM3, FAST_COMMIT = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
"""The journal's incompatible features."""
CSUM1: Final = 0x1
"""The journal's compatible feature."""
_NEEDS_RECOVERY: Final = 0x4
_METADATA_CSUM: Final = 0x400


class End(Enum):
    """How a transaction ends."""

    COMMITTED = "committed"
    CUT = "without a commit block"
    OVERWRITTEN = "the commit block is noise"
    WRONG_CHECKSUM = "the checksum of the commit block is wrong"
    STALE = "a part of an older log: the checksums of its descriptors are wrong, and its time is earlier"
    CORRUPT = "the checksum of a descriptor is wrong"


@dataclass(frozen=True)
class Transaction:
    """The blocks that a transaction writes, those that it revokes, and its end."""

    blocks: Mapping[int, bytes] = field(default_factory=dict)
    revoked: Sequence[int] = ()
    end: End = End.COMMITTED


def make_volume(path: Path, block_size: int, size_bytes: int, *options: str) -> None:
    """Make an ext volume with a journal of 1024 blocks; options of mke2fs may add files, or omit it."""
    path.write_bytes(b"")
    os.truncate(path, size_bytes)
    program = disks.find_program("mke2fs", "e2fsprogs")
    journal = () if "^has_journal" in options else ("-J", f"size={block_size * 1024 >> 20}")
    command = [program, "-q", "-F", "-b", str(block_size), *journal, "-E", "nodiscard", *options, str(path)]
    subprocess.run(command, check=True, capture_output=True)


def make_fragmented_volume(path: Path) -> None:
    """Make an ext4 volume of 4 MiB whose journal has a tree of extents, one each block."""
    make_volume(path, 1024, 4096 * 1024, "-t", "ext4", "-O", "^has_journal")
    used = free_blocks(path, 4000, first=1)[::2]
    debugfs(path, (f"setb {number}" for number in used))
    program = disks.find_program("tune2fs", "e2fsprogs")
    subprocess.run([program, "-J", "size=1", str(path)], check=True, capture_output=True)
    debugfs(path, (f"freeb {number}" for number in used))


def log_change(path: Path, commands: Iterable[str], opened: str = "jo", has_superblock: bool = False) -> None:
    """Log what debugfs' `commands` change on a volume as one transaction of its journal, and change no more.

    The volume's superblock is not logged unless `has_superblock`; `opened` is the command for the journal.
    """
    changed = path.with_name("changed.raw")
    shutil.copy(path, changed)
    debugfs(changed, commands)
    before, after = path.read_bytes(), changed.read_bytes()
    size = 1024 << struct.unpack_from("<I", before, 1024 + 0x18)[0]
    numbers = [
        at // size
        for at in range(0, len(before), size)
        if before[at : at + size] != after[at : at + size] and (has_superblock or at != 1024 // size * size)
    ]
    content = path.with_name("blocks")
    content.write_bytes(b"".join(after[number * size : (number + 1) * size] for number in numbers))
    debugfs(path, [opened, f"jw -b {','.join(map(str, numbers))} {content}", "jc"])


def debugfs(path: Path, commands: Iterable[str]) -> str:
    """Run commands of debugfs on a volume, and return what they print."""
    program = disks.find_program("debugfs", "e2fsprogs")
    script = "".join(f"{command}\n" for command in commands)
    done = subprocess.run(
        [program, "-w", "-f", "-", str(path)], input=script, check=True, capture_output=True, text=True
    )
    return done.stdout


def replay(path: Path) -> bool:
    """Replay the journal of a volume by e2fsck, and return whether it could."""
    program = disks.find_program("e2fsck", "e2fsprogs")
    command = [program, "-fy", "-E", "journal_only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout
    return "Journal checksum error" not in done.stdout


class JournalWriter:
    """Writes one log into the journal of the volume in `path`, from its superblock on."""

    def __init__(
        self,
        path: Path,
        compat: int = 0,
        incompat: int = 0,
        *,
        start: int = 1,
        sequence: int = 1,
        places: list[int] | None = None,
    ) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR)
        sb = os.pread(self._fd, 1024, 1024)
        self.block_size = 1024 << struct.unpack_from("<I", sb, 0x18)[0]
        self.block_count = int(struct.unpack_from("<I", sb, 0x4)[0])
        self.places = places or journal_blocks(path)
        self._compat = compat
        self._incompat = incompat
        self._start = self._at = start
        self._sequence = sequence
        self._time = 1_700_000_000
        self._seed = 0

    def write(self, transactions: Iterable[Transaction]) -> None:
        """Write the log, and the superblocks of the journal and of the volume: it needs recovery now."""
        self._write_superblock()
        for transaction in transactions:
            self._write_transaction(transaction)
        mark_needs_recovery(self._path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def _has_tails(self) -> bool:
        return bool(self._incompat & (CSUM2 | CSUM3))

    def _write_superblock(self) -> None:
        raw = bytearray(os.pread(self._fd, self.block_size, self.places[0] * self.block_size))
        struct.pack_into(">II", raw, 0x18, self._sequence & 0xFFFFFFFF, self._start)
        struct.pack_into(">II", raw, 0x24, self._compat, self._incompat)
        raw[0x50] = 4 if self._has_tails else 0
        raw[0xFC:0x100] = bytes(4)
        if self._has_tails:
            struct.pack_into(">I", raw, 0xFC, slow_crc32c(0xFFFFFFFF, raw[:1024]))
        self._seed = slow_crc32c(0xFFFFFFFF, raw[0x30:0x40])
        self._uuid = bytes(raw[0x30:0x40])
        self._put(0, raw)

    def _write_transaction(self, transaction: Transaction) -> None:
        is_stale = transaction.end is End.STALE
        damage = 1 if is_stale or transaction.end is End.CORRUPT else 0
        self._crc32 = 0xFFFFFFFF
        self._time += -500 if is_stale else 1
        numbers = list(transaction.blocks)
        per_descriptor = (self.block_size - 12 - 16 - 4) // self._tag_size
        for at in range(0, len(numbers), per_descriptor):
            chosen = numbers[at : at + per_descriptor]
            self._write_blocks({number: transaction.blocks[number] for number in chosen}, damage)
        size = 8 if self._incompat & WIDE else 4
        per_block = (self.block_size - 16 - 4) // size
        for at in range(0, len(transaction.revoked), per_block):
            self._write_revokes(transaction.revoked[at : at + per_block], damage)
        self._write_commit(transaction.end)
        self._sequence += 1

    @property
    def _tag_size(self) -> int:
        if self._incompat & CSUM3:
            return 16
        return 8 + bool(self._incompat & CSUM2) * 2 + bool(self._incompat & WIDE) * 4

    def _write_blocks(self, blocks: Mapping[int, bytes], damage: int) -> None:
        tags = bytearray()
        content = []
        for at, (number, block) in enumerate(blocks.items()):
            flags = (2 if at else 0) | (8 if at == len(blocks) - 1 else 0)
            written = block
            if block.startswith(MAGIC_BYTES):
                flags, written = flags | 1, bytes(4) + block[4:]
            content.append(written)
            tags += self._tag(number, flags, written) + (b"" if at else self._uuid)
        descriptor = self._with_tail(self._header(1) + tags, damage)
        for block in (descriptor, *content):
            self._crc32 = slow_crc32_be(self._crc32, block) if self._compat & CSUM1 else 0
            self._append(block)

    def _tag(self, number: int, flags: int, block: bytes) -> bytes:
        checksum = 0
        if self._has_tails:
            checksum = slow_crc32c(slow_crc32c(self._seed, self._header(1)[8:]), block)
        high = number >> 32 if self._incompat & WIDE else 0
        if self._incompat & CSUM3:
            return struct.pack(">IIII", number & 0xFFFFFFFF, flags, high, checksum)
        tag = struct.pack(">IHH", number & 0xFFFFFFFF, checksum & 0xFFFF, flags)
        tag += struct.pack(">I", high) if self._incompat & WIDE else b""
        return tag.ljust(self._tag_size, b"\0")

    def _write_revokes(self, numbers: Sequence[int], damage: int) -> None:
        records = b"".join(struct.pack(">Q" if self._incompat & WIDE else ">I", each) for each in numbers)
        self._append(
            self._with_tail(self._header(5) + struct.pack(">I", 16 + len(records)) + records, damage)
        )

    def _write_commit(self, end: End) -> None:
        if end is End.CUT:
            return
        if end is End.OVERWRITTEN:
            self._append(b"\xa5" * self.block_size)
            return
        block = bytearray(self._header(2).ljust(self.block_size, b"\0"))
        struct.pack_into(">Q", block, 48, self._time)
        if self._compat & CSUM1:
            struct.pack_into(">BB2xI", block, 12, 1, 4, self._crc32)
        elif self._has_tails:
            struct.pack_into(">I", block, 16, slow_crc32c(self._seed, block))
        if end is End.WRONG_CHECKSUM:
            block[16] ^= 0xFF
        self._append(block)

    def _header(self, kind: int) -> bytes:
        return struct.pack(">III", MAGIC, kind, self._sequence & 0xFFFFFFFF)

    def _with_tail(self, content: bytes, damage: int) -> bytes:
        if not self._has_tails:
            return content.ljust(self.block_size, b"\0")
        block = content.ljust(self.block_size - 4, b"\0")
        return block + struct.pack(">I", slow_crc32c(self._seed, block + bytes(4)) ^ damage)

    def _append(self, block: bytes) -> None:
        self._put(self._at, block)
        self._at = self._at + 1 if self._at + 1 < len(self.places) else 1

    def _put(self, index: int, block: bytes) -> None:
        assert len(block) == self.block_size
        os.pwrite(self._fd, block, self.places[index] * self.block_size)


def mark_needs_recovery(path: Path, is_needed: bool = True) -> None:
    """Set or clear the mark of a volume's superblock that its journal must be replayed."""
    with path.open("r+b") as file:
        raw = bytearray(os.pread(file.fileno(), 1024, 1024))
        (incompat,) = struct.unpack_from("<I", raw, 0x60)
        incompat = incompat | _NEEDS_RECOVERY if is_needed else incompat & ~_NEEDS_RECOVERY
        struct.pack_into("<I", raw, 0x60, incompat)
        if struct.unpack_from("<I", raw, 0x64)[0] & _METADATA_CSUM:
            struct.pack_into("<I", raw, 0x3FC, slow_crc32c(0xFFFFFFFF, raw[:0x3FC]))
        os.pwrite(file.fileno(), raw, 1024)


def journal_blocks(path: Path) -> list[int]:
    """Return the place of each block of the journal on its volume, as debugfs finds it."""
    size, block_size = (
        re.findall(pattern, text)[0]
        for pattern, text in (
            (r"Size: (\d+)", debugfs(path, ["stat <8>"])),
            (r"Block size: +(\d+)", debugfs(path, ["stats -h"])),
        )
    )
    printed = debugfs(path, (f"bmap <8> {index}" for index in range(int(size) // int(block_size))))
    return [int(line) for line in printed.splitlines() if line.isdigit()]


def free_blocks(path: Path, count: int, first: int = 1500) -> list[int]:
    """Return the next blocks of a volume, from `first` on, that hold nothing."""
    printed = debugfs(path, [f"ffb {count} {first}"])
    return [int(word) for word in printed.rpartition(":")[2].split() if word.isdigit()]


def slow_crc32c(crc: int, data: bytes | bytearray) -> int:
    """Return the CRC-32C, byte by byte: an independent way to the code under test."""
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def slow_crc32_be(crc: int, data: bytes | bytearray) -> int:
    """Return the kernel's crc32_be()."""
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC32_BE[crc >> 24 ^ byte]
    return crc


def _reflected_table(polynomial: int) -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [crc >> 1 ^ (polynomial if crc & 1 else 0) for crc in table]
    return table


def _table(polynomial: int) -> list[int]:
    table = [byte << 24 for byte in range(256)]
    for _ in range(8):
        table = [(crc << 1 & 0xFFFFFFFF) ^ (polynomial if crc >> 31 else 0) for crc in table]
    return table


_CRC32C: Final = _reflected_table(0x82F63B78)
_CRC32_BE: Final = _table(0x04C11DB7)
