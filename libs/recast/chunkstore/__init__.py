"""Stores the content of disks as deduplicated, compressed, checksummed chunks in an object store.

FORMAT.md, beside this package, states the invariants, the format, and the locks that each caller must hold.
"""

from .chunk import CHUNK_BYTES
from .collect import Collected
from .errors import (
    ChunkCorrupt,
    ChunkMissing,
    ChunkStoreError,
    IndexCorrupt,
    IndexMissing,
    ObjectUnfit,
    StoreIoError,
    StoreUnavailable,
    StoreVersionUnknown,
)
from .index import DiskIndex, IndexRef
from .keys import project_key
from .local_objects import LocalObjects
from .objects import Buffer, Objects, ObstoreObjects
from .reader import DiskContentReader
from .source import DiskSource, Progress
from .store import ChunkStore, Usage, open_objects
from .verify import DiskProblem
from .writer import WrittenDisk

__all__ = [
    "CHUNK_BYTES",
    "Buffer",
    "ChunkCorrupt",
    "ChunkMissing",
    "ChunkStore",
    "ChunkStoreError",
    "Collected",
    "DiskContentReader",
    "DiskIndex",
    "DiskProblem",
    "DiskSource",
    "IndexCorrupt",
    "IndexMissing",
    "IndexRef",
    "LocalObjects",
    "ObjectUnfit",
    "Objects",
    "ObstoreObjects",
    "Progress",
    "StoreIoError",
    "StoreUnavailable",
    "StoreVersionUnknown",
    "Usage",
    "WrittenDisk",
    "open_objects",
    "project_key",
]
