"""Connections of looks: taken and given back without a lock."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection

from recast.unitofwork.engines import ASKED_AFTER_SECONDS
from recast.unitofwork.look import Look

_KEPT = 16


@dataclass(slots=True)
class _Connected:
    """A connection and its one cursor: psycopg's learns how to read a column once, not at each look."""

    connection: PoolProxiedConnection
    cursor: Any
    used_at: float


class LookConnections:
    """Connections of looks alone, of which the last that was given back is the next to be taken.

    SQLAlchemy's pool guards its queue by a lock: eight threads that look at once spend three times as long on
    it as SQLite does on finding a row. Here nothing is guarded but by the deque.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Of psycopg, in the server's own form: a message of 300 bytes is not written and read as hex.
        self._cursor = {} if engine.dialect.name == "sqlite" else {"binary": True}
        self._idle: deque[_Connected] = deque()

    def rows(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """What it finds; whatever the driver raises."""
        taken = self._take()
        try:
            found = look.rows(taken.cursor, self._engine.dialect, values)
        except BaseException as problem:
            if self._is_gone(problem, taken):
                self.close()  # the others are as old
            taken.connection.invalidate()
            raise
        self._give_back(taken)
        return found

    def close(self) -> None:
        """Closes those that nobody uses."""
        while self._idle:
            self._idle.pop().connection.invalidate()

    def _take(self) -> _Connected:
        try:
            known = self._idle.pop()
        except IndexError:
            return self._connect()
        if time.monotonic() - known.used_at < ASKED_AFTER_SECONDS or self._is_there(known):
            return known
        self.close()
        return self._connect()

    def _connect(self) -> _Connected:
        connection = self._engine.raw_connection()
        return _Connected(connection, connection.cursor(**self._cursor), 0.0)

    def _give_back(self, taken: _Connected) -> None:
        if len(self._idle) < _KEPT:
            taken.used_at = time.monotonic()
            self._idle.append(taken)
        else:
            taken.connection.close()

    def _is_there(self, known: _Connected) -> bool:
        dialect: Any = self._engine.dialect
        try:
            there: bool = dialect.do_ping(known.connection.driver_connection)
            return there
        except dialect.loaded_dbapi.Error:
            known.connection.invalidate()
            return False

    def _is_gone(self, problem: BaseException, taken: _Connected) -> bool:
        dialect: Any = self._engine.dialect
        if not isinstance(problem, dialect.loaded_dbapi.Error):
            return False
        gone: bool = dialect.is_disconnect(problem, taken.connection.dbapi_connection, None)
        return gone
