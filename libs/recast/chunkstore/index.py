"""The index of a disk: the chunk at each position."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import zstandard
from blake3 import blake3

from .chunk import CHUNK_ID_BYTES, HOLE, is_legal_chunk_size
from .errors import IndexCorrupt
from .objects import Buffer

MAX_DISK_BYTES = 64 << 40
"""The largest disk that an index may be of."""

_HEADER = struct.Struct("<8sHHIQ")
_MAGIC = b"RECASTIX"
_VERSION = 1
_ZSTD_LEVEL = 1

_BLOCK = 4096  # positions compared together, to skip holes at the speed of memcmp
_EMPTY_BLOCK = bytes(_BLOCK * CHUNK_ID_BYTES)


@dataclass(frozen=True, slots=True)
class IndexRef:
    """Names an index and fixes its content; an index is sealed when the caller's database holds its ref."""

    id: str
    digest: bytes
    """32 bytes: keyed BLAKE3 of the index object."""
    disk_bytes: int = field(default=MAX_DISK_BYTES, compare=False)
    """The most bytes of the disk: a larger object than its index has is not read (F12)."""


class DiskIndex:
    """The content of one disk: its size, and the chunk id of every position. Never changes."""

    def __init__(self, ref: IndexRef, size_bytes: int, chunk_bytes: int, ids: bytes) -> None:
        self.ref = ref
        self.size_bytes = size_bytes
        self.chunk_bytes = chunk_bytes
        self.ids = ids
        """32 bytes a position, all zero for a hole."""

    @property
    def chunk_count(self) -> int:
        """The number of positions, holes included."""
        return len(self.ids) // CHUNK_ID_BYTES

    def id_at(self, position: int) -> bytes | None:
        """Return the id of the chunk at a position; None for a hole."""
        if not 0 <= position < self.chunk_count:
            raise IndexError(f"position {position} of {self.chunk_count}")
        chunk_id = self.ids[position * CHUNK_ID_BYTES : (position + 1) * CHUNK_ID_BYTES]
        return None if chunk_id == HOLE else chunk_id

    def length_at(self, position: int) -> int:
        """Return the plain bytes of a position: the chunk size, or less for the last one."""
        return min(self.chunk_bytes, self.size_bytes - position * self.chunk_bytes)

    def data_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (position, id) of every position that is no hole, ascending."""
        for block in range(0, len(self.ids), len(_EMPTY_BLOCK)):
            ids = self.ids[block : block + len(_EMPTY_BLOCK)]
            if ids == _EMPTY_BLOCK:
                continue
            first = block // CHUNK_ID_BYTES
            for position, (chunk_id,) in enumerate(struct.iter_unpack(f"{CHUNK_ID_BYTES}s", ids), first):
                if chunk_id != HOLE:
                    yield position, chunk_id

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) in bytes of each run of chunks that are no holes, ascending."""
        start = end = 0
        for position, _ in self.data_chunks():
            if position * self.chunk_bytes != end:
                if end > start:
                    yield start, end - start
                start = position * self.chunk_bytes
            end = position * self.chunk_bytes + self.length_at(position)
        if end > start:
            yield start, end - start

    @cached_property
    def data_bytes(self) -> int:
        """The plain bytes of all chunks that are no holes."""
        return sum(self.length_at(position) for position, _ in self.data_chunks())


def count_positions(size_bytes: int, chunk_bytes: int) -> int:
    """Return how many positions a disk has."""
    return -(-size_bytes // chunk_bytes)


def largest_index_object(disk_bytes: int, chunk_bytes: int) -> int:
    """Return the most bytes that the index, or the checkpoint, of a disk of up to `disk_bytes` has."""
    ids = count_positions(min(disk_bytes, MAX_DISK_BYTES), chunk_bytes) * CHUNK_ID_BYTES
    return ids + ids // 128 + 1024  # zstd adds at most 1/256, and the headers of both have less than 1 KiB


def encode_index(size_bytes: int, chunk_bytes: int, ids: Buffer) -> bytes:
    """Return the object that holds an index."""
    header = _HEADER.pack(_MAGIC, _VERSION, 0, chunk_bytes, size_bytes)
    return header + zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False).compress(ids)


def digest_index(key: bytes, stored: Buffer) -> bytes:
    """Return the digest that an IndexRef holds; `key` is the project's index key."""
    return blake3(stored, key=key).digest()


def decode_index(ref: IndexRef, stored: Buffer, name: str) -> DiskIndex:
    """Parse the index object `name`; IndexCorrupt if it is none. The caller has checked the digest."""
    if len(stored) < _HEADER.size:
        raise IndexCorrupt(f"index {name}: {len(stored)} bytes are too few")
    magic, version, reserved, chunk_bytes, size_bytes = _HEADER.unpack_from(stored)
    if (magic, version, reserved) != (_MAGIC, _VERSION, 0):
        raise IndexCorrupt(f"index {name}: not an index of version {_VERSION}")
    if not is_legal_chunk_size(chunk_bytes):
        raise IndexCorrupt(f"index {name}: chunks of {chunk_bytes} bytes")
    if size_bytes > MAX_DISK_BYTES:
        raise IndexCorrupt(f"index {name}: a disk of {size_bytes} bytes")
    body = memoryview(stored)[_HEADER.size :]
    length = count_positions(size_bytes, chunk_bytes) * CHUNK_ID_BYTES
    try:
        # Before decoding, which would allocate whatever the frame claims.
        if zstandard.get_frame_parameters(body).content_size != length:
            raise IndexCorrupt(f"index {name}: its length does not fit a disk of {size_bytes} bytes")
        ids = zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IndexCorrupt(f"index {name}: {error}") from error
    return DiskIndex(ref, size_bytes, chunk_bytes, ids)
