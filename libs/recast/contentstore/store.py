"""Opening a project's partition, and what a chunk store's errors are as refusals."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from recast.chunkstore import (
    ChunkStore,
    ChunkStoreError,
    StoreIoError,
    StoreUnavailable,
    open_objects,
    project_key,
)
from recast.content.v1 import content_pb2
from recast.faultpoints import pointed
from recast.faults import Refusal, StoreIoFailed, Unavailable


@contextmanager
def store_refusals(damaged: Callable[[ChunkStoreError], Refusal]) -> Iterator[None]:
    """Raises a chunk store's errors as refusals. What may pass is UNAVAILABLE, so work tries it again.

    `damaged` gives the service's own refusal of content that is not what was written.
    """
    try:
        yield
    except StoreUnavailable as away:
        raise Unavailable(problem=f"the chunk store does not answer: {away}") from away
    except StoreIoError as problem:
        raise StoreIoFailed(problem=problem) from problem
    except ChunkStoreError as damage:
        raise damaged(damage) from damage


def open_content(location: content_pb2.ContentStore) -> ChunkStore:
    """The partition that a service told its peer of, with the key that came with it."""
    return ChunkStore.over(pointed(open_objects(location.url)), project=location.project, key=location.key)


def partition_name(project: str) -> str:
    """The name by which operations use a project's partition: shared while they write, alone to collect."""
    return f"projects/{project}/chunks"


class ContentStore(ABC):
    """One service's chunk store. A project's key is derived from `master_key`, 32 bytes."""

    def __init__(self, url: str, master_key: bytes) -> None:
        self._url = url
        self._master_key = master_key

    @abstractmethod
    def damaged(self, content: str, problem: object) -> Refusal:
        """The service's refusal of content that is not what was written; `content` is a resource name."""

    def location(self, project: str) -> content_pb2.ContentStore:
        """Where a project's chunks are, with its key: what another service needs to read or write them."""
        key = project_key(self._master_key, project)
        return content_pb2.ContentStore(url=self._url, project=project, key=key)

    @contextmanager
    def open(self, project: str, content: str) -> Iterator[ChunkStore]:
        """The project's partition. What it fails with inside the block is a refusal about `content`."""
        with (
            store_refusals(lambda damage: self.damaged(content, damage)),
            open_content(self.location(project)) as store,
        ):
            yield store
