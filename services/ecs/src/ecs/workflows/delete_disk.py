"""DeleteDisk: removes the files, then the row. It cannot be cancelled."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ecs.storage import disks
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from ecs.workflows.create_servers import remove_rows
from ecs.workflows.failing import fail_disk
from recast.database import Database, Transaction
from recast.faults import Refusal
from recast.operations import Work


class DeleteDisk:
    """The workflow."""

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        work.step("files", lambda: self._delete_files(work.target))
        work.transact("remove", lambda tx: self._remove(tx, work.target))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves a disk that cannot be deleted in ERROR; its owner deletes it again."""
        work.transact("undo:mark", lambda tx: fail_disk(tx, work.target, error, self._now()))

    def _delete_files(self, name: str) -> None:
        with self._database.read() as session:
            row = disks.load(session, name)
        with disk_faults():
            self._host.delete(row.folder)

    def _remove(self, tx: Transaction, name: str) -> None:
        row = tx.session.get(DiskRow, name)
        if row is not None:
            remove_rows(tx, [row])
