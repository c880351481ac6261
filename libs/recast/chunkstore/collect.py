"""Deletes the chunks of a project that no index names: mark, then sweep."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from .errors import IndexCorrupt
from .index import IndexRef
from .project_objects import ProjectObjects
from .source import Progress

_BATCH = 1000  # the most that one DeleteObjects request of S3 takes


@dataclass(frozen=True, slots=True)
class Collected:
    """The result of a collection."""

    chunks_deleted: int
    bytes_deleted: int
    """Stored bytes of the chunks deleted."""
    chunks_retained: int
    leftovers_removed: int
    """Staged files of killed puts."""
    unlisted: tuple[str, ...]
    """Ids of indexes in the store that were not in `live`; for the caller to `delete_index`."""


def collect(store: ProjectObjects, live: Iterable[IndexRef], progress: Progress | None) -> Collected:
    """Mark and sweep; see ChunkStore.collect. `progress` counts indexes, and is called while marking only."""
    named, unlisted = _mark(store, list(live), progress)
    # No write runs: the checkpoints' writes have ended, and their chunks may be deleted (F11).
    checkpoints = [name for name, _ in store.objects.list(store.layout.checkpoints_prefix)]
    for start in range(0, len(checkpoints), _BATCH):
        store.objects.delete(checkpoints[start : start + _BATCH])
    # After a power cut no checkpoint or index may reappear once its chunks are deleted (F9).
    store.objects.barrier()
    leftovers = store.objects.remove_leftovers(store.layout.chunks_prefix)
    leftovers += store.objects.remove_leftovers(store.layout.indexes_prefix)
    leftovers += store.objects.remove_leftovers(store.layout.checkpoints_prefix)
    chunks_deleted = bytes_deleted = chunks_retained = 0

    def garbage() -> Iterator[str]:
        nonlocal chunks_deleted, bytes_deleted, chunks_retained
        for name, size in store.objects.list(store.layout.chunks_prefix):
            chunk_id = store.layout.chunk_id_of(name)
            if chunk_id is None:
                continue
            if chunk_id in named:
                chunks_retained += 1
            else:
                chunks_deleted += 1
                bytes_deleted += size
                yield name

    names = garbage()
    while batch := list(islice(names, _BATCH)):
        store.objects.delete(batch)
    return Collected(chunks_deleted, bytes_deleted, chunks_retained, leftovers, unlisted)


def _mark(
    store: ProjectObjects, live: list[IndexRef], progress: Progress | None
) -> tuple[set[bytes], tuple[str, ...]]:
    """Return the ids of all chunks to retain, about 100 bytes each, and the indexes that are not live."""
    named: set[bytes] = set()
    for done, ref in enumerate(live):
        if progress:
            progress(done, len(live))
        named.update(chunk_id for _, chunk_id in store.load_index(ref).data_chunks())
    live_ids = {ref.id for ref in live}
    unlisted = tuple(sorted(index_id for index_id in list_indexes(store) if index_id not in live_ids))
    for index_id in unlisted:
        try:
            index = store.load_unsealed_index(index_id)
        except IndexCorrupt:
            continue  # torn by a power cut before it could be sealed: no ref to it exists
        if index is not None:
            named.update(chunk_id for _, chunk_id in index.data_chunks())
    if progress:
        progress(len(live), len(live))
    return named, unlisted


def list_indexes(store: ProjectObjects) -> Iterator[str]:
    """Yield the ids of the project's indexes, sealed or not, in no order."""
    for name, _ in store.objects.list(store.layout.indexes_prefix):
        index_id = store.layout.index_id_of(name)
        if index_id is not None:
            yield index_id
