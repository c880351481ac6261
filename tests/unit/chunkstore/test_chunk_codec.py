"""The fixed format of a chunk, and the refusal of other bytes."""

import pytest
import zstandard

from recast.chunkstore import ChunkCorrupt, project_key
from recast.chunkstore.chunk import ChunkCodec, is_legal_chunk_size

KEY = bytes(range(32))
NOISE = b"".join((number * 2654435761 % 2**32).to_bytes(4, "big") for number in range(16))
TEXT = b"the same words again " * 100


@pytest.fixture
def codec() -> ChunkCodec:
    """Make a codec of 4 KiB chunks."""
    return ChunkCodec(KEY, 4096)


def test_project_key_is_fixed() -> None:
    """The project key of a master is the one that version 1 derives."""
    assert (
        project_key(KEY, "acme").hex() == "a3887f2848daa9e89ac868b55b9c709fa79172cecd822972c4ef905f25e62504"
    )


def test_project_key_differs_between_projects() -> None:
    """Two projects of one master have different keys."""
    assert project_key(KEY, "acme") != project_key(KEY, "acme2")


def test_project_key_refuses_a_short_master() -> None:
    """A master that is not 32 bytes long is refused."""
    with pytest.raises(ValueError, match="31 bytes"):
        project_key(bytes(31), "acme")


def test_chunk_id_is_fixed(codec: ChunkCodec) -> None:
    """The id of a chunk is the one that version 1 computes."""
    assert codec.id_of(TEXT).hex() == "e5004cc194a939b43c0f9fe5d9c3d146b68384249d349bcd7c21b41558bbc1b7"


def test_incompressible_chunk_is_stored_raw_behind_a_zero_byte(codec: ChunkCodec) -> None:
    """A chunk that zstd does not shrink is one zero byte and the plain bytes."""
    assert codec.encode(NOISE) == b"\0" + NOISE


def test_compressible_chunk_is_a_plain_zstd_frame(codec: ChunkCodec) -> None:
    """A chunk that zstd shrinks is a frame that any zstd opens."""
    stored = codec.encode(TEXT)
    assert (stored[0], zstandard.ZstdDecompressor().decompress(stored)) == (0x28, TEXT)


def test_golden_zstd_chunk_decodes(codec: ChunkCodec) -> None:
    """A compressed chunk that version 1 wrote is still read."""
    stored = bytes.fromhex("28b52ffd603407ed0000a87468652073616d6520776f72647320616761696e2001003980fe6402")
    assert bytes(codec.decode(stored, codec.id_of(TEXT), len(TEXT), "c")) == TEXT


@pytest.mark.parametrize("data", [NOISE, TEXT, b"x"])
def test_both_encodings_of_a_chunk_decode(codec: ChunkCodec, data: bytes) -> None:
    """The raw and the compressed object of a chunk are equally valid."""
    frame = zstandard.ZstdCompressor().compress(data)
    for stored in (b"\0" + data, frame, codec.encode(data)):
        assert bytes(codec.decode(stored, codec.id_of(data), len(data), "c")) == data


@pytest.mark.parametrize("data", [NOISE, TEXT])
def test_every_flipped_bit_is_found(codec: ChunkCodec, data: bytes) -> None:
    """A chunk object with any one byte changed is either corrupt or decodes to the very same bytes."""
    stored = codec.encode(data)
    for at in range(len(stored)):
        wrong = stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1 :]
        try:
            assert bytes(codec.decode(wrong, codec.id_of(data), len(data), "c")) == data
        except ChunkCorrupt:
            continue


@pytest.mark.parametrize("data", [NOISE, TEXT])
def test_every_truncation_is_found(codec: ChunkCodec, data: bytes) -> None:
    """A chunk object cut anywhere, or longer than it was, is corrupt."""
    stored = codec.encode(data)
    for wrong in [*(stored[:length] for length in range(len(stored))), stored + b"\0"]:
        with pytest.raises(ChunkCorrupt, match="chunk c"):
            codec.decode(wrong, codec.id_of(data), len(data), "c")


def test_frame_that_claims_a_huge_size_is_refused_before_it_is_allocated(codec: ChunkCodec) -> None:
    """A frame whose header claims another length than the chunk's is corrupt."""
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    with pytest.raises(ChunkCorrupt, match="frame of 16777216 bytes"):
        codec.decode(bomb, codec.id_of(TEXT), len(TEXT), "c")


def test_right_bytes_under_another_name_are_corrupt(codec: ChunkCodec) -> None:
    """A chunk that lies under another chunk's name is corrupt, though it decodes."""
    with pytest.raises(ChunkCorrupt, match="do not hash"):
        codec.decode(codec.encode(TEXT), codec.id_of(NOISE), len(TEXT), "c")


@pytest.mark.parametrize(
    ("data", "is_zero"),
    [(bytes(4096), True), (bytes(100), True), (bytes(4095) + b"\1", False), (b"\1" + bytes(50), False)],
)
def test_zero_chunks_are_recognised(codec: ChunkCodec, data: bytes, is_zero: bool) -> None:
    """Only bytes that are all zero, of any length, are a hole."""
    assert codec.is_zero(data) is is_zero


@pytest.mark.parametrize(
    ("size", "is_legal"),
    [(0, False), (2048, False), (4096, True), (5000, False), (1 << 26, True), (1 << 27, False)],
)
def test_chunk_sizes_are_powers_of_two_within_bounds(size: int, is_legal: bool) -> None:
    """A chunk size is a power of two from 4 KiB to 64 MiB."""
    assert is_legal_chunk_size(size) is is_legal
