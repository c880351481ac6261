"""The chunk store of backups: each project has its own partition of it, under its own key."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from csbs.domain.refusals import ContentDamaged
from recast.chunkstore import (
    ChunkStore,
    ChunkStoreError,
    IndexRef,
    StoreIoError,
    StoreUnavailable,
    open_objects,
    project_key,
)
from recast.content.v1 import content_pb2
from recast.faultpoints import pointed
from recast.faults import StoreIoFailed, Unavailable


@contextmanager
def _store_faults(content: str) -> Iterator[None]:
    """What a chunk store fails with, as refusals about `content`, whose backup or chunks they are.

    What may pass is UNAVAILABLE, so it is tried again.
    """
    try:
        yield
    except StoreUnavailable as away:
        raise Unavailable(problem=f"the chunk store does not answer: {away}") from away
    except StoreIoError as problem:
        raise StoreIoFailed(problem=problem) from problem
    except ChunkStoreError as damage:
        raise ContentDamaged(backup=content, problem=damage) from damage


class BackupChunks:
    """Opens partitions by project.

    `master_key` (32 bytes) is the store's; a project's key is derived from it.
    """

    def __init__(self, url: str, master_key: bytes) -> None:
        self._url = url
        self._master_key = master_key

    def location(self, project: str) -> content_pb2.ContentStore:
        """Where a project's chunks are, with its key: what another service needs to read or write them."""
        key = project_key(self._master_key, project)
        return content_pb2.ContentStore(url=self._url, project=project, key=key)

    @contextmanager
    def open(self, project: str, content: str) -> Iterator[ChunkStore]:
        """The project's partition. What it fails with inside the block is a refusal about `content`."""
        key = project_key(self._master_key, project)
        with (
            _store_faults(content),
            ChunkStore.over(pointed(open_objects(self._url)), project=project, key=key) as store,
        ):
            yield store

    def check(self, project: str, backup: str, disks: Iterable[tuple[content_pb2.IndexRef, int]]) -> None:
        """Holds each index against its digest and its disk's size; a backup is sealed only after this."""
        with self.open(project, backup) as store:
            for index, size_bytes in disks:
                found = store.read_index(IndexRef(index.id, index.digest))
                if found.size_bytes != size_bytes:
                    problem = f"index {index.id} is of {found.size_bytes} bytes, the disk has {size_bytes}"
                    raise ContentDamaged(backup=backup, problem=problem)
