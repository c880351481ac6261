"""A write under way."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from recast.faultpoints import reach
from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.connections import Connected
from recast.unitofwork.look import Look, Row


class Transaction:
    """A write under way; nothing has happened until `commit` returns, and nothing can follow it."""

    def __init__(
        self, engine: Engine, connected: Connected, keep: Callable[[], None], undo: Callable[[], None]
    ) -> None:
        """On a connection where it has begun; `keep` makes it durable, `undo` as if it had not been."""
        self._engine = engine
        self.dialect = engine.dialect
        self._driver_errors = DriverErrors(engine)
        self._connected = connected
        self._keep = keep
        self._undo = undo
        self._session: Session | None = None
        self._joined: RootTransaction | None = None
        self.then: list[Callable[[], None]] = []
        self.is_over = self.committed = False

    @property
    def session(self) -> Session:
        """SQLModel's; made when it is asked for, as not every write needs one."""
        self._must_be_open()
        if self._session is None:
            joined = Connection(self._engine, connection=self._connected.connection)
            self._joined = joined.begin()  # for SQLAlchemy; it has begun
            self._session = Session(joined, expire_on_commit=False)
        return self._session

    def look(self, look: Look, values: Mapping[str, object]) -> list[Row]:
        """The rows of one statement, as this transaction sees them."""
        self._must_be_open()
        with self._driver_errors:
            return look.rows(self._connected.cursor, self.dialect, values)

    def compare_and_set(self, asked: CompareAndSet, values: Mapping[str, object]) -> bool:
        """Whether it is done, to be committed with all else."""
        return bool(self.set_and_get(asked, values))

    def set_and_get(self, asked: CompareAndSet, values: Mapping[str, object]) -> list[Row]:
        """The same; what is given of the row, or no row."""
        self._must_be_open()
        with self._driver_errors:
            return asked.run(self._connected.cursor, self.dialect, values)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable; for hints such as waking a worker, never for anything
        that must happen.
        """
        self.then.append(action)

    def commit(self) -> None:
        """Makes everything written durable."""
        self._must_be_open()
        reach("commit")
        if self._session is not None:
            self._must_be_joined()  # or it would commit what came after, by itself
            self._session.commit()  # it writes what it has; the transaction is not its own
            self._must_be_joined()
        try:
            self._let_go()
        except BaseException:
            self._undo()
            raise
        self._keep()
        reach("committed")
        self.committed = True

    def end(self) -> None:
        """Undoes what was not committed."""
        if not self.is_over:
            try:
                self._let_go()
            finally:
                self._undo()

    def _let_go(self) -> None:
        """The connection is the next one's: a session that somebody still has must not reach it."""
        self.is_over = True
        if self._session is not None:
            try:
                self._session.close()
            finally:
                self._session.bind = None

    def _must_be_joined(self) -> None:
        if self._joined is None or not self._joined.is_active:
            raise RuntimeError("the write's session was rolled back: the rest of it must not happen")

    def _must_be_open(self) -> None:
        if self.is_over:
            raise RuntimeError("the write is over: a commit is its last step")


class DriverErrors:
    """What the driver raises within is raised as a session raises it. For any number of threads at once."""

    def __init__(self, engine: Engine) -> None:
        driver: Any = engine.dialect.loaded_dbapi
        self._error: type[Exception] = driver.Error

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, _kind: object, problem: BaseException | None, _traceback: object) -> None:
        """Raises SQLAlchemy's."""
        if isinstance(problem, self._error):
            raise DBAPIError.instance(None, None, problem, self._error) from problem
