"""CollectChunks: deletes the chunks of a project that no backup needs.

Alone in the project's partition while it runs.
"""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from recast.chunkstore import IndexMissing, IndexRef
from recast.database import Database
from recast.faults import Refusal, Unavailable
from recast.operations import Work


class CollectChunks:
    """The workflow.

    It waits while a backup is being written, and backups wait while it runs; their freeze does not.
    """

    def __init__(self, database: Database, chunks: BackupChunks) -> None:
        self._database = database
        self._chunks = chunks

    def run(self, work: Work) -> Message:
        """See the module."""
        work.use(f"projects/{work.project}/chunks", exclusive=True)
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
                raise Unavailable(problem="a backup was deleted meanwhile") from missing
        return Empty()

    def _live(self, project: str) -> list[IndexRef]:
        with self._database.read() as session:
            contents = backups.live_contents(session, project)
        return [IndexRef(disk.index.id, disk.index.digest) for content in contents for disk in content.disks]

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: what was collected is not missed, and what was not is collected next time."""
