"""The journal of an ext volume, laid over it: the result is that of e2fsck."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.preparation.content import BudgetedReader, ContentReader
from recast.preparation.crc32c import INITIAL, crc32c
from recast.preparation.journal import replayed
from recast.preparation.journalfile import JournalError
from tests.harness.journals import (
    ASYNC,
    CSUM1,
    CSUM2,
    CSUM3,
    FAST_COMMIT,
    MAGIC_BYTES,
    REVOKES,
    WIDE,
    End,
    JournalWriter,
    Transaction,
    free_blocks,
    journal_blocks,
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
]
FORMATS = [(0, 0), (0, WIDE), (CSUM1, 0), (CSUM1, WIDE | ASYNC), *((0, csum | wide) for csum in (CSUM2, CSUM3) for wide in (0, WIDE))]
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
    """Give a volume of each generation and block size."""
    block_size, options = request.param
    path = tmp_path_factory.mktemp("volume") / "disk.raw"
    make_volume(path, block_size, block_size * 4096, *options)
    return Volume(path, block_size, journal_blocks(path), free_blocks(path, TARGETS))


def read_all(reader: ContentReader) -> bytes:
    """Return a disk's content, read in pieces that are no whole blocks."""
    step = 70_001
    return b"".join(reader.pread(at, min(step, reader.size_bytes - at)) for at in range(0, reader.size_bytes, step))


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
@settings(max_examples=int(os.environ.get('N', 12)), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
