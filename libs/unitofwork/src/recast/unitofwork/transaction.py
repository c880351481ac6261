"""A write under way, on a connection that it has to itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from recast.faultpoints import reach
from recast.unitofwork.connections import Connected
from recast.unitofwork.look import Change, Look

Result = TypeVar("Result")


class Transaction:
    """A write under way; nothing has happened until `commit` returns."""

    def __init__(self, engine: Engine, connected: Connected) -> None:
        """Begins it. On SQLite with the write lock in hand, on PostgreSQL with the first statement."""
        self._engine = engine
        self._connected = connected
        self._joined: Connection | None = None
        self._session: Session | None = None
        self.then: list[Callable[[], None]] = []
        self.committed = False
        if engine.dialect.name == "sqlite":
            with self._driver_errors():
                connected.cursor.execute("BEGIN IMMEDIATE")

    @property
    def session(self) -> Session:
        """SQLModel's; made when it is asked for, as not every write needs one."""
        if self._session is None:
            self._joined = Connection(self._engine, connection=self._connected.connection)
            self._joined.begin()
            self._session = Session(self._joined, expire_on_commit=False)
        return self._session

    def look(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of one statement, as this transaction sees them."""
        with self._driver_errors():
            return look.rows(self._connected.cursor, self._engine.dialect, values)

    def change(self, change: Change, values: Mapping[str, object]) -> int:
        """Writes by one statement, past the session; gives how many rows."""
        with self._driver_errors():
            return change.run(self._connected.cursor, self._engine.dialect, values)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable; for hints such as waking a worker, never for anything
        that must happen.
        """
        self.then.append(action)

    def commit(self) -> None:
        """Makes everything written durable."""
        reach("commit")
        if self._session is not None and self._joined is not None:
            self._session.commit()  # it writes what it has; the transaction is not its own
            self._joined.commit()
        else:
            with self._driver_errors():
                self._connected.connection.commit()
        reach("committed")
        self.committed = True

    def end(self) -> None:
        """Undoes what was not committed, and lets go of the session's rows."""
        if self._session is not None:
            self._session.close()
        is_left = self._session is not None or not self.committed  # a session may have begun another
        if is_left and self._connected.connection.is_valid:
            with self._driver_errors():
                self._connected.connection.rollback()

    @contextmanager
    def _driver_errors(self) -> Iterator[None]:
        """What the driver raises, as the session raises it."""
        driver: Any = self._engine.dialect.loaded_dbapi
        try:
            yield
        except driver.Error as problem:
            raise DBAPIError.instance(None, None, problem, driver.Error) from problem
