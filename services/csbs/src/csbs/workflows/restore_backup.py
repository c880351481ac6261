"""RestoreBackup: has ECS write the backup to a server's disks.

After it the backup is AVAILABLE again, also when it failed or was cancelled.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from csbs.domain.backup import BackupEvent
from csbs.peers.ecs import Servers
from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from recast.content.v1 import content_pb2
from recast.contentstore import partition_name
from recast.csbs.v1 import backup_service_pb2 as pb
from recast.database import Database, Transaction
from recast.ecs.v1 import backup_source_service_pb2 as ecs_pb
from recast.faults import Refusal
from recast.operations import Work


class RestoreBackup:
    """The workflow. Its request has the whole mapping, which the handler planned."""

    def __init__(
        self, database: Database, servers: Servers, chunks: BackupChunks, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._servers = servers
        self._chunks = chunks
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        if not work.done("end"):
            self._restore(work)
        with self._database.read() as session:
            return backups.current(session, work.target)

    def _restore(self, work: Work) -> None:
        work.use(partition_name(work.project))
        self._servers.restore(work, self._request(work))
        work.transact("end", lambda tx: self._end(tx, work.target), decides=True)

    def undo(self, work: Work, error: Refusal) -> Message | None:
        """The backup was only read. Gives it as the result when ECS had restored the server already."""
        if work.done("end"):
            return None
        is_restored = self._servers.withdraw_restore(work, self._request(work))
        work.transact("undo:end", lambda tx: self._end(tx, work.target))
        if not is_restored:
            return None
        with self._database.read() as session:
            return backups.current(session, work.target)

    def _request(self, work: Work) -> ecs_pb.RestoreDisksRequest:
        """The request to ECS; the same each time, because a repeat must replay."""
        request = pb.RestoreBackupRequest.FromString(work.request)
        with self._database.read() as session:
            row = backups.load(session, work.target)
        content = content_pb2.Content.FromString(row.content or b"")
        content.store.CopyFrom(self._chunks.location(work.project))
        return ecs_pb.RestoreDisksRequest(
            server=request.server,
            content=content,
            mappings=[
                ecs_pb.RestoreDiskMapping(content_disk=each.backup_disk, disk=each.disk)
                for each in request.mappings
            ],
            power_on=request.power_on,
            request_id=f"{work.id}-restore",
        )

    def _end(self, tx: Transaction, name: str) -> None:
        row = backups.load(tx.session, name, lock=True)
        backups.move(tx, row, BackupEvent.RESTORE_ENDED, self._now())
