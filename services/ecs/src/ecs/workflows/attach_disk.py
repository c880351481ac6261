"""AttachDisk: checks the files of the disk, and marks the disk as IN_USE.

The handler records the attachment with the work. Undo removes the attachment.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.storage import disks
from ecs.storage.host import Host, disk_faults
from recast.database import Database, Transaction
from recast.ecs.v1 import disk_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work


class AttachDisk:
    """The workflow."""

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.step("check", lambda: self._check(work.target))
        work.transact("attach", lambda tx: self._end(tx, work, is_attached=True), decides=True)
        with self._database.read() as session:
            return disks.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """Removes the attachment and returns the disk to the state before."""
        if not work.done("attach"):
            work.transact("undo:attach", lambda tx: self._end(tx, work, is_attached=False))

    def _check(self, name: str) -> None:
        with self._database.read() as session:
            folder = disks.load(session, name).folder
        with disk_faults(name):
            self._host.check(folder)

    def _end(self, tx: Transaction, work: Work, *, is_attached: bool) -> None:
        server = pb.AttachDiskRequest.FromString(work.request).server
        disks.end_attachment(tx, work.target, server, self._now(), is_attached=is_attached)
