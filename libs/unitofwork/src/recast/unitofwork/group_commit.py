"""Writes one after the other, which share a commit when they wait for one another: SQLite.

One thread writes at a time, and most of its time is the sync of its commit. So a write for which another
waits does not commit: it hands its transaction on, and the last of them, for whom nobody waits, commits for
all. Each is a savepoint, so that one is undone without the others. None returns before the commit that holds
it, neither who wrote nor who only decided by what those before it wrote; if that fails, all of them have.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from recast.faults import Unavailable
from recast.unitofwork.connections import Connected, Connections
from recast.unitofwork.transaction import Transaction, driver_errors

WAIT_SECONDS = 15.0
_GROUP_SECONDS = 0.02  # then a group commits, whoever waits: the first of it has waited as long


class Baton:
    """It is one thread's at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_held = False

    def take(self, seconds: float) -> bool:
        """Whether it came within that time."""
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=seconds):
            return True
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # it came just then

    def hand_on(self) -> bool:
        """Gives it to the next; False, and it stays, when there is none."""
        with self._guard:
            if not self._waiting:
                return False
            self._waiting.popleft().release()
            return True

    def put_down(self) -> None:
        """Gives it to the next, or to whoever comes."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False


@dataclass
class _Group:
    """Writes of one commit; only who holds the baton changes it."""

    connected: Connected
    begun_at: float
    problem: BaseException | None = None
    is_ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_whole(self) -> bool:
        """SQLite undoes a whole transaction by itself where it runs out of disk or memory."""
        connection: Any = self.connected.connection.dbapi_connection  # none when a session closed it
        return connection is not None and connection.in_transaction


class GroupCommit:
    """One write at a time, and one commit for those that came meanwhile."""

    def __init__(self, engine: Engine) -> None:
        """`engine` opens connections, and keeps none itself; its sessions neither commit nor roll back."""
        self._engine = engine
        self._connections = Connections(engine)
        self._baton = Baton()
        self._group: _Group | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write, with SQLite's write lock in hand; Unavailable when it is not to be had in time."""
        # The timeout turns a stuck writer into a clear answer instead of a server without threads.
        if not self._baton.take(WAIT_SECONDS):
            raise Unavailable(problem="the database is busy")
        try:
            group = self._group = self._group or self._begun()
            self._run(group, "SAVEPOINT one")
        except BaseException as problem:
            self._fail(problem)
            raise
        transaction = Transaction(
            self._engine, group.connected, lambda: self._keep(group), lambda: self._undo(group)
        )
        try:
            yield transaction
        finally:
            transaction.end()

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        self._connections.close()

    def _begun(self) -> _Group:
        group = _Group(self._connections.take(), time.monotonic())
        try:
            self._run(group, "BEGIN IMMEDIATE")
        except BaseException as problem:
            self._connections.give_up(group.connected, problem)
            raise
        return group

    def _keep(self, group: _Group) -> None:
        self._settle(group, "RELEASE one")

    def _undo(self, group: _Group) -> None:
        self._settle(group, *(["ROLLBACK TO one", "RELEASE one"] if group.is_whole else []))

    def _settle(self, group: _Group, *statements: str) -> None:
        try:
            for statement in statements:
                self._run(group, statement)
        except BaseException as problem:
            self._fail(problem)
            raise
        self._leave(group)

    def _leave(self, group: _Group) -> None:
        """Returns when the group is durable."""
        is_young = time.monotonic() < group.begun_at + _GROUP_SECONDS
        if not (group.is_whole and is_young and self._baton.hand_on()):
            self._commit(group)
        elif not group.is_ended.wait(WAIT_SECONDS):
            raise Unavailable(problem="it is not known whether the database has it: the commit takes long")
        if group.problem is not None:
            raise Unavailable(problem=f"the database did not commit: {group.problem}") from group.problem

    def _commit(self, group: _Group) -> None:
        try:
            if not group.is_whole:
                raise Unavailable(problem="the database undid what was written")
            self._run(group, "COMMIT")
        except BaseException as problem:  # noqa: BLE001  # each of the group raises it
            self._fail(problem)
            return
        self._group = None
        self._connections.give_back(group.connected)
        self._baton.put_down()
        group.is_ended.set()

    def _fail(self, problem: BaseException) -> None:
        """Ends the group, none of whose writes has happened, and gives up its connection."""
        group, self._group = self._group, None
        try:
            if group is not None:
                group.problem = problem
                try:
                    with suppress(DBAPIError):  # a closed connection keeps its lock while a cursor is known
                        self._run(group, "ROLLBACK")
                finally:
                    self._connections.give_up(group.connected, problem)
        finally:
            self._baton.put_down()
            if group is not None:
                group.is_ended.set()

    def _run(self, group: _Group, statement: str) -> None:
        with driver_errors(self._engine):
            group.connected.cursor.execute(statement)
