"""Checks of the chunk stores: the content that the databases reference."""

import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from recast.chunkstore import (
    ChunkCorrupt,
    ChunkMissing,
    ChunkStore,
    ChunkStoreError,
    DiskContentReader,
    DiskIndex,
    IndexCorrupt,
    IndexMissing,
    IndexRef,
    Objects,
    StoreIoError,
    StoreUnavailable,
    open_objects,
    project_key,
)
from recast.content.v1 import content_pb2
from recast.doctor.findings import Code, Findings
from recast.doctor.installation import Store, Unreadable
from recast.doctor.snapshots import Snapshots

_SETTINGS = "recast-chunkstore.json"
_KEY_BYTES = 32
_CHUNK = re.compile(r"[0-9a-f]{64}")
# More than compression adds to a chunk that does not compress.
_MOST_OVERHEAD_BYTES = 1 << 20
_MOST_OPEN_CHUNKS = 1  # each chunk is read once: a cache is useless


@dataclass(frozen=True)
class Sealed:
    """A disk's content that a row references. `owner` is the row's name."""

    owner: str
    project: str
    disk: content_pb2.DiskContent
    data_bytes: int | None = None
    """The bytes of its chunks as the row has them; None where it does not."""


def sealed_contents(seen: Snapshots) -> tuple[list[Sealed], list[Sealed]]:
    """The contents that the rows of CSBS reference, and those of IMS."""
    of_backups = [
        Sealed(backup.name, backup.project, disk, data_bytes.get(disk.id))
        for backup in seen.csbs.backups.values()
        if backup.state in {"AVAILABLE", "RESTORING"}
        for data_bytes in [{each.id: each.data_bytes for each in backup.described}]
        for disk in backup.contents
    ]
    of_images = [
        Sealed(image.name, image.project, disk)
        for image in seen.ims.images.values()
        if image.state == "NORMAL"
        for disk in image.contents
    ]
    return of_backups, of_images


class OpenStore:
    """One chunk store, listed once; opened only if it exists, for opening would make it."""

    def __init__(self, objects: Objects | None, master_key: bytes) -> None:
        self._objects = objects
        self._master_key = master_key
        self._partitions: dict[str, ChunkStore] = {}
        self.chunks: dict[str, dict[bytes, int]] = defaultdict(dict)
        """By project: the size of each chunk's object, by the chunk's id."""
        self.indexes: dict[str, set[str]] = defaultdict(set)
        """By project: the ids of all indexes."""
        self.unknown: list[str] = []
        """The names of objects that the format does not have."""
        for name, size in objects.list("") if objects else ():
            match name.split("/"):
                case [project, "chunks", shard, digits] if _CHUNK.fullmatch(digits) and shard == digits[:2]:
                    self.chunks[project][bytes.fromhex(digits)] = size
                case [project, "indexes", index_id]:
                    self.indexes[project].add(index_id)
                case [_, "checkpoints", _] | ["recast-chunkstore.json"]:
                    pass
                case _:
                    self.unknown.append(name)

    @classmethod
    def open(cls, service: str, store: Store, stack: ExitStack) -> Self:
        """Opens a store until `stack` ends. Unreadable when it does not answer, or its key is missing."""
        try:
            master_key = store.key_file.read_bytes()
        except OSError as problem:
            raise Unreadable(f"the key of {service}'s chunk store cannot be read: {problem}") from problem
        if len(master_key) != _KEY_BYTES:
            raise Unreadable(f"{store.key_file} has {len(master_key)} bytes; a key has {_KEY_BYTES}")
        try:
            objects = _open_if_there(store.url)
            if objects is not None:
                stack.callback(objects.close)
            return cls(objects, master_key)
        except (StoreUnavailable, StoreIoError) as error:
            raise Unreadable(f"the chunk store of {service} does not answer: {error}") from error

    @property
    def is_there(self) -> bool:
        """Whether the store exists."""
        return self._objects is not None

    def partition(self, project: str) -> ChunkStore:
        """A project's partition of an existing store."""
        assert self._objects is not None
        if project not in self._partitions:
            key = project_key(self._master_key, project)
            self._partitions[project] = ChunkStore.over(self._objects, project=project, key=key)
        return self._partitions[project]

    def reader(self, sealed: Sealed) -> DiskContentReader:
        """A reader of a content. Raises ChunkStoreError when its index is missing or damaged."""
        ref = IndexRef(sealed.disk.index.id, sealed.disk.index.digest, sealed.disk.size_bytes)
        partition = self.partition(sealed.project)
        return partition.reader(partition.read_index(ref), cache_chunks=_MOST_OPEN_CHUNKS)


def _open_if_there(url: str) -> Objects | None:
    parts = urlsplit(url)
    if parts.scheme == "file" and not Path(unquote(parts.path)).is_dir():
        return None
    objects = open_objects(url)
    # Empty, or all zeros: torn by a power cut before the first write. The next writer repairs it.
    if bytes(objects.get(_SETTINGS) or b"").strip(b"\0"):
        return objects
    objects.close()
    return None


def check_store(store: OpenStore, url: str, sealed: list[Sealed], findings: Findings, *, deep: bool) -> None:
    """Every index that a row references is present and whole, and so are its chunks."""
    if sealed and not store.is_there:
        owners = f"{len(sealed)} disks of backups and images"
        findings.add(Code.STORE_UNUSABLE, url, f"there is no chunk store, and {owners} are to be in it")
        return
    named: dict[str, set[bytes]] = defaultdict(set)
    sound: set[tuple[str, bytes]] = set()
    for each in sealed:
        index = _read_index(store, each, findings)
        if index is None:
            continue
        named[each.project].update(chunk_id for _, chunk_id in index.data_chunks())
        _check_chunks(store, each, index, findings, sound if deep else None)
    for name in store.unknown:
        findings.add(Code.OBJECT_UNKNOWN, f"{url}/{name}", "the format of the chunk store has no such object")
    _count(store, sealed, named, findings)


def _read_index(store: OpenStore, sealed: Sealed, findings: Findings) -> DiskIndex | None:
    ref = IndexRef(sealed.disk.index.id, sealed.disk.index.digest, sealed.disk.size_bytes)
    try:
        index = store.partition(sealed.project).read_index(ref)
    except IndexMissing as problem:
        findings.add(Code.INDEX_MISSING, sealed.owner, f"disk {sealed.disk.id}: {problem}")
    except IndexCorrupt as problem:
        findings.add(Code.INDEX_CORRUPT, sealed.owner, f"disk {sealed.disk.id}: {problem}")
    except ChunkStoreError as problem:
        findings.add(Code.STORE_UNUSABLE, sealed.owner, f"disk {sealed.disk.id}: {problem}")
    else:
        if index.size_bytes != sealed.disk.size_bytes:
            what = f"disk {sealed.disk.id} has {sealed.disk.size_bytes} bytes, its index {index.size_bytes}"
            findings.add(Code.INDEX_SIZE_WRONG, sealed.owner, what)
        elif sealed.data_bytes not in {None, index.data_bytes}:
            what = f"disk {sealed.disk.id} has {sealed.data_bytes} data bytes, its index {index.data_bytes}"
            findings.add(Code.INDEX_SIZE_WRONG, sealed.owner, what)
        return index
    return None


def _check_chunks(
    store: OpenStore,
    sealed: Sealed,
    index: DiskIndex,
    findings: Findings,
    sound: set[tuple[str, bytes]] | None,
) -> None:
    """Reports one problem a disk: the first position, and the count. `sound` are the chunks that need not be
    read again; None when none is to be read.
    """
    wrong: dict[Code, list[str]] = defaultdict(list)
    reader = store.partition(sealed.project).reader(index, cache_chunks=_MOST_OPEN_CHUNKS)
    for position, chunk_id in index.data_chunks():
        code, reason = _chunk_problem(store, sealed.project, chunk_id, index.chunk_bytes)
        if code is None and sound is not None and (sealed.project, chunk_id) not in sound:
            try:
                reader.pread(position * index.chunk_bytes, index.length_at(position))
            except ChunkMissing as problem:
                code, reason = Code.CHUNK_MISSING, str(problem)
            except ChunkCorrupt as problem:
                code, reason = Code.CHUNK_CORRUPT, str(problem)
            else:
                sound.add((sealed.project, chunk_id))
        if code is not None:
            wrong[code].append(f"the first at byte {position * index.chunk_bytes}: {reason}")
    for code, reasons in wrong.items():
        what = f"disk {sealed.disk.id}: {len(reasons)} of its chunks, {reasons[0]}"
        findings.add(code, sealed.owner, what)


def _chunk_problem(
    store: OpenStore, project: str, chunk_id: bytes, chunk_bytes: int
) -> tuple[Code | None, str]:
    size = store.chunks[project].get(chunk_id)
    if size is None:
        return Code.CHUNK_MISSING, f"{chunk_id.hex()} is not in the store"
    if size == 0:
        return Code.CHUNK_CORRUPT, f"{chunk_id.hex()} is empty"
    if size > chunk_bytes + _MOST_OVERHEAD_BYTES:
        return Code.CHUNK_CORRUPT, f"{chunk_id.hex()} has {size} bytes, more than a chunk can have"
    return None, ""


def _count(
    store: OpenStore, sealed: list[Sealed], named: Mapping[str, set[bytes]], findings: Findings
) -> None:
    """Counts indexes and chunks that no row names: they await the next collection."""
    counts = findings.counts
    for project, chunks in store.chunks.items():
        idle = [size for chunk_id, size in chunks.items() if chunk_id not in named.get(project, ())]
        counts.chunks += len(chunks)
        counts.stored_bytes += sum(chunks.values())
        counts.collectable_chunks += len(idle)
        counts.collectable_bytes += sum(idle)
    known = {(each.project, each.disk.index.id) for each in sealed}
    found = {(project, index_id) for project, ids in store.indexes.items() for index_id in ids}
    counts.collectable_indexes += len(found - known)
