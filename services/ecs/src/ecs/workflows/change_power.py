"""StartServer, StopServer and RebootServer.

The `inert` hypervisor runs no guest: disks are real, power is a state.
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
    """The workflow of all three. `event` leads to the new state, `back` to the state before."""

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
        work.transact("power", lambda tx: self._move(tx, work.target, self._event), decides=True)
        with self._database.read() as session:
            return servers.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """Returns the server to the state before."""
        if not work.done("power"):
            work.transact("undo:power", lambda tx: self._move(tx, work.target, self._back))

    def _move(self, tx: Transaction, name: str, event: ServerEvent) -> None:
        row = servers.load(tx.session, name, lock=True)
        servers.move(tx, row, event, self._now())
