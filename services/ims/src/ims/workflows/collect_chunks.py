"""CollectChunks: deletes the chunks of a project that no imported image needs.

Alone in the project's partition while it runs.
"""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ims.storage import images
from ims.storage.chunks import ImageChunks
from recast.chunkstore import IndexMissing, IndexRef
from recast.database import Database
from recast.faults import Refusal, Unavailable
from recast.operations import Work


class CollectChunks:
    """The workflow. It waits while an image is being written, and imports wait while it runs."""

    def __init__(self, database: Database, chunks: ImageChunks) -> None:
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
                raise Unavailable(problem="an image was deleted meanwhile") from missing
        return Empty()

    def _live(self, project: str) -> list[IndexRef]:
        with self._database.read() as session:
            contents = images.live_contents(session, project)
        return [IndexRef(disk.index.id, disk.index.digest) for content in contents for disk in content.disks]

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: what was collected is not missed, and what was not is collected next time."""
