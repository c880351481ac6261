"""Reads one disk: any range, or all of it into a file."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing

from .index import DiskIndex
from .objects import Buffer
from .pipeline import in_order
from .project_objects import ProjectObjects
from .source import Progress


class DiskContentReader:
    """The content of a disk in the store, read on demand; a DiskSource. Safe to use from several threads.

    It caches the last `cache_chunks` decoded chunks.
    """

    def __init__(self, store: ProjectObjects, index: DiskIndex, cache_chunks: int) -> None:
        self._store = store
        self._index = index
        self._cache_chunks = cache_chunks
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()  # over cache and count; never held while a chunk is loaded
        self._bytes_read = 0

    @property
    def size_bytes(self) -> int:
        """The size of the disk."""
        return self._index.size_bytes

    @property
    def bytes_read(self) -> int:
        """The bytes of objects fetched from the store so far, compressed."""
        return self._bytes_read

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) in bytes of the ranges that may hold data, ascending, in whole chunks."""
        return self._index.data_extents()

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; ValueError if they reach past the end of the disk."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise ValueError(f"{length} bytes at {offset} of a disk of {self.size_bytes}")
        parts = []
        while length > 0:
            position, start = divmod(offset, self._index.chunk_bytes)
            part = self._chunk(position)[start : start + length]  # slicing a whole chunk copies nothing
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunk(self, position: int) -> bytes:
        length = self._index.length_at(position)
        chunk_id = self._index.id_at(position)
        if chunk_id is None:
            return bytes(length)
        with self._lock:
            if position in self._cache:
                self._cache.move_to_end(position)
                return self._cache[position]
        # Two threads may load the same chunk at once: wasted work, but no thread waits for another.
        data, stored_bytes = self._store.load_chunk(chunk_id, length)
        plain = bytes(data)
        with self._lock:
            self._bytes_read += stored_bytes
            self._cache[position] = plain
            self._cache.move_to_end(position)
            if len(self._cache) > self._cache_chunks:
                self._cache.popitem(last=False)
        return plain


def restore_disk(store: ProjectObjects, index: DiskIndex, fd: int, progress: Progress | None) -> None:
    """Write a disk's chunks into a file that reads as zeros; see ChunkStore.restore_disk."""

    def restore_chunk(chunk: tuple[int, bytes]) -> int:
        position, chunk_id = chunk
        data, _ = store.load_chunk(chunk_id, index.length_at(position))
        _pwrite_all(fd, data, position * index.chunk_bytes)
        return len(data)

    done, total = 0, index.data_bytes
    if progress:
        progress(0, total)
    with closing(in_order(restore_chunk, index.data_chunks(), threads=store.objects.concurrency)) as lengths:
        for length in lengths:
            done += length
            if progress:
                progress(done, total)


def _pwrite_all(fd: int, data: Buffer, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
