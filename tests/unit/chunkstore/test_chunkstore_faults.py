"""Kills, power cuts, failures and tampering: FORMAT.md's promise about each."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from recast.chunkstore import (
    ChunkCorrupt,
    ChunkMissing,
    ChunkStore,
    ChunkStoreError,
    DiskProblem,
    IndexCorrupt,
    IndexMissing,
    IndexRef,
    Objects,
    StoreUnavailable,
)

CHUNK = 4096
INDEX = "acme/indexes/disk"
StoreOver = Callable[..., ChunkStore]
DiskOf = Callable[..., Any]
Chunks = Callable[[int], bytes]


class Wrapped:
    """Delegates all methods to other objects; a fault overrides one."""

    def __init__(self, inner: Objects) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Recorded(Wrapped):
    """Records every put and barrier, in order."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner)
        self.log: list[str] = []

    def put_new(self, name: str, data: bytes) -> bool:
        """Record it, once it is done."""
        is_new = self.inner.put_new(name, data)
        self.log.append(f"put {name}" if is_new else f"taken {name}")
        return is_new

    def replace(self, name: str, data: bytes) -> None:
        """Record it."""
        self.inner.replace(name, data)
        self.log.append(f"replace {name}")

    def barrier(self) -> None:
        """Record it."""
        self.log.append("barrier")


class FailsNthPut(Wrapped):
    """The n-th put fails without effect."""

    def __init__(self, inner: Objects, n: int) -> None:
        super().__init__(inner)
        self.left = n
        self.lock = threading.Lock()

    def put_new(self, name: str, data: bytes) -> bool:
        """Fail at the n-th."""
        with self.lock:
            self.left -= 1
            if self.left == 0:
                raise StoreUnavailable(f"put {name}: no space")
        return self.inner.put_new(name, data)


class FailsNthBarrier(Wrapped):
    """The n-th barrier fails."""

    def __init__(self, inner: Objects, n: int) -> None:
        super().__init__(inner)
        self.left = n

    def barrier(self) -> None:
        """Fail at the n-th."""
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailable("syncfs: Input/output error")


class LosesEveryRace(Wrapped):
    """Just before each put of a chunk, another writer takes its name, with the bytes given or the same."""

    def __init__(self, inner: Objects, theirs: bytes | None) -> None:
        super().__init__(inner)
        self.theirs = theirs

    def put_new(self, name: str, data: bytes) -> bool:
        """Lose the race."""
        if "/chunks/" in name:
            self.inner.put_new(name, data if self.theirs is None else self.theirs)
        return self.inner.put_new(name, data)


class RefusesToDelete(Wrapped):
    """Any deletion is a failed test."""

    def delete(self, names: list[str]) -> None:
        """Must not be called."""
        raise AssertionError(f"deleted {names}")


def chunk_names(store: ChunkStore, ref: IndexRef) -> list[str]:
    """Return the names of a disk's chunks, by position."""
    digits = [chunk_id.hex() for _, chunk_id in store.read_index(ref).data_chunks()]
    return [f"acme/chunks/{name[:2]}/{name}" for name in digits]


def test_no_index_before_a_barrier_after_the_last_chunk(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """Chunks, barrier, index, barrier: in this order, and nothing after."""
    recorded = Recorded(objects)
    store = store_over(recorded)
    recorded.log.clear()
    store.write_disk(disk_of(distinct_chunks(12)), "disk")
    assert recorded.log[12:] == ["barrier", f"put {INDEX}", "barrier"]
    assert all(entry.startswith("put acme/chunks/") for entry in recorded.log[:12])


@pytest.mark.parametrize("n", range(1, 8))
def test_any_failed_put_fails_the_write_and_a_retry_succeeds(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks, n: int
) -> None:
    """A failed put of any of six chunks or the index is an error without an index, and a retry succeeds."""
    store = store_over(objects)
    failing = store_over(FailsNthPut(objects, n))
    with pytest.raises(StoreUnavailable, match="no space"):
        failing.write_disk(disk_of(distinct_chunks(6)), "disk")
    assert list(store.list_indexes()) == []
    written = store.write_disk(disk_of(distinct_chunks(6)), "disk")
    assert store.verify_disk(written.ref, deep=True) == []


@pytest.mark.parametrize(("n", "indexes"), [(1, []), (2, ["disk"])])
def test_a_failed_barrier_fails_the_write(
    *, store: ChunkStore, objects: Objects, store_over: StoreOver, disk_of: DiskOf, n: int, indexes: list[str]
) -> None:
    """No ref is returned when a barrier failed, and no index is put after the first did."""
    failing = FailsNthBarrier(objects, n)
    with pytest.raises(StoreUnavailable, match="Input/output"):
        store_over(failing).write_disk(disk_of(b"\1" * CHUNK), "disk")
    assert list(store.list_indexes()) == indexes


@pytest.mark.parametrize("torn", [b"", b"\0", bytes(100), b"\x28\xb5\x2f\xfd", b"\0" + b"\7" * CHUNK])
def test_torn_chunk_is_repaired(
    store: ChunkStore, objects: Objects, disk_of: DiskOf, distinct_chunks: Chunks, torn: bytes
) -> None:
    """A chunk that a power cut left torn is put again by a write that did not put it."""
    ref = store.write_disk(disk_of(distinct_chunks(3)), "disk").ref
    objects.replace(chunk_names(store, ref)[1], torn)
    assert len(store.verify_disk(ref, deep=True)) == 1
    again = store.write_disk(disk_of(distinct_chunks(3)), "disk")
    assert (again.ref, again.chunks_new) == (ref, 1)
    assert store.verify_disk(ref, deep=True) == []


def test_whole_chunks_are_never_put_over(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """A repeated write replaces no intact object, its own index included."""
    recorded = Recorded(objects)
    store = store_over(recorded)
    first = store.write_disk(disk_of(distinct_chunks(5)), "disk").ref
    recorded.log.clear()
    assert store.write_disk(disk_of(distinct_chunks(5)), "disk").ref == first
    assert recorded.log == ["barrier", f"taken {INDEX}", "barrier"]


def test_chunks_of_the_parent_are_neither_put_nor_read_back(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """The chunks that the sealed parent lists are neither put nor verified, though all is
    read from the source.
    """
    store = store_over(objects)
    parent = store.read_index(store.write_disk(disk_of(distinct_chunks(4)), "parent").ref)

    class RefusesReadBack(Wrapped):
        def read_back(self, name: str, most_bytes: int = 0) -> memoryview | None:
            raise AssertionError(f"read back {name}")

    written = store_over(RefusesReadBack(objects)).write_disk(
        disk_of(distinct_chunks(4)), "next", parent=parent
    )
    assert (written.chunks_new, written.chunks_reused, written.read_bytes) == (0, 4, 4 * CHUNK)


def test_chunk_put_by_a_faster_writer_is_used(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """A chunk that another writer put in between is used after it was read back."""
    written = store_over(LosesEveryRace(objects, None)).write_disk(disk_of(distinct_chunks(3)), "disk")
    assert (written.chunks_new, written.chunks_reused) == (0, 3)


def test_wrong_chunk_put_by_a_faster_writer_is_replaced(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """A chunk that appeared in between and is wrong is replaced."""
    store = store_over(LosesEveryRace(objects, b"\0nonsense"))
    written = store.write_disk(disk_of(distinct_chunks(3)), "disk")
    assert written.chunks_new == 3
    assert store.verify_disk(written.ref, deep=True) == []


@pytest.mark.parametrize("left", [b"", b"\0" * 60, b"RECASTIX nonsense and more nonsense"])
def test_torn_index_is_replaced(
    store: ChunkStore, objects: Objects, disk_of: DiskOf, distinct_chunks: Chunks, left: bytes
) -> None:
    """An index that a power cut left torn gives way to the retry's."""
    store.collect([])
    objects.put_new(INDEX, left)
    ref = store.write_disk(disk_of(distinct_chunks(2)), "disk").ref
    assert store.verify_disk(ref, deep=True) == []


def test_unsealed_index_of_other_content_is_replaced(
    store: ChunkStore, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """An index of the same id, left by an attempt on another freeze, gives way."""
    old = store.write_disk(disk_of(distinct_chunks(2)), "disk").ref
    new = store.write_disk(disk_of(distinct_chunks(3)), "disk").ref
    assert store.read_index(new).chunk_count == 3
    with pytest.raises(IndexCorrupt, match=INDEX):
        store.read_index(old)


def test_abort_by_progress_leaves_no_index_and_no_thread(
    store: ChunkStore, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """An exception from progress reaches the caller, after all worker threads have ended."""

    class Cancelled(Exception):
        pass

    def cancel_half_way(done: int, total: int) -> None:
        if done * 2 >= total:
            raise Cancelled

    threads = threading.active_count()
    with pytest.raises(Cancelled):
        store.write_disk(disk_of(distinct_chunks(40)), "disk", progress=cancel_half_way)
    assert threading.active_count() == threads
    assert list(store.list_indexes()) == []


def test_progress_counts_bytes_up_to_the_total(
    store: ChunkStore, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """Progress starts at zero, ends at the total, and never goes back."""
    reported: list[tuple[int, int]] = []
    content = distinct_chunks(3) + b"end"
    store.write_disk(disk_of(content), "disk", progress=lambda done, total: reported.append((done, total)))
    assert reported == [(min(n * CHUNK, len(content)), len(content)) for n in range(5)]


def test_source_that_gives_too_little_fails_the_write(store: ChunkStore, disk_of: DiskOf) -> None:
    """A short read is an error, never a disk with other bytes."""
    disk = disk_of(b"\1" * CHUNK)
    disk.size_bytes = 2 * CHUNK
    disk.data_extents = lambda: iter([(0, 2 * CHUNK)])
    with pytest.raises(ChunkStoreError, match="0 of 4096 bytes at 4096"):
        store.write_disk(disk, "disk")


@pytest.mark.parametrize("deep", [False, True])
def test_missing_chunk_is_found(
    store: ChunkStore, objects: Objects, disk_of: DiskOf, distinct_chunks: Chunks, deep: bool
) -> None:
    """A chunk that is gone is named by verify, by its first position, and ends a read."""
    ref = store.write_disk(disk_of(distinct_chunks(3) + distinct_chunks(3)), "disk").ref
    name = chunk_names(store, ref)[1]
    objects.delete([name])
    assert store.verify_disk(ref, deep=deep) == [DiskProblem(name, 1, f"chunk {name}: not in the store")]
    with pytest.raises(ChunkMissing, match=name):
        store.reader(store.read_index(ref)).pread(CHUNK, 1)


def test_corrupt_chunk_is_never_handed_out(
    store: ChunkStore, objects: Objects, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """A chunk with one byte changed ends a read, with the chunk's name."""
    ref = store.write_disk(disk_of(distinct_chunks(2)), "disk").ref
    name = chunk_names(store, ref)[0]
    objects.replace(name, b"\0" + b"\1" * (CHUNK - 1) + b"\2")
    with pytest.raises(ChunkCorrupt, match=name):
        store.reader(store.read_index(ref)).pread(0, 1)


def test_empty_chunk_is_found_by_a_shallow_verify(
    store: ChunkStore, objects: Objects, disk_of: DiskOf
) -> None:
    """A chunk of no bytes, usual after a power cut, is found without a deep verify."""
    ref = store.write_disk(disk_of(b"\1" * CHUNK), "disk").ref
    objects.replace(chunk_names(store, ref)[0], b"")
    assert "empty" in store.verify_disk(ref, deep=False)[0].reason


def test_changed_index_is_corrupt(store: ChunkStore, objects: Objects, disk_of: DiskOf) -> None:
    """An index with any byte changed, cut or added does not match its digest."""
    ref = store.write_disk(disk_of(b"\1" * CHUNK), "disk").ref
    stored = bytes(objects.get(INDEX) or b"")
    flipped = [stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :] for at in range(len(stored))]
    for wrong in [*flipped, stored[:-1], b"", stored + b"\0"]:
        objects.replace(INDEX, wrong)
        with pytest.raises(IndexCorrupt, match=INDEX):
            store.read_index(ref)


def test_swapped_indexes_are_corrupt(
    store: ChunkStore, objects: Objects, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """Two valid indexes that changed places are both found out."""
    refs = [store.write_disk(disk_of(distinct_chunks(n)), f"disk-{n}").ref for n in (1, 2)]
    one, two = (objects.get(f"acme/indexes/{ref.id}") or b"" for ref in refs)
    objects.replace("acme/indexes/disk-1", bytes(two))
    objects.replace("acme/indexes/disk-2", bytes(one))
    for ref in refs:
        with pytest.raises(IndexCorrupt):
            store.read_index(ref)


def test_missing_index_is_distinguished_from_a_corrupt_one(store: ChunkStore, disk_of: DiskOf) -> None:
    """A ref whose index is gone is IndexMissing, and verify reports it as a problem of the index."""
    ref = store.write_disk(disk_of(b"\1" * CHUNK), "disk").ref
    store.delete_index("disk")
    with pytest.raises(IndexMissing, match=INDEX):
        store.read_index(ref)
    assert [(p.name, p.position) for p in store.verify_disk(ref, deep=False)] == [(INDEX, None)]


def test_collect_deletes_nothing_when_a_live_index_is_unreadable(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """One live index that is missing or corrupt ends a collection before its first deletion."""
    store = store_over(RefusesToDelete(objects))
    ref = store.write_disk(disk_of(distinct_chunks(2)), "disk").ref
    store_over(objects).write_disk(disk_of(b"\7" * CHUNK), "garbage")
    objects.delete(["acme/indexes/garbage"])
    with pytest.raises(IndexMissing):
        store.collect([ref, IndexRef("gone", bytes(32))])
    with pytest.raises(IndexCorrupt):
        store.collect([IndexRef("disk", bytes(32))])


def test_collect_spares_the_chunks_of_an_index_not_yet_sealed(
    store: ChunkStore, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """An index that the caller did not list stays whole, and is named."""
    ref = store.write_disk(disk_of(distinct_chunks(2)), "unsealed").ref
    collected = store.collect([])
    assert (collected.chunks_deleted, collected.chunks_retained, collected.unlisted) == (0, 2, ("unsealed",))
    assert store.verify_disk(ref, deep=True) == []


def test_collect_passes_over_a_torn_unlisted_index(
    store: ChunkStore, objects: Objects, disk_of: DiskOf
) -> None:
    """A torn, unsealed index after a power cut neither stops a collection nor spares a chunk."""
    store.write_disk(disk_of(b"\1" * CHUNK), "disk")
    objects.replace(INDEX, b"torn")
    collected = store.collect([])
    assert (collected.chunks_deleted, collected.unlisted) == (1, ("disk",))


def test_collect_leaves_unknown_objects(store: ChunkStore, objects: Objects) -> None:
    """Objects with other names than a chunk's are neither counted nor deleted."""
    name = "acme/chunks/ab/notes.txt"
    objects.put_new(name, b"hello")
    assert store.collect([]).chunks_deleted == 0
    assert store.usage().chunks == 0
    assert objects.get(name) is not None


def test_indexes_are_deleted_durably_before_their_chunks(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf
) -> None:
    """A barrier stands between the last read of the indexes and the first deletion of a chunk."""
    recorded = Recorded(objects)
    store = store_over(recorded)
    store.write_disk(disk_of(b"\1" * CHUNK), "disk")
    store.delete_index("disk")
    recorded.log.clear()
    assert store.collect([]).chunks_deleted == 1
    assert recorded.log == ["barrier"]


@pytest.mark.parametrize("index_id", ["", "a/b", "../x", ".hidden", "a#1", "a b", "x" * 129])
def test_illegal_index_ids_are_refused_before_any_work(
    store: ChunkStore, disk_of: DiskOf, index_id: str
) -> None:
    """An id that cannot be part of a name is refused before the disk is read."""
    disk = disk_of(b"\1" * CHUNK)
    with pytest.raises(ValueError, match="index id"):
        store.write_disk(disk, index_id)
    assert disk.reads == []


def test_parent_of_another_chunk_size_is_refused(
    store: ChunkStore, disk_of: DiskOf, distinct_chunks: Chunks
) -> None:
    """An index of another store's chunk size cannot be a parent."""
    index = store.read_index(store.write_disk(disk_of(distinct_chunks(1)), "disk").ref)
    index.chunk_bytes = 8192
    with pytest.raises(ValueError, match="8192"):
        store.write_disk(disk_of(distinct_chunks(1)), "next", parent=index)
