"""DeleteDisk: its files, then its row. Decided when it was asked for."""

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from ecs.storage import disks
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from ecs.workflows.create_servers import remove_rows
from recast.faults import Refusal
from recast.operations import Work
from recast.unitofwork import Database, Transaction


class DeleteDisk:
    """The workflow."""

    def __init__(self, database: Database, host: Host) -> None:
        self._database = database
        self._host = host

    def run(self, work: Work) -> Message:
        """See the module."""
        work.decide()
        work.step("files", lambda: self._delete_files(work.target))
        work.transact("remove", lambda tx: self._remove(tx, work.target))
        return Empty()

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: a deletion is decided when it is asked for."""

    def _delete_files(self, name: str) -> None:
        with self._database.read() as session:
            row = disks.load(session, name)
        with disk_faults():
            self._host.delete(row.folder)

    def _remove(self, tx: Transaction, name: str) -> None:
        row = tx.session.get(DiskRow, name)
        if row is not None:
            remove_rows(tx, [row])
