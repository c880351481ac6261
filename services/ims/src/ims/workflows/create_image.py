"""CreateImage: hold, (back up,) lock, inspect, confirm, free, publish. No bytes are copied.

Undo releases the lock, deletes a backup that was made for the image, and frees the server. The image is in
ERROR then, with the reason.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ims.domain.image import ImageEvent, ImageKind, ImageState
from ims.domain.preparation import decide_preparation
from ims.domain.refusals import BackupFailed, ImageNotFound
from ims.peers.csbs import NOT_READY, Backups, BackupWait
from ims.peers.ecs import SourceServers
from ims.storage import images
from ims.storage.chunks import storage_faults
from ims.storage.reports import findings_from_image, image_from_report
from ims.storage.tables import ImageRow
from recast.chunkstore import IndexRef
from recast.content.v1 import content_pb2
from recast.contentstore import PeerStores
from recast.database import Database, Transaction
from recast.faults import Kind, Refusal
from recast.ims.v1 import image_pb2, image_service_pb2
from recast.operations import Work
from recast.preparation import Inspector
from recast.rpc.status import status_from_refusal

DOMAIN = "ims.recast"


class CreateImage:
    """R01: a full-server image is made of a backup, and servers of it.

    With `enforce_preparation` an image of an unprepared server is refused; else its findings are recorded.
    With `refuse_unknown` it is also refused for a required check that could not be made.
    """

    def __init__(
        self,
        database: Database,
        backups: Backups,
        servers: SourceServers,
        stores: PeerStores,
        inspector: Inspector,
        enforce_preparation: bool,
        refuse_unknown: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._backups = backups
        self._servers = servers
        self._stores = stores
        self._inspector = inspector
        self._enforce = enforce_preparation
        self._refuse_unknown = refuse_unknown
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        if not work.done("publish"):  # after it the owner may have deleted the image
            with self._database.read() as session:
                row = images.load(session, work.target)
            self._make(work, row)
        with self._database.read() as session:
            return images.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """Releases the backup and frees the server; the image is in ERROR, with the reason (R63)."""
        if work.done("publish") or work.done("undo:mark"):  # after the mark its id may be a new image's
            return
        try:
            with self._database.read() as session:
                row = images.load(session, work.target)
        except ImageNotFound:
            return
        if row.source_backup:
            self._backups.release(row.source_backup, row.name, row.lock_token, work.id)
        self._delete_made_backup(work, row)
        self._free(work, row)
        work.transact("undo:mark", lambda tx: self._fail(tx, row.name, error))

    def _delete_made_backup(self, work: Work, row: ImageRow) -> None:
        """Removes the backup that was made for this image; nobody asked for it by itself."""
        request = image_service_pb2.CreateImageRequest.FromString(work.request)
        if not request.server:
            return
        try:
            self._backups.withdraw(work, row.project, request.server)
        except Refusal as refusal:
            if refusal.reason != "BACKUP_HAS_IMAGE":  # of somebody else: it stays
                raise

    def _make(self, work: Work, row: ImageRow) -> None:
        """Every call of a peer here may be repeated; three transactions record what later steps need."""
        if row.held_server:
            # Before the backup, if one is made: a stopped source stays stopped from the beginning (R23).
            self._servers.hold(row.held_server, row.name, work.id)
        if not row.source_backup:
            row.source_backup = self._backups.create(work, row.project, row.source_server)
            work.transact("source", lambda tx: self._set_source(tx, row))
        row.lock_request_id = work.id
        row.lock_token, content = self._lock(work, row)
        work.transact("lock", lambda tx: self._set_lock(tx, row))
        content = content or self._await_content(work, row)
        report = _inspect(self._stores, self._inspector, row.name, content)
        decide_preparation(
            row.source_backup,
            findings_from_image(report),
            enforce=self._enforce,
            refuse_unknown=self._refuse_unknown,
        )
        work.check()
        self._backups.confirm(row.source_backup, row.name, row.lock_token)
        # The lock is confirmed, so the content of the image is fixed: the source may be started again.
        self._free(work, row)
        work.transact("publish", lambda tx: self._publish(tx, row.name, content, report), decides=True)

    def _lock(self, work: Work, row: ImageRow) -> tuple[int, content_pb2.Content | None]:
        wait = BackupWait(work, self._backups, row.source_backup)
        while True:
            try:
                return self._backups.lock(row.source_backup, row.name, work.id)
            except Refusal as refusal:
                is_being_made = refusal.reason in NOT_READY and refusal.facts.get("state") == "CREATING"
                if not is_being_made:
                    raise
            wait.pause()

    def _await_content(self, work: Work, row: ImageRow) -> content_pb2.Content:
        """The content, as soon as the backup is AVAILABLE.

        It holds a key, so it is not stored here, but read again each time.
        """
        wait = BackupWait(work, self._backups, row.source_backup)
        while True:
            try:
                return self._backups.content(row.source_backup, row.name, row.lock_token)
            except Refusal as refusal:
                if refusal.kind is Kind.NOT_FOUND or refusal.facts.get("state") == "ERROR":
                    raise BackupFailed(backup=row.source_backup) from refusal
                if refusal.reason not in NOT_READY:
                    raise
            wait.pause()

    def _free(self, work: Work, row: ImageRow) -> None:
        if row.held_server:
            self._servers.free(row.held_server, row.name, work.id)

    def _set_source(self, tx: Transaction, made: ImageRow) -> None:
        row = images.load(tx.session, made.name, lock=True)
        row.source_backup = made.source_backup
        images.claim_backup(tx.session, row)
        images.update(tx, row, self._now())

    def _set_lock(self, tx: Transaction, made: ImageRow) -> None:
        row = images.load(tx.session, made.name, lock=True)
        row.lock_token, row.lock_request_id = made.lock_token, made.lock_request_id
        images.update(tx, row, self._now())

    def _publish(
        self, tx: Transaction, name: str, content: content_pb2.Content, report: image_pb2.Image
    ) -> None:
        """The creation is done when the image is NORMAL (R37)."""
        row = images.load(tx.session, name, lock=True)
        register_content(row, content, report)
        row.finish_time = self._now()
        images.move(tx, row, ImageEvent.PUBLISHED, self._now())

    def _fail(self, tx: Transaction, name: str, error: Refusal) -> None:
        row = images.load(tx.session, name, lock=True)
        if row.withdrawn:  # its request was refused
            tx.session.delete(row)
            return
        if row.state == ImageState.ERROR:  # migration 0009 found a second image of its backup
            return
        row.error = status_from_refusal(error, DOMAIN).SerializeToString()
        row.lock_token = 0
        images.move(tx, row, ImageEvent.FAILED, self._now())


def register_content(row: ImageRow, content: content_pb2.Content, report: image_pb2.Image) -> None:
    """Writes the disks, and the findings on the system disk, into the row."""
    defaults = image_service_pb2.GetProvisioningDefaultsResponse()
    for disk in content.disks:
        defaults.disks.add(
            id=disk.id,
            role=disk.role,
            position=disk.position,
            display_name=disk.display_name,
            size_bytes=disk.size_bytes,
        )
    row.defaults = defaults.SerializeToString()
    row.min_disk_bytes = content.disks[0].size_bytes
    row.size_bytes = sum(disk.size_bytes for disk in content.disks)
    row.disk_count = len(content.disks)
    row.os_name = report.os_name
    details = image_pb2.Image(preparation=report.preparation, warnings=report.warnings)
    row.details = details.SerializeToString()


def _inspect(
    stores: PeerStores, inspector: Inspector, image: str, content: content_pb2.Content
) -> image_pb2.Image:
    """Inspects the system disk; reads a few megabytes of it, whatever its size."""
    system = next(disk for disk in content.disks if disk.role == content_pb2.DISK_ROLE_SYSTEM)
    with (
        storage_faults(image),
        stores.open(content.store) as store,
    ):
        index = store.read_index(IndexRef(system.index.id, system.index.digest, system.size_bytes))
        return image_from_report(inspector.inspect(store.reader(index)), ImageKind.FULL_SERVER)
