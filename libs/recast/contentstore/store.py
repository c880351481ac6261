"""Opening a project's partition, and mapping a chunk store's errors to refusals."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

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
from recast.faults import Refusal, StoreIoFailed, StoreNotAllowed, Unavailable, text_without_paths

log = structlog.get_logger()


@contextmanager
def store_refusals(damaged: Callable[[ChunkStoreError], Refusal]) -> Iterator[None]:
    """Raises a chunk store's errors as refusals. Transient errors become UNAVAILABLE, so that work retries.

    `damaged` returns the service's own refusal for damaged content.
    """
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable(problem=f"the chunk store does not answer: {text_without_paths(error)}") from error
    except StoreIoError as problem:
        log.error("the storage failed", problem=str(problem))  # callers get no paths
        raise StoreIoFailed(problem=text_without_paths(problem)) from problem
    except ChunkStoreError as damage:
        raise damaged(damage) from damage


class PeerStores:
    """The chunk stores of peers: `urls` are those that this service opens, separated by white space.

    A peer sends the location of content with each request. Only a store of this list is opened: by any other
    URL the peer, or the thief of its key, could read and write wherever this service can.
    """

    def __init__(self, urls: str) -> None:
        self._urls = frozenset(url.rstrip("/") for url in urls.split())

    def check(self, location: content_pb2.ContentStore) -> None:
        """StoreNotAllowed unless the location is a store of the list."""
        if location.url.rstrip("/") not in self._urls:
            raise StoreNotAllowed(store=location.url)

    def open(self, location: content_pb2.ContentStore) -> ChunkStore:
        """Opens the partition at the location, and with the key, that a peer sent; else StoreNotAllowed."""
        self.check(location)
        return _open(location)


def _open(location: content_pb2.ContentStore) -> ChunkStore:
    return ChunkStore.over(pointed(open_objects(location.url)), project=location.project, key=location.key)


def partition_name(project: str) -> str:
    """The name of a project's partition for `Work.use`: shared to write, exclusive to collect."""
    return f"projects/{project}/chunks"


class ContentStore(ABC):
    """One service's chunk store. A project's key is derived from `master_key`, 32 bytes."""

    def __init__(self, url: str, master_key: bytes) -> None:
        self._url = url
        self._master_key = master_key

    @abstractmethod
    def damaged(self, content: str, problem: object) -> Refusal:
        """The service's refusal for damaged content; `content` is a resource name."""

    def location(self, project: str) -> content_pb2.ContentStore:
        """The location and key of a project's chunks, for a peer to read or write them."""
        key = project_key(self._master_key, project)
        return content_pb2.ContentStore(url=self._url, project=project, key=key)

    @contextmanager
    def open(self, project: str, content: str) -> Iterator[ChunkStore]:
        """Opens the project's partition. Its errors inside the block become refusals about `content`."""
        with (
            store_refusals(lambda damage: self.damaged(content, damage)),
            _open(self.location(project)) as store,
        ):
            yield store
