"""CreateBackup: freeze, export, check, seal, thaw. Undone by thawing, and by marking the backup as failed."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from google.protobuf.message import Message
from sqlmodel import Session, col, select

from csbs.domain.backup import BackupEvent, BackupState, check_disks
from csbs.domain.refusals import BackupNotFound
from csbs.peers.ecs import Servers
from csbs.storage import backups
from csbs.storage.chunks import BackupChunks
from csbs.storage.tables import BackupRow
from recast.content.v1 import content_pb2
from recast.contentstore import partition_name
from recast.contracts.times import put_time
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.database import Database, Transaction
from recast.ecs.v1 import backup_source_service_pb2 as ecs_pb
from recast.faults import Refusal, StoreIoFailed
from recast.operations import Work
from recast.rpc.status import status_from_refusal

DOMAIN = "csbs.recast"


class CreateBackup:
    """The workflow. The freeze fixes the server's bytes; every later step may be repeated."""

    def __init__(
        self, database: Database, servers: Servers, chunks: BackupChunks, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._servers = servers
        self._chunks = chunks
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        server = backup_service_pb2.CreateBackupRequest.FromString(work.request).backup.server
        if not work.done("seal"):  # after it the owner may have deleted the backup
            self._make(work, server)
        self._servers.thaw(work, server, sealed_backup=work.target)
        with self._database.read() as session:
            return backups.current(session, work.target)

    def _make(self, work: Work, server: str) -> None:
        with self._database.read() as session:
            row = backups.load(session, work.target)
        frozen = work.step("freeze", lambda: self._freeze(work, server), ecs_pb.FreezeServerResponse)
        work.transact("mark", lambda tx: self._mark(tx, work.target, frozen))
        work.use(partition_name(work.project))  # no chunk of the project is collected until this work ends
        plan = work.step("plan", lambda: self._plan(work.id, row, frozen), ecs_pb.ExportDisksRequest)
        store = self._chunks.location(work.project)
        written = self._servers.export(work, server, store, plan.disks)
        sizes = {disk.disk: disk.size_bytes for disk in frozen.disks}
        refs = [(disk.index, sizes[disk.disk]) for disk in written.disks]
        work.step("check", lambda: self._chunks.check(work.project, work.target, refs))
        work.transact("seal", lambda tx: self._seal(tx, work.target, store, written), decides=True)

    def undo(self, work: Work, error: Refusal) -> None:
        """Ends the freeze and leaves the backup in ERROR without content. Its chunks await collection."""
        if work.done("seal"):
            return
        with self._database.read() as session:
            row = backups.load(session, work.target)
        self._servers.thaw(work, row.server, sealed_backup="")
        # Best effort: a collection deletes every index that no row names.
        with suppress(StoreIoFailed), self._chunks.open(work.project, work.target) as store:
            for disk in backup_pb2.Backup.FromString(row.disks).disks:
                store.delete_index(_index_id(work.id, disk.id))
        work.transact("undo:mark", lambda tx: self._fail(tx, work.target, error))

    def _freeze(self, work: Work, server: str) -> ecs_pb.FreezeServerResponse:
        freeze_time, disks = self._servers.freeze(server, work.id, work.target)
        answer = ecs_pb.FreezeServerResponse(disks=disks)
        put_time(answer.freeze_time, freeze_time)
        return answer

    def _mark(self, tx: Transaction, name: str, frozen: ecs_pb.FreezeServerResponse) -> None:
        """R04: every disk is frozen, so the content is fixed: "Image can be created"."""
        row = backups.load(tx.session, name, lock=True)
        check_disks(backups.value_from_row(row), row.server, [disk.disk for disk in frozen.disks])
        row.image_ready = True
        row.freeze_time = frozen.freeze_time.ToDatetime().replace(tzinfo=self._now().tzinfo)
        described = backup_pb2.Backup()
        for disk in frozen.disks:
            described.disks.add(
                id=disk_id(disk.role, disk.position),
                disk=disk.disk,
                role=disk.role,
                position=disk.position,
                display_name=disk.display_name,
                size_bytes=disk.size_bytes,
                shared=disk.shared,
            )
        row.disks = described.SerializeToString()
        row.size_bytes = sum(disk.size_bytes for disk in frozen.disks)
        backups.update(tx, row, self._now())

    def _plan(
        self, operation: str, row: BackupRow, frozen: ecs_pb.FreezeServerResponse
    ) -> ecs_pb.ExportDisksRequest:
        """The disks to write, each with an earlier index, whose chunks need not be read or stored again."""
        plan = ecs_pb.ExportDisksRequest()
        with self._database.read() as session:
            for disk in frozen.disks:
                export = plan.disks.add(
                    disk=disk.disk, index_id=_index_id(operation, disk_id(disk.role, disk.position))
                )
                if not row.full:
                    found = _parent(session, row, disk)
                    if found is not None:
                        export.parent_backup, parent = found
                        export.parent.CopyFrom(parent)
        return plan

    def _seal(
        self,
        tx: Transaction,
        name: str,
        store: content_pb2.ContentStore,
        written: ecs_pb.ExportDisksResult,
    ) -> None:
        row = backups.load(tx.session, name, lock=True)
        described = backup_pb2.Backup.FromString(row.disks)
        content = content_pb2.Content(store=content_pb2.ContentStore(url=store.url, project=store.project))
        by_disk = {disk.disk: disk for disk in written.disks}
        for disk in described.disks:
            result = by_disk[disk.disk]
            disk.data_bytes, disk.stored_bytes, disk.read_bytes = (
                result.data_bytes,
                result.stored_bytes,
                result.read_bytes,
            )
            content.disks.add(
                id=disk.id,
                role=disk.role,
                position=disk.position,
                display_name=disk.display_name,
                size_bytes=disk.size_bytes,
                index=result.index,
                source_disk=disk.disk,
            )
        row.disks = described.SerializeToString()
        row.content = content.SerializeToString()
        row.stored_bytes = sum(disk.stored_bytes for disk in described.disks)
        row.incremental = any(disk.incremental for disk in written.disks)
        row.finish_time = self._now()
        backups.move(tx, row, BackupEvent.SEALED, self._now())

    def _fail(self, tx: Transaction, name: str, error: Refusal) -> None:
        row = backups.load(tx.session, name, lock=True)
        row.error = status_from_refusal(error, DOMAIN).SerializeToString()
        row.image_ready = False
        backups.move(tx, row, BackupEvent.FAILED, self._now())


def disk_id(role: content_pb2.DiskRole.ValueType, position: int) -> str:
    """The id of a disk within its backup."""
    return "system" if role == content_pb2.DISK_ROLE_SYSTEM else f"data-{position}"


def _index_id(operation: str, disk: str) -> str:
    return f"{operation}-{disk}"


def _parent(
    session: Session, row: BackupRow, disk: ecs_pb.FrozenDisk
) -> tuple[str, content_pb2.IndexRef] | None:
    """The backup and the index that a disk is written against: the backup that its frozen layers are tracked
    from, else the newest of the server. None when neither has an index of the disk.
    """
    names = [disk.tracked_backup] if disk.tracked_backup else []
    newest = select(BackupRow.name).where(
        BackupRow.project == row.project,
        BackupRow.server == row.server,
        BackupRow.state == BackupState.AVAILABLE,
    )
    names += session.exec(newest.order_by(col(BackupRow.create_time).desc()).limit(1)).all()
    for name in names:
        try:
            earlier = backups.load(session, name)
        except BackupNotFound:
            continue
        if earlier.state == BackupState.AVAILABLE and earlier.content and earlier.project == row.project:
            for content in content_pb2.Content.FromString(earlier.content).disks:
                if content.source_disk == disk.disk:
                    return name, content.index
    return None
