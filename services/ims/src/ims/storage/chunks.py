"""The chunk store of imported images: each project has its own partition of it, under its own key."""

from collections.abc import Iterator
from contextlib import contextmanager

from ims.domain.refusals import ContentDamaged
from recast.chunkstore import (
    ChunkStore,
    ChunkStoreError,
    StoreIoError,
    StoreUnavailable,
    open_objects,
    project_key,
)
from recast.content.v1 import content_pb2
from recast.diskimage import DiskImageError
from recast.faultpoints import pointed
from recast.faults import StoreIoFailed, Unavailable


@contextmanager
def storage_faults(content: str) -> Iterator[None]:
    """What a chunk store, or the files of uploads, fail with, as refusals about `content`, whose they are.

    What may pass is UNAVAILABLE, so it is tried again.
    """
    try:
        yield
    except StoreUnavailable as away:
        raise Unavailable(problem=f"the chunk store does not answer: {away}") from away
    except (StoreIoError, DiskImageError, OSError) as problem:
        raise StoreIoFailed(problem=problem) from problem
    except ChunkStoreError as damage:
        raise ContentDamaged(image=content, problem=damage) from damage


class ImageChunks:
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
            storage_faults(content),
            ChunkStore.over(pointed(open_objects(self._url)), project=project, key=key) as store,
        ):
            yield store
