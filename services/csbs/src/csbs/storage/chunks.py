"""The chunk store of backups."""

from collections.abc import Iterable

from csbs.domain.refusals import ContentDamaged
from recast.chunkstore import IndexRef
from recast.content.v1 import content_pb2
from recast.contentstore import ContentStore
from recast.faults import Refusal


class BackupChunks(ContentStore):
    """The content of every backup, by project."""

    def damaged(self, content: str, problem: object) -> Refusal:
        """`content` is a backup's name."""
        return ContentDamaged(backup=content, problem=problem)

    def check(self, project: str, backup: str, disks: Iterable[tuple[content_pb2.IndexRef, int]]) -> None:
        """Verifies each index by its digest and its disk's size; a backup is sealed only after this."""
        with self.open(project, backup) as store:
            for index, size_bytes in disks:
                found = store.read_index(IndexRef(index.id, index.digest, size_bytes))
                if found.size_bytes != size_bytes:
                    problem = f"index {index.id} has {found.size_bytes} bytes, the disk has {size_bytes}"
                    raise self.damaged(backup, problem)
