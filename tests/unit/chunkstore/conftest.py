"""Fixtures of the chunk store's unit tests: disks in memory, and stores of small chunks over them."""

from collections.abc import Callable, Iterator

import pytest

from recast.chunkstore import ChunkStore, Objects, ObstoreObjects

CHUNK = 4096


class BytesDisk:
    """A DiskSource over bytes, with one data extent by default. Records each read."""

    def __init__(self, content: bytes, extents: list[tuple[int, int]] | None = None) -> None:
        self.content = content
        self.size_bytes = len(content)
        self.reads: list[tuple[int, int]] = []
        self._extents = [(0, len(content))] if extents is None else extents

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield the extents given."""
        return iter(self._extents)

    def pread(self, offset: int, length: int) -> bytes:
        """Read, and record it."""
        self.reads.append((offset, length))
        return self.content[offset : offset + length]


def _distinct_chunks(count: int) -> bytes:
    return b"".join(bytes([number + 1]) * CHUNK for number in range(count))


def _store_over(objects: Objects, project: str = "acme", key: bytes = bytes(range(32))) -> ChunkStore:
    return ChunkStore.over(objects, project=project, key=key, chunk_bytes=CHUNK)


@pytest.fixture
def disk_of() -> type[BytesDisk]:
    """Make a disk of bytes."""
    return BytesDisk


@pytest.fixture
def distinct_chunks() -> Callable[[int], bytes]:
    """Make the bytes of so many chunks, all different and none zero."""
    return _distinct_chunks


@pytest.fixture
def store_over() -> Callable[..., ChunkStore]:
    """Open a store of 4 KiB chunks over objects."""
    return _store_over


@pytest.fixture
def objects() -> Objects:
    """Hold objects in memory."""
    return ObstoreObjects.in_memory()


@pytest.fixture
def store(objects: Objects) -> ChunkStore:
    """Open a store of 4 KiB chunks in memory."""
    return _store_over(objects)
