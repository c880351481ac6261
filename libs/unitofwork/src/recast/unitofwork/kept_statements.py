"""The few statements that a service asks again and again, kept prepared on a connection to PostgreSQL.

psycopg's cursor takes a third more of the processor for each: it chooses how to send each value, takes
Python's lock and gives it up several times, and looks at what else may have come. Here the statement is
known, values are sent as texts, and libpq waits.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection, DataError, OperationalError, adapters
from psycopg.adapt import Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_MOST = 100  # of lists, callers choose the statement
# What the server does not see by where a value stands; 0 is to see for itself.
_TYPES: dict[type, int] = {
    kind: adapters.types[name].oid for kind, name in ((bytes, "bytea"), (bool, "bool"), (float, "float8"))
}


class KeptStatements:
    """What `Look` and `Change` ask of a cursor. Parameters are `$1`, `$2` and so on."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._server = connection.pgconn
        self._encoding = connection.info.encoding
        self._values = Transformer(connection)
        self._names: dict[str, bytes] = {}
        self._numbers = itertools.count()  # what the server forgot may be there again by half
        self._found: PGresult | None = None

    @property
    def rowcount(self) -> int:
        """How many rows the last statement wrote or found."""
        return (self._found and self._found.command_tuples) or 0

    def execute(self, text: str, values: Sequence[object] = ()) -> None:
        """Runs it. Raises what psycopg does for what the server says."""
        try:
            self._found = self._run(text, values)
        except InvalidSqlStatementName:  # a session was rolled back, and psycopg had the server forget all
            self._names.clear()
            self._found = self._run(text, values)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that the last statement found."""
        assert self._found is not None
        self._values.set_pgresult(self._found, format=Format.BINARY)
        return self._values.load_rows(0, self._found.ntuples, tuple)

    def _run(self, text: str, values: Sequence[object]) -> PGresult:
        sent: Any = [self._sent(value) for value in values]
        formats = [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in values]
        name = self._names.get(text)
        if name is not None:
            return self._checked(self._server.exec_prepared(name, sent, formats, Format.BINARY))
        command, types = text.encode(self._encoding), [_TYPES.get(type(value), 0) for value in values]
        if len(self._names) == _MOST:
            return self._checked(self._server.exec_params(command, sent, types, formats, Format.BINARY))
        name = f"kept_{next(self._numbers)}".encode()
        self._checked(self._server.prepare(name, command, types))
        self._names[text] = name
        return self._checked(self._server.exec_prepared(name, sent, formats, Format.BINARY))

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in _DONE:
            return result
        if self._server.status != ConnStatus.OK:
            raise OperationalError(self._server.get_error_message(self._encoding))
        raise error_from_result(result, self._encoding)

    def _sent(self, value: object) -> bytes | None:
        if isinstance(value, str):
            if "\0" in value:  # libpq would end it there
                raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
            return value.encode(self._encoding)
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, bool | int | float | datetime):
            return str(value).encode()
        raise TypeError(f"a {type(value).__name__} cannot be sent")
