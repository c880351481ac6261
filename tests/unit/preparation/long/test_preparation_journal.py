"""The journal of an ext volume, laid over it: the result is that of e2fsck."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from recast.preparation.content import BudgetedReader, ContentReader
from recast.preparation.crc32c import INITIAL, crc32c
from recast.preparation.journal import replayed
from recast.preparation.journalfile import JournalError
from recast.preparation.signatures import read_signature
from tests.harness.journals import (
    ASYNC,
    CSUM1,
    CSUM2,
    CSUM3,
    MAGIC_BYTES,
    REVOKES,
    WIDE,
    End,
    JournalWriter,
    Transaction,
    free_blocks,
    journal_blocks,
    make_fragmented_volume,
    make_volume,
    mark_needs_recovery,
    replay,
    slow_crc32c,
)

MIB = 1 << 20
MakeReader = Callable[[Any], Any]
EXT4 = ("-t", "ext4")
EXT4_WITHOUT_CSUM = ("-t", "ext4", "-O", "^metadata_csum,^64bit")
EXT3 = ("-t", "ext3")
VOLUMES = [
    pytest.param((1024, EXT4), id="ext4-1k"),
    pytest.param((4096, EXT4), id="ext4-4k"),
    pytest.param((1024, EXT4_WITHOUT_CSUM), id="without-csum-1k"),
    pytest.param((4096, EXT4_WITHOUT_CSUM), id="without-csum-4k"),
    pytest.param((1024, EXT3), id="ext3-1k"),
    pytest.param((4096, EXT3), id="ext3-4k"),
    pytest.param(None, id="fragmented-1k"),
]
FORMATS = [
    (0, 0),
    (0, WIDE),
    (CSUM1, 0),
    (CSUM1, WIDE | ASYNC),
    *((0, csum | wide) for csum in (CSUM2, CSUM3) for wide in (0, WIDE)),
]
TARGETS = 6


@dataclass(frozen=True)
class Volume:
    """A volume without files: its journal's blocks, and some that are free."""

    path: Path
    block_size: int
    places: list[int]
    targets: list[int]


@pytest.fixture(scope="module", params=VOLUMES)
def volume(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """Give a volume of each generation and block size, and one whose journal has a deep tree of extents."""
    path = tmp_path_factory.mktemp("volume") / "disk.raw"
    block_size, options = request.param or (1024, ())
    if options:
        make_volume(path, block_size, block_size * 4096, *options)
    else:
        make_fragmented_volume(path)
    return Volume(path, block_size, journal_blocks(path), free_blocks(path, TARGETS))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write into a disk."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), content, offset)


def read_all(reader: ContentReader) -> bytes:
    """Return a disk's content, read in pieces that are no whole blocks."""
    step = 70_001
    return b"".join(
        reader.pread(at, min(step, reader.size_bytes - at)) for at in range(0, reader.size_bytes, step)
    )


def as_booted(reader: Any, offset: int = 0) -> ContentReader:
    """Return the disk with its journal laid over it."""
    return replayed(BudgetedReader(reader), BudgetedReader(reader), offset)


def without_superblocks(content: bytes, writer: JournalWriter) -> bytes:
    """Return a volume's content without the two superblocks, in which e2fsck notes that it was there."""
    result = bytearray(content)
    result[1024:2048] = bytes(1024)
    at = writer.places[0] * writer.block_size
    result[at : at + 1024] = bytes(1024)
    return bytes(result)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[int], list[int], End, int]]:
    """Draw transactions: the targets that each writes and revokes, its end, and the seed of its content."""
    some = st.lists(st.integers(0, TARGETS - 1), max_size=4, unique=True)
    one = st.tuples(some, some, st.just(End.COMMITTED), st.integers(0, 99))
    history = draw(st.lists(one, max_size=5))
    written, revoked, _, seed = draw(one)
    history.append((written, revoked, draw(st.sampled_from(list(End))), seed))
    return history + draw(st.lists(one, max_size=1))


def block_of(seed: int, size: int) -> bytes:
    """Return a block's content; every third begins as a block of a journal does."""
    content = random.Random(seed).randbytes(size)
    return MAGIC_BYTES + content[4:] if seed % 3 == 0 else content


@pytest.mark.fault("FAULT-F01")
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.reuse, Phase.generate],  # a history is short: to shrink it takes minutes
)
@given(
    history=histories(),
    features=st.sampled_from(FORMATS),
    start=st.sampled_from([1, 7, 1010, 1022, 1023]),
    sequence=st.sampled_from([1, 1000, 0x7FFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF]),
)
def test_drawn_histories(
    volume: Volume,
    tmp_path: Path,
    file_reader: MakeReader,
    history: list[tuple[list[int], list[int], End, int]],
    features: tuple[int, int],
    start: int,
    sequence: int,
) -> None:
    """A volume with a drawn journal reads as it does after e2fsck, byte for byte."""
    path = tmp_path / "disk.raw"
    shutil.copy(volume.path, path)
    compat, incompat = features
    # Replay has a fault of its own: zero stands for "no failed transaction" there.
    ends = [each[2] for each in history]
    assume(
        not (
            incompat & ASYNC
            and End.WRONG_CHECKSUM in ends
            and sequence + ends.index(End.WRONG_CHECKSUM) == 1 << 32
        )
    )
    writer = JournalWriter(
        path, compat, incompat | REVOKES, start=start, sequence=sequence, places=volume.places
    )
    writer.write(
        Transaction(
            {volume.targets[at]: block_of(seed + at, volume.block_size) for at in written},
            [volume.targets[at] for at in revoked],
            end,
        )
        for written, revoked, end, seed in history
    )
    writer.close()
    try:
        found = read_all(as_booted(file_reader(path)))
    except JournalError:
        assert not replay(path)
    else:
        assert replay(path)
        expected = path.read_bytes()
        assert without_superblocks(found, writer) == without_superblocks(expected, writer)


def logged(
    volume: Volume, path: Path, transactions: Iterable[Transaction], compat: int = 0, incompat: int = 0
) -> JournalWriter:
    """Make a copy of `volume` at `path` with `transactions` in its journal."""
    shutil.copy(volume.path, path)
    writer = JournalWriter(path, compat, incompat | REVOKES, places=volume.places)
    writer.write(transactions)
    return writer


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """Give a small ext4 volume."""
    path = tmp_path_factory.mktemp("small") / "disk.raw"
    make_volume(path, 1024, 4 * MIB, *EXT4)
    return Volume(path, 1024, journal_blocks(path), free_blocks(path, TARGETS))


def first_bytes(volume: Volume, reader: ContentReader) -> bytes:
    """Return the first byte of each target, as `reader` has it."""
    return b"".join(reader.pread(number * 1024, 1) for number in volume.targets)


@pytest.mark.fault("FAULT-F01")
@pytest.mark.parametrize("features", FORMATS)
@pytest.mark.parametrize("start", [1, 1020], ids=["at the start", "over the end of the ring"])
def test_a_history(
    small: Volume, tmp_path: Path, file_reader: MakeReader, features: tuple[int, int], start: int
) -> None:
    """Newer copies, escaped blocks, revoke records and a sequence that wraps count as they do for e2fsck."""
    path = tmp_path / "disk.raw"
    shutil.copy(small.path, path)
    one, two, three, four, *_ = small.targets
    escaped = MAGIC_BYTES + b"d" * 1020
    compat, incompat = features
    places, sequence = small.places, 0xFFFFFFFE
    writer = JournalWriter(path, compat, incompat | REVOKES, start=start, sequence=sequence, places=places)
    writer.write(
        [
            Transaction({one: b"a" * 1024, two: b"b" * 1024, three: b"c" * 1024}),
            Transaction({one: b"A" * 1024, four: escaped}, [two, three]),
            Transaction({three: b"C" * 1024, **dict.fromkeys(range(3000, 3200), b"x" * 1024)}),
        ]
    )
    writer.close()
    reader = as_booted(file_reader(path))
    found = [reader.pread(number * 1024, 1024) for number in (one, two, three, four, 3199)]
    assert found == [b"A" * 1024, bytes(1024), b"C" * 1024, escaped, b"x" * 1024]
    content = read_all(reader)
    assert replay(path)
    assert without_superblocks(content, writer) == without_superblocks(path.read_bytes(), writer)


@pytest.mark.fault("FAULT-F01")
@pytest.mark.parametrize("end", [End.CUT, End.OVERWRITTEN, End.WRONG_CHECKSUM, End.STALE])
@pytest.mark.parametrize("features", [(0, CSUM2), (0, CSUM3), (CSUM1, 0)])
def test_a_torn_transaction_is_not_applied(
    small: Volume, tmp_path: Path, file_reader: MakeReader, end: End, features: tuple[int, int]
) -> None:
    """A last transaction without a valid commit block changes nothing, nor do its revoke records."""
    if end is End.STALE and not features[1]:
        end = End.WRONG_CHECKSUM  # without checksums an older log is known by its sequence alone
    one, two, *_ = small.targets
    transactions = [Transaction({one: b"a" * 1024}), Transaction({two: b"b" * 1024}, [one], end)]
    logged(small, tmp_path / "disk.raw", transactions, *features)
    assert first_bytes(small, as_booted(file_reader(tmp_path / "disk.raw")))[:2] == b"a\0"


def test_a_commit_block_that_is_half_written(small: Volume, tmp_path: Path, file_reader: MakeReader) -> None:
    """A commit block with a valid head and noise behind it is refused: kernels differ about it."""
    writer = logged(small, tmp_path / "disk.raw", [Transaction({small.targets[0]: b"a" * 1024})], 0, CSUM3)
    overwrite(tmp_path / "disk.raw", writer.places[3] * 1024 + 512, b"noise")
    with pytest.raises(JournalError, match="torn"):
        as_booted(file_reader(tmp_path / "disk.raw"))


def test_only_if_recovery_is_needed(small: Volume, tmp_path: Path, file_reader: MakeReader) -> None:
    """A log in the journal of a volume that was unmounted is not applied: the kernel erases it."""
    path = tmp_path / "disk.raw"
    logged(small, path, [Transaction({small.targets[0]: b"a" * 1024})])
    mark_needs_recovery(path, False)
    assert read_all(as_booted(file_reader(path))) == path.read_bytes()


@pytest.mark.parametrize("incompat", [CSUM2, CSUM3])
def test_a_wrong_block(small: Volume, tmp_path: Path, file_reader: MakeReader, incompat: int) -> None:
    """A block whose content does not have its checksum is refused when it is read, and others are read."""
    path = tmp_path / "disk.raw"
    transaction = Transaction(dict.fromkeys(small.targets[:2], b"a" * 1024))
    writer = logged(small, path, [transaction], 0, incompat)
    overwrite(path, writer.places[2] * 1024 + 100, b"noise")
    reader = as_booted(file_reader(path))
    assert reader.pread(small.targets[1] * 1024, 3) == b"aaa"
    with pytest.raises(JournalError, match="checksum of its block 2"):
        reader.pread(small.targets[0] * 1024, 3)


def test_a_volume_behind_others(small: Volume, tmp_path: Path, bytes_reader: MakeReader) -> None:
    """The journal of a volume within a disk is laid over this volume alone."""
    path = tmp_path / "disk.raw"
    logged(small, path, [Transaction({small.targets[0]: b"a" * 1024})])
    disk = bytes(3 * MIB) + path.read_bytes() + bytes(MIB)
    reader = as_booted(bytes_reader(disk), 3 * MIB)
    assert read_all(reader)[3 * MIB :][: 4 * MIB] == read_all(as_booted(bytes_reader(path.read_bytes())))
    assert (read_all(reader)[: 3 * MIB], read_all(reader)[7 * MIB :]) == (bytes(3 * MIB), bytes(MIB))


def test_a_label_in_the_journal(small: Volume, tmp_path: Path, bytes_reader: MakeReader) -> None:
    """The superblock may be in the journal, too: then its copy there has the label."""
    path = tmp_path / "disk.raw"
    superblock = bytearray(small.path.read_bytes()[1024:2048])
    superblock[120:136] = b"new".ljust(16, b"\0")
    logged(small, path, [Transaction({1: bytes(superblock)})])
    assert read_signature(as_booted(bytes_reader(path.read_bytes())), 0).label == "new"


def test_only_descriptors_are_read(small: Volume, tmp_path: Path, file_reader: MakeReader) -> None:
    """A scan reads the descriptors of a log, not the blocks that they describe."""
    path = tmp_path / "disk.raw"
    transaction = Transaction({number: bytes(1024) for number in range(2000, 2600)})
    logged(small, path, [transaction], 0, CSUM3)
    scan_reader = BudgetedReader(file_reader(path))
    replayed(file_reader(path), scan_reader, 0)
    assert scan_reader.bytes_read < 30_000


@given(data=st.binary(max_size=300), zeros=st.integers(0, 5000), seed=st.integers(0, INITIAL))
def test_crc32c(data: bytes, zeros: int, seed: int) -> None:
    """The checksum is that of an independent implementation, and of the example of RFC 3720."""
    data += bytes(zeros)
    assert crc32c(seed, data) == slow_crc32c(seed, data)
    assert crc32c(INITIAL, b"123456789") ^ INITIAL == 0xE3069283
