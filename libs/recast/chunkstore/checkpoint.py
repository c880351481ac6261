"""The checkpoint of an unfinished write of a disk, from which a repeat of the write resumes."""

import struct
from dataclasses import dataclass

import zstandard
from blake3 import blake3

from .chunk import CHUNK_ID_BYTES
from .objects import Buffer

_DIGEST_BYTES = 32
_HEADER = struct.Struct("<8sHHIQQQ")
_MAGIC = b"RECASTCP"
_VERSION = 1
_ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first positions of an index that is being written; every chunk that they name is durable."""

    size_bytes: int
    """The size of the whole disk."""
    chunk_bytes: int
    ids: bytes
    """32 bytes a position, all zero for a hole; for the positions written so far."""
    stored_bytes: int
    """Newly put for chunks so far, compressed."""
    chunks_new: int
    """Chunks put so far."""

    @property
    def positions(self) -> int:
        """The number of positions written."""
        return len(self.ids) // CHUNK_ID_BYTES


def encode_checkpoint(key: bytes, index_id: str, checkpoint: Checkpoint) -> bytes:
    """Return the object that holds a checkpoint; `key` is the project's index key."""
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        0,
        checkpoint.chunk_bytes,
        checkpoint.size_bytes,
        checkpoint.stored_bytes,
        checkpoint.chunks_new,
    )
    body = header + zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False).compress(checkpoint.ids)
    return _digest(key, index_id, body) + body


def decode_checkpoint(key: bytes, index_id: str, stored: Buffer) -> Checkpoint | None:
    """Parse a checkpoint; None when it is torn, or of another write or version: it only saves work."""
    body = memoryview(stored)[_DIGEST_BYTES:]
    if len(body) < _HEADER.size or _digest(key, index_id, body) != stored[:_DIGEST_BYTES]:
        return None
    magic, version, _, chunk_bytes, size_bytes, stored_bytes, chunks_new = _HEADER.unpack_from(body)
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    # The digest authenticates the frame.
    ids = zstandard.ZstdDecompressor().decompress(body[_HEADER.size :])
    return Checkpoint(size_bytes, chunk_bytes, ids, stored_bytes, chunks_new)


def _digest(key: bytes, index_id: str, body: Buffer) -> bytes:
    """Bound to the index's id, which ends at the zero byte: no checkpoint passes for another write's."""
    return blake3(index_id.encode() + b"\0", key=key).update(body).digest()
