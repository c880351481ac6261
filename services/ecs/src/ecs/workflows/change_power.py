"""StartServer, StopServer and RebootServer.

The `inert` hypervisor runs nothing: its disks are real, its power is a state.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.domain.server import ServerEvent
from ecs.storage import servers
from recast.database import Database, Transaction
from recast.faults import Refusal
from recast.operations import Work


class ChangePower:
    """The workflow of all three: `event` is what the server comes to, `back` what it was."""

    def __init__(
        self, database: Database, event: ServerEvent, back: ServerEvent, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._event = event
        self._back = back
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        work.check()
        work.transact("power", lambda tx: self._settle(tx, work.target, self._event), decides=True)
        with self._database.read() as session:
            return servers.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """The server is as it was."""
        if not work.done("power"):
            work.transact("undo:power", lambda tx: self._settle(tx, work.target, self._back))

    def _settle(self, tx: Transaction, name: str, event: ServerEvent) -> None:
        row = servers.load(tx.session, name, lock=True)
        servers.move(tx, row, event, self._now())
