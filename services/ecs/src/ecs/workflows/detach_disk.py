"""DetachDisk: removes the attachment of the disk to the server. Undo leaves the disk attached."""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.storage import disks
from recast.database import Database, Transaction
from recast.ecs.v1 import disk_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work


class DetachDisk:
    """The workflow."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.check()
        work.transact("detach", lambda tx: self._end(tx, work, is_attached=False), decides=True)
        with self._database.read() as session:
            return disks.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves the disk attached, in the state before."""
        if not work.done("detach"):
            work.transact("undo:detach", lambda tx: self._end(tx, work, is_attached=True))

    def _end(self, tx: Transaction, work: Work, *, is_attached: bool) -> None:
        server = pb.DetachDiskRequest.FromString(work.request).server
        disks.end_attachment(tx, work.target, server, self._now(), is_attached=is_attached)
