"""A write that is made again resumes at its checkpoint (F11)."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from recast.chunkstore import ChunkStore, IndexRef, Objects, StoreUnavailable

MIB = 1 << 20
CHECKPOINT = "acme/checkpoints/disk"
StoreOver = Callable[..., ChunkStore]
DiskOf = Callable[..., Any]


class Stopped(Exception):
    """The process is about to end; the write will be made again."""


def stop_at(wanted: int, error: type[BaseException] = Stopped) -> Callable[[int, int], None]:
    """A progress that raises once so many bytes are read."""

    def progress(done: int, _total: int) -> None:
        if done >= wanted:
            raise error

    return progress


def stopped_at(
    store: ChunkStore, disk: Any, wanted: int, error: type[BaseException] = Stopped, **more: Any
) -> None:
    """A write that ends at so many bytes."""
    with pytest.raises(error):
        store.write_disk(disk, "disk", progress=stop_at(wanted, error), resumed_after=(Stopped,), **more)


def test_a_stopped_write_reads_nothing_again(store: ChunkStore, disk_of: DiskOf) -> None:
    """Chunks that were read before the stop are not read again, and the index is the same."""
    content = os.urandom(40 * 4096 + 17)
    whole = store.write_disk(disk_of(content), "whole")
    first, second = disk_of(content), disk_of(content)
    stopped_at(store, first, 20 * 4096)
    seen: list[int] = []
    written = store.write_disk(second, "disk", progress=lambda done, _total: seen.append(done))
    assert (seen[0], seen[-1]) == (20 * 4096, len(content))
    assert second.reads[0][0] == 20 * 4096
    assert store.read_index(written.ref).ids == store.read_index(whole.ref).ids
    assert written.read_bytes == whole.read_bytes


def test_a_stopped_incremental_write_goes_on(store: ChunkStore, disk_of: DiskOf) -> None:
    """With a parent and changes, only the changes not yet read are read."""
    before, after = os.urandom(40 * 4096), bytearray()
    parent = store.read_index(store.write_disk(disk_of(before), "parent").ref)
    after[:] = before
    changed = [(place * 4096, 10) for place in (3, 9, 30)]
    for place, _ in changed:
        after[place : place + 4] = b"news"
    stopped_at(store, disk_of(bytes(after)), 2 * 4096, parent=parent, changed=changed)
    rest = disk_of(bytes(after))
    written = store.write_disk(rest, "disk", parent=parent, changed=changed)
    assert rest.reads == [(30 * 4096, 4096)]
    # The third may have been put, beside the last chunk that was read, before the stop.
    assert (written.chunks_new, written.chunks_reused) in {(3, 37), (2, 38)}
    reader = store.reader(store.read_index(written.ref))
    assert reader.pread(0, reader.size_bytes) == bytes(after)


def test_a_finished_write_leaves_no_checkpoint(objects: Objects, store: ChunkStore, disk_of: DiskOf) -> None:
    """The checkpoint goes when the index is durable; so it does with the index, and with a collection."""
    content = os.urandom(10 * 4096)
    stopped_at(store, disk_of(content), 5 * 4096)
    assert objects.get(CHECKPOINT) is not None
    store.write_disk(disk_of(content), "disk")
    assert objects.get(CHECKPOINT) is None
    for end in (lambda: store.delete_index("disk"), lambda: store.collect([])):
        stopped_at(store, disk_of(content), 5 * 4096)
        end()
        assert objects.get(CHECKPOINT) is None


def test_a_killed_write_reads_a_part_again(store_over: StoreOver, objects: Objects, disk_of: DiskOf) -> None:
    """Every 64 MiB a checkpoint is written, which survives a kill."""
    store = ChunkStore.over(objects, project="acme", key=bytes(32))
    content = bytes(150 * MIB)
    stopped_at(store, disk_of(content), 140 * MIB, error=KeyboardInterrupt)
    again = disk_of(content)
    store.write_disk(again, "disk")
    assert again.reads[0][0] == 128 * MIB


@pytest.mark.parametrize("damage", [lambda old: old[:-1], lambda old: old[:0], lambda old: bytes(len(old))])
def test_a_torn_checkpoint_is_none(
    objects: Objects, store: ChunkStore, disk_of: DiskOf, damage: Callable[[bytes], bytes]
) -> None:
    """A checkpoint that a power cut tore is passed over: everything is read."""
    content = os.urandom(10 * 4096)
    stopped_at(store, disk_of(content), 5 * 4096)
    objects.replace(CHECKPOINT, damage(bytes(objects.get(CHECKPOINT) or b"")))
    again = disk_of(content)
    store.write_disk(again, "disk")
    assert again.reads[0][0] == 0


def test_another_writes_checkpoint_is_none(objects: Objects, store: ChunkStore, disk_of: DiskOf) -> None:
    """A checkpoint serves the write of its own index, of a disk of its own size, alone."""
    content = os.urandom(10 * 4096)
    stopped_at(store, disk_of(content), 5 * 4096)
    objects.replace("acme/checkpoints/other", bytes(objects.get(CHECKPOINT) or b""))
    other, longer = disk_of(content), disk_of(content + content)
    store.write_disk(other, "other")
    store.write_disk(longer, "disk")
    assert (other.reads[0][0], longer.reads[0][0]) == (0, 0)


class RecordsDurability:
    """Objects that record whether a checkpoint's chunks were durable; barriers can be made to fail."""

    def __init__(self, inner: Objects) -> None:
        self.inner = inner
        self.put: set[str] = set()
        self.durable: set[str] = set()
        self.is_broken = False
        self.are_durable: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def put_new(self, name: str, data: bytes) -> bool:
        """Not durable yet."""
        self.put.add(name)
        return self.inner.put_new(name, data)

    def barrier(self) -> None:
        """Makes earlier puts durable, or fails."""
        if self.is_broken:
            raise StoreUnavailable("syncfs: Input/output error")
        self.durable |= self.put

    def replace(self, name: str, data: bytes) -> None:
        """Records whether the half that a checkpoint names was durable."""
        self.are_durable.append(len(self.durable) >= 5)
        self.inner.replace(name, data)


def test_a_checkpoint_names_only_durable_chunks(
    objects: Objects, store_over: StoreOver, disk_of: DiskOf
) -> None:
    """Each checkpoint is preceded by a barrier; where that fails, none is written, and
    the error is raised.
    """
    recording: Any = RecordsDurability(objects)
    store = store_over(recording)
    disk = disk_of(os.urandom(10 * 4096))
    stopped_at(store, disk, 5 * 4096)
    assert recording.are_durable == [True]
    objects.delete([CHECKPOINT])
    recording.is_broken = True
    with pytest.raises(StoreUnavailable):
        store.write_disk(disk, "disk", progress=stop_at(7 * 4096), resumed_after=(Stopped,))
    assert objects.get(CHECKPOINT) is None
    assert objects.get("acme/indexes/disk") is None


def test_a_failing_store_gets_no_checkpoint(objects: Objects, store_over: StoreOver, disk_of: DiskOf) -> None:
    """After an error of the store itself no checkpoint is written: the next write checks every chunk."""
    recording: Any = RecordsDurability(objects)
    store = store_over(recording)

    def progress(done: int, _total: int) -> None:
        if done >= 5 * 4096:
            raise StoreUnavailable("unreachable")

    with pytest.raises(StoreUnavailable):
        store.write_disk(disk_of(os.urandom(10 * 4096)), "disk", progress=progress, resumed_after=(Stopped,))
    assert recording.are_durable == []


def test_chunks_that_only_a_checkpoint_names_are_collected(
    objects: Objects, store: ChunkStore, disk_of: DiskOf
) -> None:
    """A collection deletes a checkpoint and its chunks; a later write puts them again."""
    content = os.urandom(10 * 4096)
    stopped_at(store, disk_of(content), 5 * 4096)
    assert store.collect([]).chunks_deleted >= 5
    written = store.write_disk(disk_of(content), "disk")
    assert store.verify_disk(IndexRef("disk", written.ref.digest), deep=True) == []
