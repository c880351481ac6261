"""The objects of one project: chunks and indexes, saved and loaded by the invariants of FORMAT.md."""

from .checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from .chunk import ChunkCodec, largest_chunk_object
from .errors import ChunkCorrupt, ChunkMissing, IndexCorrupt, IndexMissing, ObjectUnfit
from .index import (
    MAX_DISK_BYTES,
    DiskIndex,
    IndexRef,
    decode_index,
    digest_index,
    encode_index,
    largest_index_object,
)
from .keys import KEY_BYTES, index_key
from .layout import ProjectLayout
from .objects import Buffer, Objects


class ProjectObjects:
    """The chunks and indexes of one project. Safe to use from several threads."""

    def __init__(self, objects: Objects, project: str, key: bytes, chunk_bytes: int) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the project's key has {len(key)} bytes, not {KEY_BYTES}")
        self.objects = objects
        self.layout = ProjectLayout(project)
        self.chunk_bytes = chunk_bytes
        self.codec = ChunkCodec(key, chunk_bytes)
        self._index_key = index_key(key)

    def load_chunk(self, chunk_id: bytes, length: int) -> tuple[Buffer, int]:
        """Return a chunk's `length` plain bytes, checked, and the size of its object."""
        name = self.layout.chunk(chunk_id)
        try:
            stored = self.objects.get(name, largest_chunk_object(length))
        except ObjectUnfit as problem:
            raise ChunkCorrupt(f"chunk {problem}") from problem
        if stored is None:
            raise ChunkMissing(f"chunk {name}: not in the store")
        return self.codec.decode(stored, chunk_id, length, name), len(stored)

    def save_chunk(self, chunk_id: bytes, data: bytes) -> int:
        """Ensure that a whole chunk is in the store; return the bytes put, 0 if it existed.

        It is durable after the next barrier. An existing object is used only after its bytes were read back
        (F6): a power cut leaves torn files. Right bytes are never replaced (F4).
        """
        name = self.layout.chunk(chunk_id)
        if self._is_whole(name, chunk_id, len(data)):
            return 0
        stored = self.codec.encode(data)
        if not self.objects.put_new(name, stored):
            # The name is taken: by wrong bytes, or by another writer since the check.
            if self._is_whole(name, chunk_id, len(data)):
                return 0
            self.objects.replace(name, stored)
        return len(stored)

    def load_index(self, ref: IndexRef) -> DiskIndex:
        """Return an index whose bytes match the digest of its ref."""
        name = self.layout.index(ref.id)
        try:
            stored = self.objects.get(name, largest_index_object(ref.disk_bytes, self.chunk_bytes))
        except ObjectUnfit as problem:
            raise IndexCorrupt(f"index {problem}") from problem
        if stored is None:
            raise IndexMissing(f"index {name}: not in the store")
        if digest_index(self._index_key, stored) != ref.digest:
            raise IndexCorrupt(f"index {name}: does not match its digest")
        return decode_index(ref, stored, name)

    def load_unsealed_index(self, index_id: str, disk_bytes: int = MAX_DISK_BYTES) -> DiskIndex | None:
        """Return an index from the device, without a ref to check it by; None if there is none."""
        name = self.layout.index(index_id)
        try:
            stored = self.objects.read_back(name, largest_index_object(disk_bytes, self.chunk_bytes))
        except ObjectUnfit as problem:
            raise IndexCorrupt(f"index {problem}") from problem
        if stored is None:
            return None
        ref = IndexRef(index_id, digest_index(self._index_key, stored))
        return decode_index(ref, stored, name)

    def save_index(self, index_id: str, size_bytes: int, ids: bytes) -> IndexRef:
        """Put an index; it is durable after the next barrier.

        An equal one stays: it may be sealed already, and this call a late duplicate (F4).
        """
        name = self.layout.index(index_id)
        stored = encode_index(size_bytes, self.chunk_bytes, ids)
        if not self.objects.put_new(name, stored):
            try:
                found = self.load_unsealed_index(index_id, size_bytes)
            except IndexCorrupt:
                found = None  # torn by a power cut during an earlier attempt
            if found and (found.size_bytes, found.chunk_bytes, found.ids) == (
                size_bytes,
                self.chunk_bytes,
                ids,
            ):
                return found.ref
            self.objects.replace(name, stored)
        return IndexRef(index_id, digest_index(self._index_key, stored), size_bytes)

    def load_checkpoint(self, index_id: str, disk_bytes: int) -> Checkpoint | None:
        """Return the checkpoint of an earlier write of this index of a disk; None if there is none."""
        try:
            stored = self.objects.get(
                self.layout.checkpoint(index_id), largest_index_object(disk_bytes, self.chunk_bytes)
            )
        except ObjectUnfit:
            return None  # no checkpoint of this write
        return None if stored is None else decode_checkpoint(self._index_key, index_id, stored)

    def save_checkpoint(self, index_id: str, checkpoint: Checkpoint) -> None:
        """Save a checkpoint, after a barrier: the chunks that it names must be durable (F11)."""
        self.objects.barrier()
        stored = encode_checkpoint(self._index_key, index_id, checkpoint)
        self.objects.replace(self.layout.checkpoint(index_id), stored)

    def delete_checkpoint(self, index_id: str) -> None:
        """Delete the checkpoint of a write, if there is one."""
        self.objects.delete([self.layout.checkpoint(index_id)])

    def _is_whole(self, name: str, chunk_id: bytes, length: int) -> bool:
        if self.objects.puts_are_durable:
            return self.objects.size(name) is not None
        try:
            stored = self.objects.read_back(name, largest_chunk_object(length))
            return stored is not None and bool(self.codec.decode(stored, chunk_id, length, name))
        except (ChunkCorrupt, ObjectUnfit):
            return False
