"""DeleteServer: its places, its disks' files, its rows. Decided when it was asked for."""

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

    Data disks are kept, detached, unless their deletion was asked for; shared ones that others use always.
    """

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        with_data = pb.DeleteServerRequest.FromString(work.request).delete_data_disks
        doomed = work.transact("detach", lambda tx: self._detach(tx, work.target, with_data))
        work.step("files", lambda: self._delete_files(doomed))
        work.transact("remove", lambda tx: self._remove(tx, work.target, doomed))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """What cannot be deleted is in ERROR, to be deleted again."""
        doomed = work.recall("detach") if work.done("detach") else []
        work.transact("undo:mark", lambda tx: self._fail(tx, work.target, doomed, error))

    def _detach(self, tx: Transaction, name: str, with_data: bool) -> list[str]:
        doomed = []
        attached = disks.attached_to(tx.session, name)
        for disk_name in sorted(disk.name for _, disk in attached):
            # Another server may be given a shared disk, or lose it, at the same time.
            disks.load(tx.session, disk_name, lock=True)
        for place, disk in attached:
            is_alone = len(disks.attachments(tx.session, disk.name)) == 1
            if is_alone and (with_data or disk.role == disks.SYSTEM):
                disks.move(tx, disk, DiskEvent.LET_GO, self._now())
                doomed.append(disk.name)
            elif is_alone:
                disks.move(tx, disk, DiskEvent.DETACHED, self._now())
            tx.session.delete(place)
        return doomed

    def _delete_files(self, doomed: list[str]) -> None:
        for name in doomed:
            with self._database.read() as session:
                disk = session.get(DiskRow, name)
            if disk is not None:
                with disk_faults():
                    self._host.delete(disk.folder)

    def _fail(self, tx: Transaction, name: str, doomed: list[str], error: Refusal) -> None:
        for disk in doomed:
            fail_disk(tx, disk, error, self._now())
        fail_server(tx, name, error, self._now())

    def _remove(self, tx: Transaction, name: str, doomed: list[str]) -> None:
        remove_rows(tx, [disks.load(tx.session, disk, lock=True) for disk in doomed])
        try:
            tx.session.delete(servers.load(tx.session, name, lock=True))
        except ServerNotFound:
            return
