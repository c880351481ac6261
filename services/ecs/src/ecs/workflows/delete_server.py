"""DeleteServer: removes the attachments, the files of the disks, then the rows. It cannot be cancelled."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ecs.domain.disk import DiskEvent
from ecs.domain.refusals import ServerNotFound
from ecs.storage import disks, servers
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from ecs.workflows.create_servers import remove_rows
from ecs.workflows.failing import fail_disk, fail_server
from recast.database import Database, Transaction
from recast.ecs.v1 import server_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work


class DeleteServer:
    """R64: backups of the server, and images of those, outlive it: they hold bytes of their own.

    Data disks stay, detached, unless the request deletes them; disks shared with other servers always stay.
    """

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        with_data = pb.DeleteServerRequest.FromString(work.request).delete_data_disks
        removable = work.transact("detach", lambda tx: self._detach(tx, work.target, with_data))
        work.step("files", lambda: self._delete_files(removable))
        work.transact("remove", lambda tx: self._remove(tx, work.target, removable))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves a server that cannot be deleted in ERROR, with its disks; its owner deletes it again."""
        removable = work.recall("detach") if work.done("detach") else []
        work.transact("undo:mark", lambda tx: self._fail(tx, work.target, removable, error))

    def _detach(self, tx: Transaction, name: str, with_data: bool) -> list[str]:
        removable = []
        for place, disk in disks.lock_attached(tx.session, name):
            is_alone = len(disks.attachments(tx.session, disk.name)) == 1
            if is_alone and (with_data or disk.role == disks.SYSTEM):
                disks.move(tx, disk, DiskEvent.RELEASED, self._now())
                removable.append(disk.name)
            elif is_alone:
                disks.move(tx, disk, DiskEvent.DETACHED, self._now())
            tx.session.delete(place)
        return removable

    def _delete_files(self, removable: list[str]) -> None:
        for name in removable:
            with self._database.read() as session:
                disk = session.get(DiskRow, name)
            if disk is not None:
                with disk_faults():
                    self._host.delete(disk.folder)

    def _fail(self, tx: Transaction, name: str, removable: list[str], error: Refusal) -> None:
        for disk in removable:
            fail_disk(tx, disk, error, self._now())
        fail_server(tx, name, error, self._now())

    def _remove(self, tx: Transaction, name: str, removable: list[str]) -> None:
        remove_rows(tx, [disks.load(tx.session, disk, lock=True) for disk in removable])
        try:
            tx.session.delete(servers.load(tx.session, name, lock=True))
        except ServerNotFound:
            return
