"""CollectChunks: deletes the unreferenced chunks of a project, with exclusive use of its partition."""

from collections.abc import Callable, Sequence

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from sqlmodel import Session

from recast.chunkstore import IndexMissing, IndexRef
from recast.content.v1 import content_pb2
from recast.contentstore.store import ContentStore, partition_name
from recast.database import Database, Transaction
from recast.faults import Refusal, Unavailable
from recast.operations import Operations, Work

COLLECT_CHUNKS = "CollectChunks"


class CollectChunks:
    """The workflow. It waits while content is being written, and writers wait while it runs.

    `live_contents` returns all content of a project that has a row in the service's database.
    """

    def __init__(
        self,
        database: Database,
        chunks: ContentStore,
        live_contents: Callable[[Session, str], Sequence[content_pb2.Content]],
    ) -> None:
        self._database = database
        self._chunks = chunks
        self._live_contents = live_contents

    def run(self, work: Work) -> Message:
        """See the module."""
        work.use(partition_name(work.project), exclusive=True)
        live = self._live(work.project)
        live_ids = {ref.id for ref in live}
        with self._chunks.open(work.project, work.target) as store:
            for orphan in [index for index in store.list_indexes() if index not in live_ids]:
                store.delete_index(
                    orphan
                )  # no writer runs: an index without a row is left over from failed work
            try:
                store.collect(live, progress=lambda _done, _total: work.check())
            except IndexMissing as missing:
                # A deletion removes the row, then the index, without waiting: the live set may have
                # changed. If the row still exists the index is lost, and nothing may be swept.
                if self._live(work.project) == live:
                    raise
                raise Unavailable(problem="content was deleted meanwhile") from missing
        return Empty()

    def _live(self, project: str) -> list[IndexRef]:
        with self._database.read() as session:
            contents = self._live_contents(session, project)
        return [
            IndexRef(disk.index.id, disk.index.digest, disk.size_bytes)
            for content in contents
            for disk in content.disks
        ]

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing to undo: collected chunks were garbage, and the next collection deletes the rest."""


def record_collection(tx: Transaction, operations: Operations, project: str) -> None:
    """Records a collection after content was deleted, unless one is waiting already."""
    target = partition_name(project)
    if operations.waiting(tx.session, target) is None:
        operations.record(tx, project=project, verb=COLLECT_CHUNKS, target=target, request=Empty())
