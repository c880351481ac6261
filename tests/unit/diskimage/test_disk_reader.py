"""Reading: extents and bytes, from several threads, at any position."""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from recast.diskimage import DiskImageError

MIB = 1 << 20
CLUSTER = 64 << 10


def test_extents_are_ascending_and_hold_all_data(guest):
    """Outside of the extents everything is zero; they neither overlap nor touch."""
    guest.write(MIB + 3 * CLUSTER, CLUSTER, 5)
    guest.zero(2 * CLUSTER, CLUSTER)
    guest.disk.freeze("f")
    guest.write(0, CLUSTER, 6)
    with guest.disk.reader() as reader:
        extents = list(reader.data_extents())
    assert extents == [(0, 2 * CLUSTER), (3 * CLUSTER, 13 * CLUSTER), (MIB + 3 * CLUSTER, CLUSTER)]
    outside = bytearray(guest.model)
    for offset, length in extents:
        outside[offset : offset + length] = bytes(length)
    assert not any(outside)


def test_any_range_reads_as_the_model(guest):
    """A read of any position and length, from several threads, gives exactly those bytes."""
    guest.write(CLUSTER + 512, 3 * CLUSTER, 5)
    guest.disk.freeze("f")
    guest.discard(8 * CLUSTER, CLUSTER)
    guest.write(2 * MIB - 512, 512, 7)
    chosen = random.Random(1)
    ranges = [(chosen.randrange(2 * MIB), chosen.randrange(200_000)) for _ in range(300)]
    ranges = [(offset, min(length, 2 * MIB - offset)) for offset, length in ranges]
    with guest.disk.reader() as reader, ThreadPoolExecutor(4) as threads:
        for (offset, length), content in zip(
            ranges, threads.map(lambda pair: reader.pread(*pair), ranges), strict=True
        ):
            assert content == guest.model[offset : offset + length]


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (2 * MIB, 1), (2 * MIB - 1, 2)])
def test_read_outside_of_the_disk_is_an_error(guest, offset, length):
    """A range that is not within the disk is not shortened but refused."""
    with guest.disk.reader() as reader, pytest.raises(ValueError, match="not within"):
        reader.pread(offset, length)


def test_closed_reader_reads_nothing(guest):
    """After close a read fails instead of reading another file's bytes."""
    with guest.disk.reader() as reader:
        assert reader.pread(2 * MIB, 0) == b""
    with pytest.raises(ValueError, match="closed"):
        reader.pread(0, 1)


def test_file_cut_short_is_an_error_and_no_zeros(guest):
    """A layer that lost its end is an error, and is not read as zeros."""
    guest.write(0, CLUSTER, 5)
    with guest.disk.reader() as reader:
        os.truncate(guest.disk.active_path, 4 * CLUSTER)
        with pytest.raises(DiskImageError, match="ends before"):
            reader.pread(0, CLUSTER)
