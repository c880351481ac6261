"""The fixed format of an index, the refusal of other bytes, and walking an index."""

import pytest

from recast.chunkstore import DiskIndex, IndexCorrupt, IndexRef
from recast.chunkstore.index import decode_index, digest_index, encode_index

REF = IndexRef("disk-0", bytes(32))
ONE, TWO, HOLE = b"\x11" * 32, b"\x22" * 32, bytes(32)
# Three positions of 4 KiB, the second a hole, the last one byte long.
GOLDEN = bytes.fromhex(
    "52454341535449580100000000100000012000000000000028b52ffd20606d000020111100220310008d3457c402"
)


def test_golden_index_decodes() -> None:
    """An index that version 1 wrote is still read."""
    index = decode_index(REF, GOLDEN, "i")
    assert (index.size_bytes, index.chunk_bytes, index.ids) == (8193, 4096, ONE + HOLE + TWO)


def test_header_of_an_index_is_fixed() -> None:
    """The header of an index is the 24 bytes that FORMAT.md gives."""
    stored = encode_index(8193, 4096, ONE + HOLE + TWO)
    assert stored[:24] == b"RECASTIX" + bytes.fromhex("0100 0000 00100000 0120000000000000")


def test_digest_of_an_index_is_fixed() -> None:
    """The digest is keyed BLAKE3 of the stored bytes."""
    assert (
        digest_index(bytes(range(32)), GOLDEN).hex()
        == "dfd98e46d244051d9cf8923bcc136a3a4613860c7dd681958a3b9955fe18573b"
    )


def test_id_at_distinguishes_chunks_from_holes() -> None:
    """A position gives its chunk's id, or None for a hole."""
    index = decode_index(REF, GOLDEN, "i")
    assert [index.id_at(position) for position in range(3)] == [ONE, None, TWO]


def test_id_at_refuses_a_position_past_the_disk() -> None:
    """A position that the disk does not have is an error, not a hole."""
    with pytest.raises(IndexError, match="position 3 of 3"):
        decode_index(REF, GOLDEN, "i").id_at(3)


def test_data_of_an_index() -> None:
    """Data chunks, extents and bytes leave holes out, and the last chunk is short."""
    index = decode_index(REF, GOLDEN, "i")
    assert list(index.data_chunks()) == [(0, ONE), (2, TWO)]
    assert list(index.data_extents()) == [(0, 4096), (8192, 1)]
    assert index.data_bytes == 4097


def test_data_is_found_across_blocks_of_holes() -> None:
    """Data chunks far apart are all found, though holes between are passed over in blocks."""
    ids = bytearray(32 * 10_000)
    for position in (4095, 4096, 9999):
        ids[32 * position : 32 * position + 32] = ONE
    index = DiskIndex(REF, 10_000 * 4096, 4096, bytes(ids))
    assert [position for position, _ in index.data_chunks()] == [4095, 4096, 9999]
    assert list(index.data_extents()) == [(4095 * 4096, 8192), (9999 * 4096, 4096)]


def test_index_of_an_empty_disk() -> None:
    """A disk of no bytes has an index of no positions."""
    index = decode_index(REF, encode_index(0, 4096, b""), "i")
    assert (index.chunk_count, index.data_bytes, list(index.data_extents())) == (0, 0, [])


def test_index_of_a_sparse_disk_is_small() -> None:
    """The index of an empty disk of 100 GiB takes less than 1 KiB in the store."""
    assert len(encode_index(100 << 30, 1 << 20, bytes(32 * 100 * 1024))) < 1024


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"", "too few"),
        (GOLDEN[:23], "too few"),
        (GOLDEN[:24], "index i"),
        (GOLDEN[:-1], "index i"),
        (GOLDEN + b"\0", "index i"),
        (b"X" + GOLDEN[1:], "not an index"),
        (GOLDEN[:8] + b"\2" + GOLDEN[9:], "version 1"),
        (GOLDEN[:10] + b"\1" + GOLDEN[11:], "not an index"),
        (GOLDEN[:12] + b"\1" + GOLDEN[13:], "chunks of 4097"),
        (GOLDEN[:17] + b"\xff" + GOLDEN[18:], "does not fit"),
    ],
)
def test_other_bytes_than_an_index_are_refused(wrong: bytes, why: str) -> None:
    """Bytes that are not an index of this version are corrupt, also without a digest to compare."""
    with pytest.raises(IndexCorrupt, match=why):
        decode_index(REF, wrong, "i")
