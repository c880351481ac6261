"""The errors of a store; every message names the object."""


class ChunkStoreError(Exception):
    """Anything the chunk store refuses or fails at."""


class ChunkMissing(ChunkStoreError):
    """An index names a chunk that is not in the store."""


class ChunkCorrupt(ChunkStoreError):
    """A chunk's bytes do not hash to its name, or cannot be decoded."""


class IndexMissing(ChunkStoreError):
    """There is no index object of this id."""


class IndexCorrupt(ChunkStoreError):
    """An index does not match its digest, or is no index of this version."""


class ObjectUnfit(ChunkStoreError):
    """What has an object's name is no regular file, or larger than the object may be; it was not read."""


class StoreVersionUnknown(ChunkStoreError):
    """The settings object is of another version, or unreadable."""


class StoreUnavailable(ChunkStoreError):
    """The store could not be reached or failed a request; a retry may succeed. Nothing is durable."""


class StoreIoError(ChunkStoreError):
    """The store's own storage failed: full, read-only, an I/O error. An operator must repair it.

    Nothing is durable.
    """
