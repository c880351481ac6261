"""Journals that are elsewhere, damaged, or made to do harm."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.preparation.content import BudgetedReader, ContentReader, UnreadableError
from recast.preparation.inspection import inspect_here
from recast.preparation.journal import replayed
from recast.preparation.journalfile import JournalError
from recast.preparation.journalscan import MAX_BLOCKS, committed_blocks
from recast.preparation.report import Verdict
from tests.harness.journals import (
    CSUM1,
    CSUM3,
    FAST_COMMIT,
    MAGIC,
    REVOKES,
    WIDE,
    JournalWriter,
    Transaction,
    free_blocks,
    make_volume,
    slow_crc32c,
)

MakeReader = Callable[[Any], Any]
INODE_SIZE = 256


class LogReader:
    """A journal in memory, of which every block but the superblock is made by a function."""

    def __init__(
        self, make: Callable[[int], bytes], block_count: int, block_size: int = 4096, incompat: int = 0
    ) -> None:
        self._make = make
        self.block_count = block_count
        self.block_size = block_size
        self.reads = 0
        head = struct.pack(">9I", MAGIC, 4, 0, block_size, block_count, 1, 1, 1, 0)
        self._superblock = (head + struct.pack(">II", 0, incompat)).ljust(block_size, b"\0")

    def block(self, index: int) -> bytes:
        """Return a block."""
        self.reads += 1
        return self._make(index) if index else self._superblock


def block_of(kind: int, content: bytes, sequence: int = 1) -> bytes:
    """Return a block of a journal."""
    return (struct.pack(">III", MAGIC, kind, sequence) + content).ljust(4096, b"\0")


def scanned(file: Any) -> dict[int, Any]:
    """Return the blocks that are laid over a volume of very many blocks."""
    return dict(committed_blocks(file, 1 << 40))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a volume whose journal has a transaction."""
    path = tmp_path / "disk.raw"
    make_volume(path, 1024, 4 << 20, "-t", "ext4", "-O", "^metadata_csum")
    writer = JournalWriter(path, 0, CSUM3 | REVOKES)
    target, other = free_blocks(path, 2)
    writer.write([Transaction({target: b"a" * 1024}, [other])])
    writer.close()
    return path


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write into a disk."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), content, offset)


def number_at(path: Path, offset: int, form: str = "<I") -> int:
    """Return a number of a disk."""
    return int(struct.unpack_from(form, path.read_bytes(), offset)[0])


def superblock_offset(path: Path) -> int:
    """Return where the journal's superblock is."""
    return JournalWriter(path).places[0] * 1024


def inode_offset(path: Path) -> int:
    """Return where the journal's inode is: the eighth of the table that the first group descriptor names."""
    return number_at(path, 2048 + 8) * 1024 + 7 * INODE_SIZE


def change_journal(path: Path, offset: int, content: bytes) -> None:
    """Write into the journal's superblock, and give it the right checksum."""
    at = superblock_offset(path)
    overwrite(path, at + offset, content)
    raw = bytearray(path.read_bytes()[at : at + 1024])
    raw[0xFC:0x100] = bytes(4)
    overwrite(path, at + 0xFC, struct.pack(">I", slow_crc32c(0xFFFFFFFF, raw)))


def hide_inode_number(path: Path) -> None:
    """Make the journal one of another device."""
    overwrite(path, 1024 + 0xE0, bytes(4))


def name_another_device(path: Path) -> None:
    """Name a device beside the inode."""
    overwrite(path, 1024 + 0xE4, struct.pack("<I", 0x801))


def make_journal_device(path: Path) -> None:
    """Mark the volume as a journal device."""
    overwrite(path, 1024 + 0x60, struct.pack("<I", number_at(path, 1024 + 0x60) | 0x8))


def begin_fast_commits(path: Path) -> None:
    """Write the head of the fast commits that follow the transaction; the last 256 blocks are theirs."""
    os.truncate(path, 16 << 20)
    make_volume(path, 1024, 16 << 20, "-t", "ext4", "-O", "^metadata_csum", "-J", "size=4")
    target = free_blocks(path, 1, first=9000)[0]
    writer = JournalWriter(path, 0, CSUM3 | FAST_COMMIT)
    writer.write([Transaction({target: b"a" * 1024})])
    first = len(writer.places) - 256 + 1
    overwrite(path, writer.places[first] * 1024, struct.pack("<HHII", 9, 8, 0, 2))


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "elsewhere": (hide_inode_number, "on another device"),
    "elsewhere too": (name_another_device, "on another device"),
    "journal device": (make_journal_device, "journal of another volume"),
    "fast commits": (begin_fast_commits, "fast commits"),
    "magic": (lambda path: change_journal(path, 0, bytes(4)), "superblock is damaged"),
    "block size": (lambda path: change_journal(path, 12, struct.pack(">I", 4096)), "superblock is damaged"),
    "too long": (lambda path: change_journal(path, 16, struct.pack(">I", 1025)), "contradicts itself"),
    "no first": (lambda path: change_journal(path, 20, bytes(4)), "contradicts itself"),
    "start": (lambda path: change_journal(path, 28, struct.pack(">I", 1024)), "contradicts itself"),
    "unknown feature": (lambda path: change_journal(path, 40, struct.pack(">I", 0x51)), "unknown features"),
    "two checksums": (lambda path: change_journal(path, 36, struct.pack(">I", CSUM1)), "two kinds"),
    "type of checksum": (lambda path: change_journal(path, 0x50, b"\1"), "unknown type"),
    "checksum": (lambda path: overwrite(path, superblock_offset(path) + 0x60, b"x"), "superblock is wrong"),
    "no inode": (lambda path: overwrite(path, inode_offset(path), bytes(INODE_SIZE)), "no regular file"),
    "far inode": (
        lambda path: overwrite(path, 1024 + 0xE0, struct.pack("<I", 0xFFFFFFFF)),
        "does not exist",
    ),
    "extents": (lambda path: overwrite(path, inode_offset(path) + 0x28, bytes(60)), "extents is damaged"),
    "hole": (
        lambda path: overwrite(path, inode_offset(path) + 0x28 + 12, struct.pack("<I", 1)),
        "has no block 0",
    ),
    "far block": (
        lambda path: overwrite(path, inode_offset(path) + 0x28 + 12, struct.pack("<IHHI", 0, 1024, 7, 7)),
        "outside the volume",
    ),
    "far table": (lambda path: overwrite(path, 2048 + 8, b"\xff" * 4), "outside the volume"),
}


@pytest.mark.fault("FAULT-F01")
@pytest.mark.parametrize("case", CASES)
def test_unreadable_journals(path: Path, file_reader: MakeReader, case: str) -> None:
    """A journal that is unreadable, or needs more than its blocks, makes every check unknown."""
    damage, reason = CASES[case]
    damage(path)
    report = inspect_here(file_reader(path))
    assert {finding.verdict for finding in report.findings} == {Verdict.UNKNOWN}
    assert reason in report.findings[0].detail


def test_fast_commits_of_an_older_log(path: Path, file_reader: MakeReader) -> None:
    """Fast commits that a later transaction replaced are no reason: the rest of the journal is applied."""
    begin_fast_commits(path)
    writer = JournalWriter(path)
    overwrite(path, (writer.places[len(writer.places) - 255]) * 1024, struct.pack("<HHII", 9, 8, 0, 1))
    target = free_blocks(path, 1, first=9000)[0]
    reader = replayed(file_reader(path), file_reader(path), 0)
    assert reader.pread(target * 1024, 3) == b"aaa"


@given(
    places=st.lists(
        st.tuples(st.sampled_from(["volume", "inode", "journal", "log"]), st.integers(0, 1023)), max_size=8
    ),
    content=st.binary(min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage(
    path: Path, tmp_path: Path, file_reader: MakeReader, places: list[tuple[str, int]], content: bytes
) -> None:
    """Whatever bytes are damaged, a volume is read or is unreadable, and nothing else is raised."""
    copy = tmp_path / "copy.raw"
    shutil.copy(path, copy)
    journal = superblock_offset(path)
    starts = {"volume": 1024, "inode": inode_offset(path) - 512, "journal": journal, "log": journal + 1024}
    for name, at in places:
        overwrite(copy, starts[name] + at, content)
    with suppress(UnreadableError):
        reader: ContentReader = replayed(
            BudgetedReader(file_reader(copy)), BudgetedReader(file_reader(copy)), 0
        )
        reader.pread(0, 4 << 20)


def test_an_endless_log() -> None:
    """A ring of blocks that all go on with one transaction is read once."""
    file = LogReader(lambda _: block_of(5, struct.pack(">I", 16)), 5000)
    with pytest.raises(JournalError, match="no end"):
        scanned(file)
    assert file.reads < 5002


def test_a_descriptor_of_the_whole_ring() -> None:
    """A descriptor that describes more blocks than the ring has is refused."""
    tags = b"".join(struct.pack(">IHH", number, 0, 2) for number in range(510))
    with pytest.raises(JournalError, match="no end"):
        scanned(LogReader(lambda _: block_of(1, tags), 400))


def test_too_many_blocks() -> None:
    """A log of more blocks than are laid over a volume is refused before they fill the memory."""

    def make(index: int) -> bytes:
        tags = (struct.pack(">IHH", index << 10 | number, 0, 2) for number in range(510))
        return block_of(1, b"".join(tags))

    file = LogReader(make, 1 << 30)
    with pytest.raises(JournalError, match="blocks to replay"):
        scanned(file)
    assert file.reads < MAX_BLOCKS / 509 + 3


@pytest.mark.parametrize(("incompat", "form"), [(0, ">I"), (WIDE, ">Q")])
def test_a_revoke_block_of_another_size(incompat: int, form: str) -> None:
    """A revoke block that says to be larger than a block is refused, once its transaction is committed."""
    blocks = {1: block_of(5, struct.pack(">I", 4097) + struct.pack(form, 9)), 2: block_of(2, b"")}
    with pytest.raises(JournalError, match="revoke block"):
        scanned(LogReader(lambda index: blocks.get(index, bytes(4096)), 2000, incompat=incompat))
    del blocks[2]
    assert not scanned(LogReader(lambda index: blocks.get(index, bytes(4096)), 2000, incompat=incompat))


def test_numbers_above_32_bits() -> None:
    """Block numbers of 64 bits are read whole, in tags and in revoke records."""
    far = 5 << 32 | 7
    tag = struct.pack(">IHHI", 7, 0, 2, 5) + struct.pack(">IHHI", 8, 0, 10, 5)
    revoke = struct.pack(">IQ", 24, far + 1)
    blocks = {1: block_of(1, tag), 4: block_of(5, revoke), 5: block_of(2, b"")}
    found = scanned(LogReader(lambda index: blocks.get(index, bytes(4096)), 2000, incompat=WIDE))
    assert list(found) == [far]


def test_a_block_outside_the_volume() -> None:
    """A committed block that is beyond the volume's end is refused."""
    blocks = {1: block_of(1, struct.pack(">IHH", 100, 0, 10)), 3: block_of(2, b"")}
    file: Any = LogReader(lambda index: blocks.get(index, bytes(4096)), 2000)
    with pytest.raises(JournalError, match="outside the volume"):
        committed_blocks(file, 100)
    assert list(committed_blocks(file, 101)) == [100]
