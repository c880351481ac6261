"""The chunk store of one project: the library's API."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from .chunk import CHUNK_BYTES
from .collect import Collected, collect, list_indexes
from .index import DiskIndex, IndexRef
from .local_objects import LocalObjects
from .objects import Objects, ObstoreObjects
from .project_objects import ProjectObjects
from .reader import DiskContentReader, restore_disk
from .settings import open_settings
from .source import DiskSource, Progress
from .verify import DiskProblem, verify_disk
from .writer import DiskWriter, WrittenDisk


@dataclass(frozen=True, slots=True)
class Usage:
    """The storage that a project's chunks use."""

    chunks: int
    bytes: int
    """Stored bytes, compressed; indexes not counted."""


def open_objects(url: str, options: Mapping[str, str] | None = None) -> Objects:
    """Open `file:///absolute/path`, `s3://bucket/prefix` or `memory://` (empty, not shared).

    `options`: see ObstoreObjects.in_s3. ValueError for any other URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return LocalObjects(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return ObstoreObjects.in_s3(url, options or {})
    if url == "memory://":
        return ObstoreObjects.in_memory()
    raise ValueError(f"{url!r} is not file:///path, s3://bucket/prefix or memory://")


class ChunkStore:
    """Stores the disks of one project. Safe to use from several threads and processes; locks as in FORMAT.md.

    Every method raises StoreUnavailable when the store does not answer, StoreIoError when its storage fails.
    """

    def __init__(self, store: ProjectObjects) -> None:
        self._store = store

    @classmethod
    def open(
        cls,
        url: str,
        *,
        project: str,
        key: bytes,
        options: Mapping[str, str] | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Self:
        """Open the store at a URL (see open_objects), and make it if there is none.

        `key` is `project_key(master, project)`. `chunk_bytes` applies only when the store is made here.
        StoreVersionUnknown if the store is of another version.
        """
        return cls.over(open_objects(url, options), project=project, key=key, chunk_bytes=chunk_bytes)

    @classmethod
    def over(cls, objects: Objects, *, project: str, key: bytes, chunk_bytes: int = CHUNK_BYTES) -> Self:
        """Open the store that lies in `objects`; the same as `open` otherwise. `close` closes `objects`."""
        return cls(ProjectObjects(objects, project, key, open_settings(objects, chunk_bytes)))

    @property
    def chunk_bytes(self) -> int:
        """The store's chunk size."""
        return self._store.chunk_bytes

    def write_disk(
        self,
        source: DiskSource,
        index_id: str,
        *,
        parent: DiskIndex | None = None,
        changed: Iterable[tuple[int, int]] | None = None,
        progress: Progress | None = None,
        resumed_after: tuple[type[BaseException], ...] = (),
    ) -> WrittenDisk:
        """Store a disk's content; when this returns, it is durable.

        With `parent`, a sealed index of an earlier state, its chunks at the same position are neither
        put nor checked. With `changed` too, (offset, length) extents in bytes, only chunks that an extent
        touches are read, whole; all others are the parent's. The disk may have grown or shrunk: the range
        beyond the smaller size counts as changed. `changed` without `parent` is ignored.

        Caller: hold the project's shared store lock from before `read_index(parent)` until the ref is
        committed. A repeat of a killed call, with the same id, replaces its leftovers and has an equal
        result; it resumes from the last checkpoint: one after every 64 MiB read, or every 32nd of the bytes
        to read if that is more. `resumed_after`: exceptions of `progress` after which the call will be
        repeated; a checkpoint is saved then. On any error no index was sealed; a repeat reuses the chunks
        that are left.
        """
        writer = DiskWriter(self._store, source, parent)
        return writer.write(index_id, changed, progress, resumed_after)

    def read_index(self, ref: IndexRef) -> DiskIndex:
        """Return an index; IndexMissing, or IndexCorrupt if it does not match the digest of its ref."""
        return self._store.load_index(ref)

    def restore_disk(self, index: DiskIndex, fd: int, *, progress: Progress | None = None) -> None:
        """Write a disk into an all-zero file sized by the caller: zero chunks are not written.

        Every chunk is checked before it is written; ChunkMissing and ChunkCorrupt end the restore, OSError
        is an error of the file. Chunks are written out of order; the caller syncs.
        """
        restore_disk(self._store, index, fd, progress)

    def reader(self, index: DiskIndex, *, cache_chunks: int = 16) -> DiskContentReader:
        """Return a reader of a disk's content, a DiskSource; it fetches chunks on demand."""
        return DiskContentReader(self._store, index, cache_chunks)

    def verify_disk(
        self, ref: IndexRef, *, deep: bool, progress: Progress | None = None
    ) -> list[DiskProblem]:
        """Return every problem that prevents a disk's restore, the index included; empty if there is none.

        Shallow: every chunk is there, and not empty. Deep: every chunk decodes, and hashes to its name.
        """
        return verify_disk(self._store, ref, deep=deep, progress=progress)

    def delete_index(self, index_id: str) -> None:
        """Delete an index and its checkpoint, if they exist; chunks stay until `collect`.

        Caller: first delete the ref.
        """
        layout = self._store.layout
        self._store.objects.delete([layout.index(index_id), layout.checkpoint(index_id)])

    def list_indexes(self) -> Iterator[str]:
        """Yield the ids of the project's indexes, sealed or not, in no order."""
        return list_indexes(self._store)

    def collect(self, live: Iterable[IndexRef], progress: Progress | None = None) -> Collected:
        """Delete the project's chunks that no index names.

        `live` is every ref that the caller's database holds. If one of them cannot be read, IndexMissing or
        IndexCorrupt is raised before any deletion. Indexes that are not in `live` are not deleted, and their
        chunks are retained too; `Collected.unlisted` names them. Caller: hold the project's exclusive
        store lock. `progress` counts indexes, and can abort only before the first deletion.
        """
        return collect(self._store, live, progress)

    def usage(self) -> Usage:
        """Count the project's chunks; this lists them all."""
        sizes = [
            size
            for name, size in self._store.objects.list(self._store.layout.chunks_prefix)
            if self._store.layout.chunk_id_of(name) is not None
        ]
        return Usage(len(sizes), sum(sizes))

    def close(self) -> None:
        """Release the store's resources."""
        self._store.objects.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
