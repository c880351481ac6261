"""The chunk store of imported images: each project has its own partition of it, under its own key."""

from recast.chunkstore import ChunkStore, StoreUnavailable, open_objects, project_key
from recast.content.v1 import content_pb2
from recast.faultpoints import pointed
from recast.faults import Unavailable


class ImageChunks:
    """Opens partitions by project.

    `master_key` (32 bytes) is the store's; a project's key is derived from it.
    """

    def __init__(self, url: str, master_key: bytes) -> None:
        self._url = url
        self._master_key = master_key

    def location(self, project: str) -> content_pb2.ContentStore:
        """Where a project's chunks are, with its key: what another service needs to read or write them."""
        key = project_key(self._master_key, project)
        return content_pb2.ContentStore(url=self._url, project=project, key=key)

    def open(self, project: str) -> ChunkStore:
        """The project's partition."""
        try:
            return ChunkStore.over(
                pointed(open_objects(self._url)), project=project, key=project_key(self._master_key, project)
            )
        except StoreUnavailable as away:
            raise Unavailable(problem=f"the chunk store does not answer: {away}") from away
