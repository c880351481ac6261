"""Connections of looks: taken and given back without a lock."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, PoolProxiedConnection

from recast.unitofwork.engines import ASKED_AFTER_SECONDS
from recast.unitofwork.look import Look

_KEPT = 16


class LookConnections:
    """Connections of looks alone, of which the last that was given back is the next to be taken.

    SQLAlchemy's pool guards its queue by a lock: eight threads that look at once spend three times as long on
    it as SQLite does on finding a row. Here nothing is guarded but by the deque.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Of psycopg, in the server's own form: a message of 300 bytes is not written and read as hex.
        self._cursor = {} if engine.dialect.name == "sqlite" else {"binary": True}
        self._idle: deque[tuple[PoolProxiedConnection, float]] = deque()

    def rows(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """What it finds; whatever the driver raises."""
        connection = self._taken()
        try:
            found = look.rows(connection.cursor(**self._cursor), self._engine.dialect, values)
        except BaseException as problem:
            if self._is_gone(problem, connection):
                self.close()  # the others are as old
            connection.invalidate()
            raise
        self._give_back(connection)
        return found

    def close(self) -> None:
        """Closes those that nobody uses."""
        while self._idle:
            self._idle.pop()[0].invalidate()

    def _taken(self) -> PoolProxiedConnection:
        try:
            connection, since = self._idle.pop()
        except IndexError:
            return self._engine.raw_connection()
        if time.monotonic() - since < ASKED_AFTER_SECONDS or self._is_there(connection):
            return connection
        self.close()
        return self._engine.raw_connection()

    def _give_back(self, connection: PoolProxiedConnection) -> None:
        if len(self._idle) < _KEPT:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()

    def _is_there(self, connection: PoolProxiedConnection) -> bool:
        dialect: Any = self._engine.dialect
        try:
            there: bool = dialect.do_ping(connection.driver_connection)
            return there
        except dialect.loaded_dbapi.Error:
            connection.invalidate()
            return False

    def _is_gone(self, problem: BaseException, connection: PoolProxiedConnection) -> bool:
        dialect: Any = self._engine.dialect
        if not isinstance(problem, dialect.loaded_dbapi.Error):
            return False
        gone: bool = dialect.is_disconnect(problem, connection.dbapi_connection, None)
        return gone
