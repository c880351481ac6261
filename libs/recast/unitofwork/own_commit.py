"""Writes side by side, each on a connection of its own: PostgreSQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.connections import Connected, Connections
from recast.unitofwork.look import Row
from recast.unitofwork.pipeline import Pipeline
from recast.unitofwork.transaction import DriverErrors, Transaction


class OwnCommit:
    """Every write commits for itself, and the server shares their syncs; compare-and-sets go together."""

    def __init__(self, engine: Engine, impatient: Engine) -> None:
        """Both open connections whose statements commit by themselves, and keep none themselves.

        Those of `impatient` wait for no row for long.
        """
        self._engine = engine
        self._pipeline = Pipeline(impatient)
        self._connections = Connections(engine)
        self._driver_errors = DriverErrors(engine)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write."""
        taken = self._connections.take()

        def keep() -> None:
            if self._status(taken) == "INERROR":  # the server would undo it, and call that no error
                undo()
                raise RuntimeError("a statement of the write failed: the rest of it must not happen")
            with self._driver_errors:
                taken.connection.commit()

        def undo() -> None:
            if taken.connection.is_valid:
                with self._driver_errors:
                    taken.connection.rollback()

        transaction = Transaction(self._engine, taken, keep, undo)
        try:
            try:
                with self._driver_errors:
                    taken.cursor.execute("BEGIN")
                yield transaction
            finally:
                transaction.end()
        except DBAPIError as problem:
            self._connections.give_up(taken, problem.orig or problem)
            raise
        except BaseException as problem:
            if self._status(taken) == "IDLE":
                self._connections.give_back(taken)
            else:
                self._connections.give_up(taken, problem)
            raise
        self._connections.give_back(taken)

    def compare_and_set(self, asked: CompareAndSet, values: Mapping[str, object]) -> list[Row]:
        """A write of nothing else: its row, or none."""
        rows = self._pipeline.compare_and_set(asked, values)
        if rows is not None:
            return rows
        with self._driver_errors:
            return self._connections.run(lambda cursor: asked.at_once(cursor, self._engine.dialect, values))

    @staticmethod
    def _status(taken: Connected) -> str:
        connection: Any = taken.connection.dbapi_connection  # none when a session found it gone
        return connection.info.transaction_status.name if connection is not None else "UNKNOWN"

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        self._connections.close()
        self._pipeline.close()
