"""ThawServer: merges the frozen layers, records the backup that they equal, and ends the freeze."""

from collections.abc import Callable, Iterable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ecs.domain.refusals import ServerNotFound
from ecs.storage import freezes, servers
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from recast.database import Database, Transaction
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work


class ThawServer:
    """The workflow. It cannot be cancelled: a thaw is the only end of a freeze."""

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        request = pb.ThawServerRequest.FromString(work.request)
        with self._database.read() as session:
            names = freezes.frozen_disks(session, request.server, request.freeze_id)
        for name in names:
            work.step(f"thaw {name}", lambda name=name: self._thaw(name, request.freeze_id))  # type: ignore[misc]
        work.transact("end", lambda tx: self._end(tx, request, names))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Ends the freeze with unmerged layers beneath the disks, which lose no bytes; the next freeze or
        restore merges them. The next backup of the server reads everything.
        """
        request = pb.ThawServerRequest.FromString(work.request)
        request.sealed_backup = ""
        with self._database.read() as session:
            names = freezes.frozen_disks(session, request.server, request.freeze_id)
        work.transact("undo:end", lambda tx: self._end(tx, request, names))

    def _thaw(self, name: str, freeze_id: str) -> None:
        with self._database.read() as session:
            row = session.get(DiskRow, name)
        if row is not None:
            with disk_faults(name):
                self._host.disk(row.folder).thaw(freeze_id)

    def _end(self, tx: Transaction, request: pb.ThawServerRequest, names: Iterable[str]) -> None:
        for name in names:
            disk = tx.session.get(DiskRow, name)
            if disk is not None:
                # Without a sealed backup no backup equals the layers: the next one reads everything.
                disk.tracked_backup = request.sealed_backup
                disk.touch(self._now())
                tx.session.add(disk)
        freezes.mark_thawed(tx, request.server, request.freeze_id)
        try:
            row = servers.load(tx.session, request.server, lock=True)
        except ServerNotFound:
            return
        if row.freeze_id == request.freeze_id:
            row.freeze_id = row.frozen_for = ""
            row.touch(self._now())
            tx.session.add(row)
