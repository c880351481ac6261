"""DeleteImage: releases the lock, removes the row and the bytes, and then, if requested, deletes the backup.

It cannot be cancelled.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from sqlalchemy import delete

from ims.domain.image import ImageEvent
from ims.domain.refusals import BackupDeletionFailed, ImageNotFound
from ims.peers.csbs import Backups
from ims.storage import images
from ims.storage.chunks import ImageChunks, storage_faults
from ims.storage.staging import Staging
from ims.storage.tables import ImagePinRow, ImageRow
from ims.workflows.create_image import DOMAIN
from recast.content.v1 import content_pb2
from recast.contentstore import record_collection
from recast.database import Database, Transaction
from recast.faults import Kind, Refusal
from recast.ims.v1 import image_service_pb2 as pb
from recast.operations import Operations, Work
from recast.rpc.status import status_from_refusal


class DeleteImage:
    """The workflow."""

    def __init__(
        self,
        database: Database,
        operations: Operations,
        backups: Backups,
        chunks: ImageChunks,
        staging: Staging,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._operations = operations
        self._backups = backups
        self._chunks = chunks
        self._staging = staging
        self._now = now

    def run(self, work: Work) -> Message | Refusal:
        """See the module.

        Ends with BackupDeletionFailed when the image was deleted and the backup could not be (R44).
        """
        work.decide()
        backup = work.step("release", lambda: self._release(work))
        index = work.transact("remove", lambda tx: self._remove(tx, work.target))
        if index:
            work.step("index", lambda: self._delete_index(work, index))
            work.transact("collect", lambda tx: record_collection(tx, self._operations, work.project))
        if backup and pb.DeleteImageRequest.FromString(work.request).delete_backup:
            try:
                self._backups.delete(work, backup)
            except Refusal as refusal:
                if refusal.kind in {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED}:
                    raise
                return BackupDeletionFailed(image=work.target, backup=backup, problem=refusal.text)
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves an image that cannot be deleted in ERROR; its owner deletes it again."""
        work.transact("undo:mark", lambda tx: self._fail(tx, work.target, error))

    def _release(self, work: Work) -> str:
        """R17, R45: releases the backup for its deletion, or for another image. Gives the backup's name."""
        with self._database.read() as session:
            row = images.load(session, work.target)
        with storage_faults(row.name):
            self._staging.remove(row.upload_key)
        if row.source_backup and row.lock_token:
            self._backups.release(row.source_backup, row.name, row.lock_token, row.lock_request_id)
        return row.source_backup

    def _remove(self, tx: Transaction, name: str) -> str:
        try:
            row = images.load(tx.session, name, lock=True)
        except ImageNotFound:
            return ""
        content = content_pb2.Content.FromString(row.content or b"")
        tx.session.delete(row)
        table = ImagePinRow.__table__  # type: ignore[attr-defined]
        tx.session.connection().execute(delete(table).where(table.c.image == name))
        return content.disks[0].index.id if content.disks else ""

    def _fail(self, tx: Transaction, name: str, error: Refusal) -> None:
        row = tx.session.get(ImageRow, name)
        if row is not None:
            row.error = status_from_refusal(error, DOMAIN).SerializeToString()
            images.move(tx, row, ImageEvent.FAILED, self._now())

    def _delete_index(self, work: Work, index: str) -> None:
        with self._chunks.open(work.project, work.target) as store:
            store.delete_index(index)
