"""Writes side by side, each on a connection of its own: PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from recast.unitofwork.connections import Connections
from recast.unitofwork.transaction import Transaction, driver_errors


class OwnCommit:
    """Every write commits for itself; the server shares its syncs."""

    def __init__(self, engine: Engine) -> None:
        """`engine` opens connections, and keeps none itself."""
        self._engine = engine
        self._connections = Connections(engine)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write; the driver begins it with its first statement."""
        taken = self._connections.take()

        def keep() -> None:
            with driver_errors(self._engine):
                taken.connection.commit()

        def undo() -> None:
            if taken.connection.is_valid:
                with driver_errors(self._engine):
                    taken.connection.rollback()

        transaction = Transaction(self._engine, taken, keep, undo)
        try:
            try:
                yield transaction
            finally:
                transaction.end()
        except DBAPIError as problem:
            self._connections.give_up(taken, problem.orig or problem)
            raise
        except BaseException:
            self._connections.give_back(taken)
            raise
        self._connections.give_back(taken)

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        self._connections.close()
