"""CollectChunks: deletes the chunks of a project that no imported image needs.

Alone in the project's partition while it runs.
"""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ims.storage import images
from ims.storage.chunks import ImageChunks
from recast.chunkstore import IndexRef
from recast.faults import Refusal
from recast.operations import Work
from recast.unitofwork import Database


class CollectChunks:
    """The workflow. It waits while an image is being written, and imports wait while it runs."""

    def __init__(self, database: Database, chunks: ImageChunks) -> None:
        self._database = database
        self._chunks = chunks

    def run(self, work: Work) -> Message:
        """See the module."""
        work.use(f"projects/{work.project}/chunks", exclusive=True)
        with self._database.read() as session:
            contents = images.live_contents(session, work.project)
        live = [IndexRef(disk.index.id, disk.index.digest) for content in contents for disk in content.disks]
        kept = {ref.id for ref in live}
        with self._chunks.open(work.project) as store:
            for orphan in [index for index in store.list_indexes() if index not in kept]:
                store.delete_index(orphan)  # nobody writes now: what has no row was left by work that failed
            store.collect(live, progress=lambda _done, _total: work.check())
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: what was collected is not missed, and what was not is collected next time."""
