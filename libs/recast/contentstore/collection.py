"""CollectChunks: deletes the chunks of a project that no content needs.

Alone in the project's partition while it runs.
"""

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

    `live_contents` gives all content of a project that its service has a row of.
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
        kept = {ref.id for ref in live}
        with self._chunks.open(work.project, work.target) as store:
            for orphan in [index for index in store.list_indexes() if index not in kept]:
                store.delete_index(orphan)  # nobody writes now: what has no row was left by work that failed
            try:
                store.collect(live, progress=lambda _done, _total: work.check())
            except IndexMissing as missing:
                # A deletion takes the row, then the index, and waits for nobody: what is live is another set
                # now. With its row still there the index is lost, and nothing may be swept.
                if self._live(work.project) == live:
                    raise
                raise Unavailable(problem="content was deleted meanwhile") from missing
        return Empty()

    def _live(self, project: str) -> list[IndexRef]:
        with self._database.read() as session:
            contents = self._live_contents(session, project)
        return [IndexRef(disk.index.id, disk.index.digest) for content in contents for disk in content.disks]

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: what was collected is not missed, and what was not is collected next time."""


def record_collection(tx: Transaction, operations: Operations, project: str) -> None:
    """Records a collection after content was deleted, unless one is recorded that has not begun."""
    target = partition_name(project)
    if operations.waiting(tx.session, target) is None:
        operations.record(tx, project=project, verb=COLLECT_CHUNKS, target=target, request=Empty())
