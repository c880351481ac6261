"""Derives the keys of FORMAT.md: a project's from the master, the index key from the project's."""

from functools import lru_cache

from blake3 import blake3

KEY_BYTES = 32

_PROJECT_CONTEXT = "recast.chunkstore 2025-01 project key"
_INDEX_CONTEXT = "recast.chunkstore 2025-01 index digest"


@lru_cache
def project_key(master: bytes, project: str) -> bytes:
    """Return the 32-byte key of a project; `master` is 32 secret bytes, the same for all projects."""
    if len(master) != KEY_BYTES:
        raise ValueError(f"the master key has {len(master)} bytes, not {KEY_BYTES}")
    return blake3(master + project.encode(), derive_key_context=_PROJECT_CONTEXT).digest()


def index_key(key: bytes) -> bytes:
    """Return the key that digests the indexes of the project whose key is `key`."""
    return blake3(key, derive_key_context=_INDEX_CONTEXT).digest()
