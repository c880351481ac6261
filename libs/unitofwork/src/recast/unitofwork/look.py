"""Statements that are compiled once and run on the driver's own cursor: the reads that are asked for most.

SQLAlchemy takes five times what SQLite does to find a row, to build, look up and wrap what never changes. A
look gives plain tuples in the driver's types; who reads a column whose type is ours asks for `value`.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Engine, PoolProxiedConnection, Select
from sqlalchemy.types import TypeEngine

from recast.unitofwork.engines import ASKED_AFTER_SECONDS

_KEPT = 16
Processor = Callable[[Any], Any]


class Look:
    """One statement that reads, and is a snapshot by itself. What varies is a `bindparam` with a name."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Every row that it finds."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        cursor.execute(compiled.text, compiled.parameters(values))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


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
        if len(self._idle) < _KEPT:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()
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

    def _is_there(self, connection: PoolProxiedConnection) -> bool:
        try:
            return self._engine.dialect.do_ping(connection.dbapi_connection)
        except self._engine.dialect.loaded_dbapi.Error:
            connection.invalidate()
            return False

    def _is_gone(self, problem: BaseException, connection: PoolProxiedConnection) -> bool:
        dialect: Any = self._engine.dialect
        if not isinstance(problem, dialect.loaded_dbapi.Error):
            return False
        gone: bool = dialect.is_disconnect(problem, connection.dbapi_connection, None)
        return gone


class _Compiled:
    """A statement in one dialect's words, and how values get there."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        self._order: list[str] | None = compiled.positiontup  # none where parameters have names
        self._processors: dict[str, Processor] = {}
        for name, parameter in compiled.binds.items():
            processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if processor is not None:
                self._processors[name] = processor
        self._constants = self._processed(
            {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        )

    def parameters(self, values: Mapping[str, object]) -> Any:
        """What the driver takes beside the text."""
        named = self._constants | self._processed(values)
        return named if self._order is None else [named[name] for name in self._order]

    def _processed(self, values: Mapping[str, object]) -> dict[str, object]:
        processors = self._processors
        return {
            name: processors[name](value) if name in processors else value for name, value in values.items()
        }


def value(kind: TypeEngine[Any], raw: Any, dialect: Dialect) -> Any:
    """What a look found in a column of this type, as a session would give it."""
    processor = kind.dialect_impl(dialect).result_processor(dialect, None)
    return raw if processor is None else processor(raw)
