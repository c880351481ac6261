"""Connections that looks and writes keep: taken and given back without a lock."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, PoolProxiedConnection

from recast.unitofwork.engines import ASKED_AFTER_SECONDS

Given = TypeVar("Given")

_KEPT = 16


@dataclass(slots=True)
class Connected:
    """A connection, and what runs statements on it: SQLite's own cursor, or `KeptStatements`."""

    connection: PoolProxiedConnection
    cursor: Any
    used_at: float


class Connections:
    """Connections of one kind, of which the last that was given back is the next to be taken.

    SQLAlchemy's pool guards its queue by a lock: eight threads that look at once spend three times as long on
    it as SQLite does on finding a row. Here nothing is guarded but by the deque.
    """

    def __init__(self, engine: Engine) -> None:
        """`engine` opens them, and keeps none itself."""
        self._engine = engine
        self._idle: deque[Connected] = deque()

    def take(self) -> Connected:
        """One that is there, as far as is known; whatever the driver raises when none can be made."""
        try:
            known = self._idle.pop()
        except IndexError:
            return self._connect()
        if time.monotonic() - known.used_at < ASKED_AFTER_SECONDS or self._is_there(known):
            return known
        self.close()
        return self._connect()

    def run(self, act: Callable[[Any], Given]) -> Given:
        """What an act gives that runs a statement or two on a cursor, and begins no transaction."""
        taken = self.take()
        try:
            given = act(taken.cursor)
        except BaseException as problem:
            self.give_up(taken, problem)
            raise
        self.give_back(taken)
        return given

    def give_back(self, taken: Connected) -> None:
        """For the next one; nothing may be under way on it."""
        if len(self._idle) < _KEPT and taken.connection.is_valid:
            taken.used_at = time.monotonic()
            self._idle.append(taken)
        else:
            taken.connection.close()

    def give_up(self, taken: Connected, problem: BaseException) -> None:
        """Closes one that had this problem, and all others where it was their server's."""
        if self._is_gone(problem, taken):
            self.close()  # the others are as old
        if taken.connection.is_valid:
            taken.connection.invalidate()

    def close(self) -> None:
        """Closes those that nobody uses."""
        with suppress(IndexError):  # others take and close at the same time
            while True:
                self._idle.pop().connection.invalidate()

    def _connect(self) -> Connected:
        connection = self._engine.raw_connection()
        if self._engine.dialect.name == "sqlite":
            return Connected(connection, connection.cursor(), 0.0)
        from recast.unitofwork.kept_statements import KeptStatements  # noqa: PLC0415  # its driver may be missing

        driver: Any = connection.driver_connection
        return Connected(connection, KeptStatements(driver), 0.0)

    def _is_there(self, known: Connected) -> bool:
        dialect: Any = self._engine.dialect
        try:
            there: bool = dialect.do_ping(known.connection.driver_connection)
            return there
        except dialect.loaded_dbapi.Error:
            known.connection.invalidate()
            return False

    def _is_gone(self, problem: BaseException, taken: Connected) -> bool:
        dialect: Any = self._engine.dialect
        if not taken.connection.is_valid:  # a session found out
            return True
        if not isinstance(problem, dialect.loaded_dbapi.Error):
            return False
        gone: bool = dialect.is_disconnect(problem, taken.connection.dbapi_connection, None)
        return gone
