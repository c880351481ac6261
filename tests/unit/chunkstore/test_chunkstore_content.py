"""After any change of a disk an incremental write equals a full one, and a restore equals the disk."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.chunkstore import ChunkStore, DiskIndex

CHUNK = 4096
MAX_SIZE = 6 * CHUNK

sizes = st.one_of(st.integers(0, MAX_SIZE), st.integers(0, 6).map(lambda chunks: chunks * CHUNK))
# (offset, length, byte): byte 0 writes zeros
writes = st.lists(
    st.tuples(st.integers(0, MAX_SIZE - 1), st.integers(1, 2 * CHUNK), st.integers(0, 3)), max_size=6
)


def written_over(content: bytes, extents: list[tuple[int, int, int]]) -> bytes:
    """Apply writes to a disk; bytes past its end are cut."""
    disk = bytearray(content)
    for offset, length, byte in extents:
        end = min(offset + length, len(disk))
        if offset < end:
            disk[offset:end] = bytes([byte]) * (end - offset)
    return bytes(disk)


def resized(content: bytes, size: int) -> bytes:
    """Cut a disk, or let it grow by zeros."""
    return content[:size].ljust(size, b"\0")


def data_extents(content: bytes) -> list[tuple[int, int]]:
    """Return extents of 512-byte blocks that are not zero: finer than chunks, as a file system's are."""
    blocks = range(0, len(content), 512)
    return [(at, len(content[at : at + 512])) for at in blocks if content[at : at + 512].strip(b"\0")]


def restored(store: ChunkStore, index: DiskIndex) -> bytes:
    """Restore a disk into a file, and return its bytes."""
    with tempfile.TemporaryFile() as file:
        file.truncate(index.size_bytes)
        store.restore_disk(index, file.fileno())
        return os.pread(file.fileno(), index.size_bytes + 1, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old_size=sizes, new_size=sizes, old_writes=writes, new_writes=writes)
def test_incremental_equals_full_and_restores(
    *,
    store: ChunkStore,
    disk_of: Callable[..., Any],
    old_size: int,
    new_size: int,
    old_writes: list[tuple[int, int, int]],
    new_writes: list[tuple[int, int, int]],
) -> None:
    """An incremental write gives the ids of a full one, and both restore to the disk's bytes."""
    old = written_over(bytes(old_size), old_writes)
    new = written_over(resized(old, new_size), new_writes)
    parent = store.read_index(store.write_disk(disk_of(old, data_extents(old)), "parent").ref)
    disk = disk_of(new, data_extents(new))
    changed = [(offset, length) for offset, length, _ in new_writes]
    incremental = store.write_disk(disk, "incremental", parent=parent, changed=changed)
    for other in (
        store.write_disk(disk, "full"),
        store.write_disk(disk, "reread", parent=parent),
        store.write_disk(disk_of(new), "one-extent"),
    ):
        assert other.ref.digest == incremental.ref.digest
        assert other.data_bytes == incremental.data_bytes
        assert other.chunks_new == 0
    index = store.read_index(incremental.ref)
    assert restored(store, index) == new
    assert store.reader(index).pread(0, new_size) == new
    assert store.verify_disk(incremental.ref, deep=True) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=sizes,
    extents=writes,
    offset=st.integers(0, MAX_SIZE),
    length=st.integers(0, MAX_SIZE),
    cache_chunks=st.integers(1, 3),
)
def test_any_read_equals_the_disk(
    *,
    store: ChunkStore,
    disk_of: Callable[..., Any],
    size: int,
    extents: list[tuple[int, int, int]],
    offset: int,
    length: int,
    cache_chunks: int,
) -> None:
    """A read at any offset, of any length, gives the disk's bytes, with any chunks in the cache."""
    content = written_over(bytes(size), extents)
    reader = store.reader(
        store.read_index(store.write_disk(disk_of(content), "disk").ref), cache_chunks=cache_chunks
    )
    offset = min(offset, size)
    length = min(length, size - offset)
    for _ in range(2):
        assert reader.pread(offset, length) == content[offset : offset + length]
        assert reader.pread(0, size) == content


def test_only_changed_chunks_are_read(
    store: ChunkStore, disk_of: Callable[..., Any], distinct_chunks: Callable[[int], bytes]
) -> None:
    """With a parent and changed extents, exactly the chunks that they touch are read, whole."""
    content = distinct_chunks(8)
    parent = store.read_index(store.write_disk(disk_of(content), "parent").ref)
    disk = disk_of(content)
    written = store.write_disk(disk, "next", parent=parent, changed=[(CHUNK + 5, 1), (5 * CHUNK - 1, 2)])
    assert sorted(disk.reads) == [(CHUNK, CHUNK), (4 * CHUNK, CHUNK), (5 * CHUNK, CHUNK)]
    assert (written.read_bytes, written.chunks_new, written.chunks_reused) == (3 * CHUNK, 0, 8)


def test_holes_are_not_read(store: ChunkStore, disk_of: Callable[..., Any]) -> None:
    """A position that no data extent touches is a hole, and is not read."""
    disk = disk_of(bytes(10 * CHUNK), [(7 * CHUNK, 1)])
    written = store.write_disk(disk, "disk")
    assert disk.reads == [(7 * CHUNK, CHUNK)]
    assert (written.data_bytes, written.chunks_new) == (0, 0)


def test_equal_chunks_are_stored_once(store: ChunkStore, disk_of: Callable[..., Any]) -> None:
    """Equal chunks of one disk, and of two, are one object."""
    first = store.write_disk(disk_of(b"\1" * (9 * CHUNK)), "first")
    second = store.write_disk(disk_of(b"\1" * (2 * CHUNK)), "second")
    assert (first.chunks_new, first.chunks_reused) == (1, 8)
    assert (second.chunks_new, second.chunks_reused, second.stored_bytes) == (0, 2, 0)
    assert store.usage().chunks == 1


def test_other_keys_give_other_ids(
    objects: Any, store_over: Callable[..., ChunkStore], disk_of: Callable[..., Any]
) -> None:
    """The same bytes have unrelated ids in two projects, and a digest under one key reveals no other."""
    content = b"\1" * CHUNK
    ids = set()
    for project, key in (("acme", bytes(32)), ("other", b"\1" * 32)):
        store = store_over(objects, project, key)
        ids.add(store.read_index(store.write_disk(disk_of(content), "disk").ref).id_at(0))
    assert len(ids) == 2


def test_reader_counts_its_fetches(store: ChunkStore, disk_of: Callable[..., Any]) -> None:
    """A chunk in the cache is not fetched again, and a hole never."""
    content = b"\1" * CHUNK + bytes(CHUNK)
    written = store.write_disk(disk_of(content), "disk")
    reader = store.reader(store.read_index(written.ref))
    for _ in range(3):
        reader.pread(0, 2 * CHUNK)
    assert reader.bytes_read == written.stored_bytes


def test_reader_is_a_source(
    store: ChunkStore,
    objects: Any,
    store_over: Callable[..., ChunkStore],
    disk_of: Callable[..., Any],
    distinct_chunks: Callable[[int], bytes],
) -> None:
    """A disk is copied into another project by writing from its reader."""
    content = distinct_chunks(3) + bytes(CHUNK) + b"end"
    reader = store.reader(store.read_index(store.write_disk(disk_of(content), "disk").ref))
    other = store_over(objects, "other", b"\7" * 32)
    assert restored(other, other.read_index(other.write_disk(reader, "copy").ref)) == content
