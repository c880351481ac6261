"""One chunk: its id, its encoding as an object, and the check of an object against its name."""

import threading

import zstandard
from blake3 import blake3

from .errors import ChunkCorrupt
from .objects import Buffer

CHUNK_BYTES = 1 << 20
CHUNK_ID_BYTES = 32
HOLE = bytes(CHUNK_ID_BYTES)

MIN_CHUNK_BYTES = 4 << 10
MAX_CHUNK_BYTES = 64 << 20

_RAW = 0x00
_ZSTD = 0x28  # the first byte of a zstd frame's magic number: the frame is the object
_ZSTD_LEVEL = 1
_LEAST_SAVING = 32  # zstd must save one part in this many


def is_legal_chunk_size(chunk_bytes: int) -> bool:
    """Tell whether a store may have chunks of this size."""
    return MIN_CHUNK_BYTES <= chunk_bytes <= MAX_CHUNK_BYTES and chunk_bytes.bit_count() == 1


def largest_chunk_object(length: int) -> int:
    """Return the most bytes that the object of a chunk of `length` plain bytes has."""
    return length + 1


class ChunkCodec:
    """Names, encodes and decodes the chunks of one project. Safe to use from several threads."""

    def __init__(self, key: bytes, chunk_bytes: int) -> None:
        self._key = key
        self._zeros = bytes(chunk_bytes)
        self._of_thread = _ZstdOfThread()

    def is_zero(self, data: bytes) -> bool:
        """Tell whether all bytes are zero: one memcmp, which ends at the first that is not."""
        return data == (self._zeros if len(data) == len(self._zeros) else bytes(len(data)))

    def id_of(self, data: Buffer) -> bytes:
        """Return a chunk's id, 32 bytes."""
        return blake3(data, key=self._key).digest()

    def encode(self, data: bytes) -> bytes:
        """Return the object that holds a chunk."""
        frame = self._of_thread.compressor.compress(data)
        if len(frame) <= len(data) - len(data) // _LEAST_SAVING and len(frame) < len(data):
            return frame
        return b"".join((bytes((_RAW,)), data))

    def decode(self, stored: Buffer, chunk_id: bytes, length: int, name: str) -> Buffer:
        """Return the `length` plain bytes of object `name`; ChunkCorrupt unless they hash to `chunk_id`."""
        data = self._plain_bytes(memoryview(stored), length, name)
        if self.id_of(data) != chunk_id:
            raise ChunkCorrupt(f"chunk {name}: its bytes do not hash to its name")
        return data

    def _plain_bytes(self, stored: memoryview, length: int, name: str) -> Buffer:
        if not stored:
            raise ChunkCorrupt(f"chunk {name}: empty")
        if stored[0] == _RAW:
            if len(stored) != length + 1:
                raise ChunkCorrupt(f"chunk {name}: {len(stored) - 1} bytes, not {length}")
            return stored[1:]
        if stored[0] != _ZSTD:
            raise ChunkCorrupt(f"chunk {name}: unknown encoding {stored[0]:#04x}")
        try:
            # The frame's claimed length is checked first: the decoder would allocate it.
            claimed = zstandard.get_frame_parameters(stored).content_size
            if claimed != length:
                raise ChunkCorrupt(f"chunk {name}: frame of {claimed} bytes, not {length}")
            return self._of_thread.decompressor.decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise ChunkCorrupt(f"chunk {name}: {error}") from error


class _ZstdOfThread(threading.local):
    """zstd's contexts, one pair a thread: they are costly to make, and may not be shared."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor()
