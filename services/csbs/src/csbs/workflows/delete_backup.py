"""DeleteBackup: removes the row, then the indexes, and records a collection of chunks.

It cannot be cancelled.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from csbs.domain.backup import BackupEvent
from csbs.domain.refusals import BackupNotFound
from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from csbs.storage.tables import BackupRow
from csbs.workflows.create_backup import DOMAIN
from recast.content.v1 import content_pb2
from recast.contentstore import record_collection
from recast.database import Database, Transaction
from recast.faults import Refusal
from recast.operations import Operations, Work
from recast.rpc.status import status_from_refusal


class DeleteBackup:
    """The workflow."""

    def __init__(
        self, database: Database, operations: Operations, chunks: BackupChunks, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._operations = operations
        self._chunks = chunks
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        # The row goes first: after that no caller gets these indexes. An index without a row is collected.
        indexes = work.transact("remove", lambda tx: self._remove(tx, work.target))
        work.step("indexes", lambda: self._delete_indexes(work, indexes))
        work.transact("collect", lambda tx: record_collection(tx, self._operations, work.project))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves a backup that cannot be deleted in ERROR; its owner deletes it again.

        The next collection deletes indexes without a row.
        """
        work.transact("undo:mark", lambda tx: self._fail(tx, work.target, error))

    def _fail(self, tx: Transaction, name: str, error: Refusal) -> None:
        row = tx.session.get(BackupRow, name)
        if row is not None:
            row.error = status_from_refusal(error, DOMAIN).SerializeToString()
            row.image_ready = False
            backups.move(tx, row, BackupEvent.FAILED, self._now())

    def _remove(self, tx: Transaction, name: str) -> list[str]:
        try:
            row = backups.load(tx.session, name, lock=True)
        except BackupNotFound:
            return []
        content = content_pb2.Content.FromString(row.content or b"")
        tx.session.delete(row)
        return [disk.index.id for disk in content.disks]

    def _delete_indexes(self, work: Work, indexes: list[str]) -> None:
        with self._chunks.open(work.project, work.target) as store:
            for index in indexes:
                store.delete_index(index)
