"""The names of a project's objects in the store."""

import re

SETTINGS_NAME = "recast-chunkstore.json"

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHUNK_NAME = re.compile(r"[0-9a-f]{64}")


def checked_segment(what: str, value: str) -> str:
    """Return `value` if it may be part of an object's name, else raise ValueError that names `what`."""
    if not _SEGMENT.fullmatch(value):
        raise ValueError(f"{what} {value!r} does not match {_SEGMENT.pattern}")
    return value


class ProjectLayout:
    """The names of one project's objects."""

    def __init__(self, project: str) -> None:
        checked_segment("project", project)
        self.chunks_prefix = f"{project}/chunks"
        self.indexes_prefix = f"{project}/indexes"
        self.checkpoints_prefix = f"{project}/checkpoints"

    def chunk(self, chunk_id: bytes) -> str:
        """Return the name of a chunk."""
        digits = chunk_id.hex()
        return f"{self.chunks_prefix}/{digits[:2]}/{digits}"

    def index(self, index_id: str) -> str:
        """Return the name of an index; ValueError if the id cannot be one."""
        return f"{self.indexes_prefix}/{checked_segment('index id', index_id)}"

    def checkpoint(self, index_id: str) -> str:
        """Return the name of the checkpoint of the write of an index; ValueError if the id cannot be one."""
        return f"{self.checkpoints_prefix}/{checked_segment('index id', index_id)}"

    def chunk_id_of(self, name: str) -> bytes | None:
        """Return the id of the chunk of this name; None for a foreign name."""
        digits = name.rpartition("/")[2]
        if not _CHUNK_NAME.fullmatch(digits) or name != self.chunk(bytes.fromhex(digits)):
            return None
        return bytes.fromhex(digits)

    def index_id_of(self, name: str) -> str | None:
        """Return the id of the index of this name; None for a foreign name."""
        index_id = name.removeprefix(f"{self.indexes_prefix}/")
        return index_id if _SEGMENT.fullmatch(index_id) else None
