"""Writes one disk: chunks, barrier, index, barrier. The order is derived in FORMAT.md."""

import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from .checkpoint import Checkpoint
from .chunk import CHUNK_ID_BYTES, HOLE
from .errors import ChunkStoreError
from .index import DiskIndex, IndexRef, count_positions
from .pipeline import in_order
from .project_objects import ProjectObjects
from .runs import Run, count_bytes, runs_in_both, runs_touched
from .source import DiskSource, Progress

# The most that a repeat of a killed write reads again, in bytes or as a part of the whole, whichever is more:
# each checkpoint waits for the storage.
_CHECKPOINT_BYTES = 64 << 20
_MOST_CHECKPOINTS = 32


@dataclass(frozen=True, slots=True)
class WrittenDisk:
    """The result of writing a disk; durable. All sizes in bytes."""

    ref: IndexRef
    size_bytes: int
    data_bytes: int
    """Plain bytes of the chunks, without holes."""
    read_bytes: int
    """Read from the source, by this attempt and the attempts that it resumed."""
    stored_bytes: int
    """Newly put for chunks, compressed, by the same attempts."""
    chunks_new: int
    """Chunks put."""
    chunks_reused: int
    """Positions that needed no put: the parent's, found in the store, or seen before in this disk."""


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The positions to read, and the chunk ids of all others."""

    ids: bytearray
    """32 bytes a position: the parent's where nothing changed, else zero."""
    runs: list[Run]
    """Positions to read, ascending."""
    read_bytes: int


def plan_read(
    size_bytes: int,
    chunk_bytes: int,
    data_extents: Iterable[tuple[int, int]],
    parent: DiskIndex | None,
    changed: Iterable[tuple[int, int]] | None,
) -> ReadPlan:
    """Decide the positions to read of a disk. Extents are (offset, length) in bytes."""
    count = count_positions(size_bytes, chunk_bytes)
    ids = bytearray(count * CHUNK_ID_BYTES)
    renewed: list[Run] = [(0, count)]
    if parent is not None and changed is not None:
        extents = list(changed)
        if parent.size_bytes != size_bytes:
            # From the smaller end on: chunks beyond it, and a last chunk that was or became short.
            smaller = min(parent.size_bytes, size_bytes)
            extents.append((smaller // chunk_bytes * chunk_bytes, max(parent.size_bytes, size_bytes)))
        renewed = runs_touched(extents, chunk_bytes, size_bytes)
        common = min(len(ids), len(parent.ids))
        ids[:common] = parent.ids[:common]
        for first, end in renewed:
            ids[first * CHUNK_ID_BYTES : end * CHUNK_ID_BYTES] = bytes((end - first) * CHUNK_ID_BYTES)
    runs = list(runs_in_both(runs_touched(data_extents, chunk_bytes, size_bytes), renewed))
    return ReadPlan(ids, runs, count_bytes(runs, chunk_bytes, size_bytes))


class DiskWriter:
    """One write of one disk."""

    def __init__(self, store: ProjectObjects, source: DiskSource, parent: DiskIndex | None) -> None:
        if parent is not None and parent.chunk_bytes != store.chunk_bytes:
            raise ValueError(f"parent {parent.ref.id} has chunks of {parent.chunk_bytes} bytes")
        self._store = store
        self._source = source
        self._size_bytes = source.size_bytes
        self._parent = parent
        self._seen: set[bytes] = set()  # about 100 bytes each: 100 MB for a TiB of new chunks
        self._seen_lock = threading.Lock()  # two workers may read the same chunk at once; one of them puts it
        # Positions before this are final, chunks named there put.
        self._done = self._stored_bytes = self._chunks_new = 0
        self._has_checkpoint = False

    def write(
        self,
        index_id: str,
        changed: Iterable[tuple[int, int]] | None,
        progress: Progress | None,
        resumed_after: tuple[type[BaseException], ...],
    ) -> WrittenDisk:
        """Write the disk and return once it is durable; see ChunkStore.write_disk."""
        objects = self._store.objects
        self._store.layout.index(index_id)  # an invalid id is refused before the work
        plan = plan_read(
            self._size_bytes, self._store.chunk_bytes, self._source.data_extents(), self._parent, changed
        )
        self._resume(index_id, plan)
        self._write_chunks(index_id, plan, progress, resumed_after)
        objects.barrier()
        ids = bytes(plan.ids)
        ref = self._store.save_index(index_id, self._size_bytes, ids)
        objects.barrier()
        if self._has_checkpoint:
            self._store.delete_checkpoint(index_id)
        index = DiskIndex(ref, self._size_bytes, self._store.chunk_bytes, ids)
        return WrittenDisk(
            ref=ref,
            size_bytes=self._size_bytes,
            data_bytes=index.data_bytes,
            read_bytes=plan.read_bytes,
            stored_bytes=self._stored_bytes,
            chunks_new=self._chunks_new,
            chunks_reused=sum(1 for _ in index.data_chunks()) - self._chunks_new,
        )

    def _resume(self, index_id: str, plan: ReadPlan) -> None:
        """Take the positions of an earlier attempt's checkpoint, which are not read again."""
        found = self._store.load_checkpoint(index_id, self._size_bytes)
        self._has_checkpoint = found is not None
        disk = (self._size_bytes, self._store.chunk_bytes)
        if found is None or (found.size_bytes, found.chunk_bytes) != disk:
            return
        plan.ids[: len(found.ids)] = found.ids
        self._done, self._stored_bytes, self._chunks_new = (
            found.positions,
            found.stored_bytes,
            found.chunks_new,
        )
        # Durable, by the checkpoint's own barrier: at other positions they need no check.
        self._seen.update(chunk_id for (chunk_id,) in struct.iter_unpack(f"{CHUNK_ID_BYTES}s", found.ids))

    def _write_chunks(
        self,
        index_id: str,
        plan: ReadPlan,
        progress: Progress | None,
        resumed_after: tuple[type[BaseException], ...],
    ) -> None:
        """Fill in the plan's ids, from `_done` on."""
        chunk_bytes = self._store.chunk_bytes
        runs = list(runs_in_both(plan.runs, [(self._done, len(plan.ids) // CHUNK_ID_BYTES)]))
        read = plan.read_bytes - count_bytes(runs, chunk_bytes, self._size_bytes)
        apart = max(_CHECKPOINT_BYTES, plan.read_bytes // _MOST_CHECKPOINTS)
        next_checkpoint = read + apart
        if progress:
            progress(read, plan.read_bytes)
        chunks = in_order(self._save, self._read(runs), threads=self._store.objects.concurrency)
        with closing(chunks):
            for position, length, chunk_id, put in chunks:
                plan.ids[position * CHUNK_ID_BYTES : (position + 1) * CHUNK_ID_BYTES] = chunk_id
                self._chunks_new += put > 0
                self._stored_bytes += put
                self._done = position + 1
                read += length
                if read >= next_checkpoint:
                    self._save_checkpoint(index_id, plan)
                    next_checkpoint = read + apart
                try:
                    if progress:
                        progress(read, plan.read_bytes)
                except resumed_after:
                    # Only here: after an error of the store none of its objects may be called durable.
                    self._save_checkpoint(index_id, plan)
                    raise

    def _save_checkpoint(self, index_id: str, plan: ReadPlan) -> None:
        ids = bytes(plan.ids[: self._done * CHUNK_ID_BYTES])
        checkpoint = Checkpoint(
            self._size_bytes, self._store.chunk_bytes, ids, self._stored_bytes, self._chunks_new
        )
        self._store.save_checkpoint(index_id, checkpoint)
        self._has_checkpoint = True

    def _read(self, runs: list[Run]) -> Iterator[tuple[int, bytes]]:
        """Yield (position, bytes); the calling thread iterates, so that the disk is read in sequence."""
        chunk_bytes = self._store.chunk_bytes
        for first, end in runs:
            for position in range(first, end):
                offset = position * chunk_bytes
                length = min(chunk_bytes, self._size_bytes - offset)
                data = self._source.pread(offset, length)
                if len(data) != length:
                    raise ChunkStoreError(f"the source gave {len(data)} of {length} bytes at {offset}")
                yield position, data

    def _save(self, chunk: tuple[int, bytes]) -> tuple[int, int, bytes, int]:
        """Return (position, plain bytes, id or HOLE, bytes put), from a worker thread."""
        position, data = chunk
        codec = self._store.codec
        if codec.is_zero(data):
            return position, len(data), HOLE, 0
        chunk_id = codec.id_of(data)
        if self._is_parents(position, chunk_id) or not self._is_first_seen(chunk_id):
            return position, len(data), chunk_id, 0
        return position, len(data), chunk_id, self._store.save_chunk(chunk_id, data)

    def _is_parents(self, position: int, chunk_id: bytes) -> bool:
        """Tell whether the sealed parent has this chunk at this position. Other positions are not searched: a
        set of all its ids would cost more memory than moved chunks cost reads.
        """
        parent = self._parent
        return parent is not None and position < parent.chunk_count and parent.id_at(position) == chunk_id

    def _is_first_seen(self, chunk_id: bytes) -> bool:
        with self._seen_lock:
            if chunk_id in self._seen:
                return False
            self._seen.add(chunk_id)
            return True
