"""Writes one after the other, which share a commit when they wait for one another: SQLite.

One thread writes at a time, and most of its time is the sync of its commit. So a write for which another
waits does not commit: it hands its transaction on, and the last of them, for whom nobody waits, commits for
all. A small one that is handed over whole, an act, is done by whoever is before it, and its thread sleeps
until all is durable. Each is a savepoint, so that one is undone without the others. None returns before the
commit that holds it, neither who wrote nor who only decided by what those before it wrote; if that fails, all
of them have.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from recast.faults import Unavailable
from recast.unitofwork.away import busy, uncommitted, unknown
from recast.unitofwork.baton import Baton, Turn
from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.connections import Connected, Connections
from recast.unitofwork.look import Row
from recast.unitofwork.transaction import DriverErrors, Transaction

Given = TypeVar("Given")

WAIT_SECONDS = 15.0
_GROUP_SECONDS = 0.02  # then a group commits, whoever waits: the first of it has waited as long


@dataclass
class _Group:
    """Writes of one commit; only who holds the baton changes it."""

    connected: Connected
    begun_at: float
    problem: BaseException | None = None
    waiting: list[Turn] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """SQLite undoes a whole transaction by itself where it runs out of disk or memory."""
        connection: Any = self.connected.connection.dbapi_connection  # none when a session closed it
        return connection is not None and connection.in_transaction

    @property
    def is_open(self) -> bool:
        """Whether there may be more of it."""
        return self.is_whole and time.monotonic() < self.begun_at + _GROUP_SECONDS

    def end(self) -> None:
        """Wakes all who wait for it."""
        for each in self.waiting:
            each.come()

    def check(self) -> None:
        """Unavailable, where it came to nothing."""
        if self.problem is not None:
            raise uncommitted(self.problem) from self.problem


class _Wanted(Turn):
    """An act, by whomever it is done: in the context of who wants it."""

    def __init__(self, act: Callable[[Transaction], Any]) -> None:
        super().__init__()
        self._act = act
        self._context = copy_context()
        self._given: Any = None
        self.group: _Group | None = None
        self.problem: Exception | None = None

    def do(self, transaction: Transaction) -> None:
        """Whoever wants it is told what it gives or raises."""
        try:
            self._given = self._context.run(self._act, transaction)
        except Exception as problem:  # noqa: BLE001  # whose it is raises it
            self.problem = problem
        finally:
            transaction.end()

    def result(self, group: _Group) -> Any:
        """That, once its group has ended."""
        group.check()
        if self.problem is not None:
            raise self.problem
        return self._given


class GroupCommit:
    """One write at a time, and one commit for those that came meanwhile."""

    def __init__(self, engine: Engine) -> None:
        """`engine` opens connections, and keeps none itself; its sessions neither commit nor roll back."""
        self._engine = engine
        self._connections = Connections(engine)
        self._driver_errors = DriverErrors(engine)
        self._baton = Baton()
        self._group: _Group | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write, with SQLite's write lock in hand; Unavailable when it is not to be had in time."""
        # The timeout turns a stuck writer into a clear answer instead of a server without threads.
        if not self._baton.take(Turn(), WAIT_SECONDS):
            raise busy()
        try:
            group = self._group = self._group or self._begun()
            self._run(group, "SAVEPOINT one")
        except BaseException as problem:
            self._fail(problem)
            raise
        transaction = Transaction(
            self._engine,
            group.connected,
            keep=lambda: self._settle(group, is_kept=True),
            undo=lambda: self._settle(group, is_kept=False),
        )
        try:
            yield transaction
        finally:
            transaction.end()

    def compare_and_set(self, asked: CompareAndSet, values: Mapping[str, object]) -> list[Row]:
        """A write of nothing else: its row, or none."""
        return self.done(lambda transaction: transaction.set_and_get(asked, values))

    def done(self, act: Callable[[Transaction], Given]) -> Given:
        """What an act gives, which looks, compares and sets; where it raises, it has written nothing.

        Any thread may do it: whatever else it does is lost, and all that it may raise is an Exception.
        Unavailable when SQLite's write lock is not to be had in time, or the commit fails.
        """
        wanted = _Wanted(act)
        has_come = self._baton.take(wanted, WAIT_SECONDS)
        if wanted.group is not None:  # somebody else did it
            if not has_come:
                raise unknown()
            return wanted.result(wanted.group)  # type: ignore[no-any-return]
        if not has_come:
            raise busy()
        try:
            group = self._group = self._group or self._begun()
        except BaseException as problem:
            self._fail(problem)
            raise
        self._do(group, wanted)
        self._leave(group)
        return wanted.result(group)  # type: ignore[no-any-return]

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

    def _settle(self, group: _Group, *, is_kept: bool) -> None:
        try:
            self._end_savepoint(group, is_kept=is_kept)
        except BaseException as problem:
            self._fail(problem)
            raise
        self._leave(group)
        group.check()

    def _end_savepoint(self, group: _Group, *, is_kept: bool) -> None:
        if not is_kept:
            if not group.is_whole:
                return  # it went with all else
            self._run(group, "ROLLBACK TO one")
        self._run(group, "RELEASE one")

    def _do(self, group: _Group, wanted: _Wanted) -> None:
        try:
            self._run(group, "SAVEPOINT one")
            wanted.do(Transaction(self._engine, group.connected, _nothing, _nothing))
            self._end_savepoint(group, is_kept=wanted.problem is None)
        except BaseException as problem:
            self._fail(problem)
            if not isinstance(problem, Exception):  # Ctrl-C
                raise

    def _leave(self, group: _Group) -> None:
        """Returns when the group is durable, or has come to nothing."""
        while self._group is group:
            turn = self._following() if group.is_open else None
            if turn is None:
                self._commit(group)
            elif isinstance(turn, _Wanted):
                turn.group = group
                group.waiting.append(turn)
                self._do(group, turn)
            else:
                over = Turn()
                group.waiting.append(over)
                turn.come()
                if not over.wait(WAIT_SECONDS):
                    raise unknown()
                return

    def _following(self) -> Turn | None:
        turn = self._baton.following()
        if turn is None:
            # Whoever is about to write, and has no core to do so, comes first: a commit costs more than both.
            os.sched_yield()
            turn = self._baton.following()
        return turn

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
        group.end()

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
                group.end()

    def _run(self, group: _Group, statement: str) -> None:
        with self._driver_errors:
            group.connected.cursor.execute(statement)


def _nothing() -> None:
    """What an act has for the end of a transaction: its group has one."""
