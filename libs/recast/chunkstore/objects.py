"""The interface of an object store, and its implementation over obstore for memory and S3."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import MemoryStore, S3Store

from .errors import ChunkStoreError, ObjectUnfit, StoreUnavailable
from .s3_environment import options_from_environment

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Buffer = bytes | memoryview
MOST_BYTES = (64 << 20) + 1
"""The most bytes of an object that is read without a limit of its own: a chunk of the largest legal size."""


class Objects(Protocol):
    """Named, immutable byte strings. Every method is safe in threads.

    Every method may raise StoreUnavailable or StoreIoError. A read raises ObjectUnfit for an object of more
    than `most_bytes`, and for a file that is no regular one: it follows no link and waits for no pipe (F12).
    """

    concurrency: int
    """The number of concurrent calls that pays off."""
    puts_are_durable: bool
    """Whether a put that returned survives a power cut, whole. If not, only `barrier` makes it so."""

    def get(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return an object's bytes; None if there is none."""
        ...

    def read_back(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return an object's bytes from the device, not from a cache; None if there is none."""
        ...

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes; None if there is none."""
        ...

    def put_new(self, name: str, data: Buffer) -> bool:
        """Make an object, whole or not at all; False, and no change, if the name is taken."""
        ...

    def replace(self, name: str, data: Buffer) -> None:
        """Make an object whose name may be taken; even a power cut leaves the old bytes or the new."""
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (name, size in bytes) of every object below the folder `prefix`, or all; in no order."""
        ...

    def barrier(self) -> None:
        """Return once every earlier put, replace and delete, of any process, is durable."""
        ...

    def remove_leftovers(self, prefix: str) -> int:
        """Remove the leftovers of killed puts below a folder, and return how many; no put may be running."""
        ...

    def close(self) -> None:
        """Release all resources; the object must not be used afterwards."""
        ...


@contextmanager
def failing_as(kind: type[ChunkStoreError], doing: str, name: str) -> Iterator[None]:
    """Turn every failure of the store into an error of one kind.

    The block itself must catch a missing object; any other missing error is about the bucket.
    """
    try:
        yield
    except (BaseError, OSError) as error:
        raise kind(f"{doing} {name}: {str(error).partition(chr(10))[0]}") from error


def check_size(name: str, size: int, most_bytes: int) -> None:
    """Raise ObjectUnfit for an object of more than `most_bytes`."""
    if size > most_bytes:
        raise ObjectUnfit(f"{name}: {size} bytes, more than the {most_bytes} that it may have")


class ObstoreObjects:
    """Objects in any store of obstore whose PUT is atomic, and durable once acknowledged."""

    concurrency: int
    puts_are_durable: bool
    failure: type[ChunkStoreError] = StoreUnavailable
    """The error of a failed request: a store across a network may recover."""

    def __init__(self, store: Any, *, concurrency: int, puts_are_durable: bool) -> None:
        # Any: obstore's union of stores exists only in its stubs, and names backends not opened here.
        self._store = store
        self.concurrency = concurrency
        self.puts_are_durable = puts_are_durable

    @classmethod
    def in_memory(cls) -> "ObstoreObjects":
        """Make an empty store in memory. Its puts count as not durable, so tests take the stricter path."""
        return cls(MemoryStore(), concurrency=2, puts_are_durable=False)

    @classmethod
    def in_s3(cls, url: str, options: Mapping[str, str]) -> "ObstoreObjects":
        """Open `s3://bucket/prefix`; `options` are obstore's S3 settings, over the environment's (AWS_*; see
        `options_from_environment`).

        Three options are ours: `allow_http=true` permits an endpoint without TLS; `timeout` is that of one
        request; `max_retries` is how often obstore repeats a request that failed by the network or a 5xx, for
        three minutes at most: every request here may be repeated. `conditional_put=disabled` is for stores
        without If-None-Match.
        """
        try:
            environment = options_from_environment(os.environ)
        except ValueError as problem:
            raise StoreUnavailable(f"open {url}: {problem}") from problem
        config: Any = environment | dict(options)  # Any: obstore types its settings as a TypedDict
        client: ClientConfig = {
            "allow_http": config.pop("allow_http", "false").lower() == "true",
            "timeout": config.pop("timeout", "30s"),
        }
        retry: RetryConfig = {"max_retries": int(config.pop("max_retries", "10"))}
        try:
            store = S3Store.from_url(url, config=config, client_options=client, retry_config=retry)
        except (BaseError, ValueError) as error:
            raise StoreUnavailable(f"open {url}: {str(error).partition(chr(10))[0]}") from error
        return cls(store, concurrency=8, puts_are_durable=True)  # other PUTs fill the latency of each

    def _failing(self, doing: str, name: str) -> AbstractContextManager[None]:
        return failing_as(self.failure, doing, name)

    def get(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return an object's bytes without copying them; None if there is none.

        Its size is that of the answer's header; the client reads no more than that.
        """
        with self._failing("get", name):
            try:
                found = obstore.get(self._store, name)
            except FileNotFoundError:
                return None
            check_size(name, found.meta["size"], most_bytes)
            return memoryview(found.bytes())

    def read_back(self, name: str, most_bytes: int = MOST_BYTES) -> memoryview | None:
        """Return an object's bytes: there is no cache."""
        return self.get(name, most_bytes)

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes; None if there is none."""
        with self._failing("head", name):
            try:
                return obstore.head(self._store, name)["size"]
            except FileNotFoundError:
                return None

    def put_new(self, name: str, data: Buffer) -> bool:
        """Make an object unless its name is taken, by If-None-Match on S3."""
        with self._failing("put", name):
            try:
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            except NotImplementedError:
                # Conditional puts are off. The loser of a race puts equal bytes over durable ones: harmless.
                if self.size(name) is not None:
                    return False
                self.replace(name, data)
        return True

    def replace(self, name: str, data: Buffer) -> None:
        """Make or replace an object, in one request."""
        with self._failing("put", name):
            obstore.put(self._store, name, data, mode="overwrite", use_multipart=False)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects, in bulk where the store can; those that are not there are no error."""
        if not names:
            return
        with self._failing("delete", names[0]):
            try:
                obstore.delete(self._store, names)
            except FileNotFoundError:
                # The bulk request stopped at a missing object, with others left.
                for name in names:
                    self._delete_one(name)

    def _delete_one(self, name: str) -> None:
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (name, size in bytes) below a folder."""
        with self._failing("list", prefix):
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                for entry in page:
                    yield entry["path"], entry["size"]

    def barrier(self) -> None:
        """Nothing to wait for."""

    def remove_leftovers(self, prefix: str) -> int:
        """A put leaves nothing: it is one request, never a multipart upload."""
        return 0

    def close(self) -> None:
        """Nothing to release."""
