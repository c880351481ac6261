"""The few statements that a service asks again and again, kept prepared on a connection to PostgreSQL.

psycopg's cursor takes a third more of the processor for each: it chooses how to send each value, takes
Python's lock and gives it up several times, and looks at what else may have come. Here the statement is
known, values are sent as texts, and libpq waits.
"""

import itertools
import select
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection, DataError, Error, OperationalError, ProgrammingError, adapters
from psycopg.adapt import Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus
from psycopg.pq.abc import PGresult

from recast.unitofwork.look import Row

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_PATIENCE_MS = 10_000  # of those who wait for several statements; others wait for them
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
        self._socket = select.poll()
        self._socket.register(self._server.socket)

    def execute(self, text: str, values: Sequence[object] = ()) -> None:
        """Runs it. Raises what psycopg does for what the server says."""
        try:
            self._found = self._run(text, values)
        except InvalidSqlStatementName:  # a session was rolled back, and psycopg had the server forget all
            self._names.clear()
            self._found = self._run(text, values)

    def execute_together(self, statements: Sequence[tuple[str, Sequence[object]]]) -> list[list[Row]] | None:
        """Runs them in one round trip and one transaction of their own: the rows that each of them found.

        None where one is refused: none of them has happened. Raises what psycopg does where the server is
        gone; nobody knows then.
        """
        try:
            ready = [(self._prepared(text, values), *self._sent(values)) for text, values in statements]
            self._server.enter_pipeline_mode()
            for name, sent, formats in ready:
                self._server.send_query_prepared(name, sent, formats, Format.BINARY)
            self._server.pipeline_sync()
            return [self._rows(self._checked(each)) for each in self._results()]
        except Error as problem:
            if self._server.status != ConnStatus.OK or self._server.pipeline_status != PipelineStatus.OFF:
                raise
            if isinstance(problem, InvalidSqlStatementName):
                self._names.clear()
            return None

    def fetchall(self) -> list[Row]:
        """The rows that the last statement found."""
        assert self._found is not None
        return self._rows(self._found)

    def _rows(self, found: PGresult) -> list[Row]:
        self._values.set_pgresult(found, format=Format.BINARY)
        return self._values.load_rows(0, found.ntuples, tuple)

    def _run(self, text: str, values: Sequence[object]) -> PGresult:
        sent, formats = self._sent(values)
        if len(self._names) == _MOST and text not in self._names:
            command, types = text.encode(self._encoding), _types(values)
            return self._checked(self._server.exec_params(command, sent, types, formats, Format.BINARY))
        name = self._prepared(text, values)
        return self._checked(self._server.exec_prepared(name, sent, formats, Format.BINARY))

    def _prepared(self, text: str, values: Sequence[object]) -> bytes:
        """What the server knows it by, from the first time on."""
        name = self._names.get(text)
        if name is None:
            name = f"kept_{next(self._numbers)}".encode()
            self._checked(self._server.prepare(name, text.encode(self._encoding), _types(values)))
            self._names[text] = name
        return name

    def _results(self) -> list[PGresult]:
        """What came of each statement of a pipeline that has ended, and of its commit if that failed."""
        results: list[PGresult] = []
        while True:
            while self._server.is_busy():
                self._wait()
            result = self._server.get_result()
            if result is None:  # the end of one of them
                self._must_be_there()
            elif result.status == ExecStatus.PIPELINE_SYNC:
                self._server.exit_pipeline_mode()
                return results
            else:
                results.append(result)

    def _wait(self) -> None:
        """Until there is something to read, or room for what is still to be sent."""
        is_left = self._server.flush()
        self._socket.modify(self._server.socket, select.POLLIN | (select.POLLOUT if is_left else 0))
        if not self._socket.poll(_PATIENCE_MS):
            raise OperationalError("nothing came for ten seconds")
        self._server.consume_input()

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in _DONE:
            return result
        self._must_be_there()
        raise error_from_result(result, self._encoding)

    def _must_be_there(self) -> None:
        if self._server.status != ConnStatus.OK:
            raise OperationalError(self._server.get_error_message(self._encoding))

    def _sent(self, values: Sequence[object]) -> tuple[Any, list[Format]]:
        """Values as libpq has them, and the format of each."""
        formats = [Format.BINARY if isinstance(value, bytes) else Format.TEXT for value in values]
        return [self._encoded(value) for value in values], formats

    def _encoded(self, value: object) -> bytes | None:
        if isinstance(value, str):
            if "\0" in value:  # libpq would end it there
                raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
            try:
                return value.encode(self._encoding)
            except UnicodeEncodeError as problem:
                raise DataError(str(problem)) from problem
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, bool | int | float | datetime):
            return str(value).encode()
        raise ProgrammingError(f"a {type(value).__name__} cannot be sent")


def _types(values: Sequence[object]) -> list[int]:
    return [_TYPES.get(type(value), 0) for value in values]
