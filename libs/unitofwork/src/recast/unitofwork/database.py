"""A service's database: SQLite in one file, or PostgreSQL.

A read is a snapshot, a look a single statement. A write rolls back unless it is committed in so many words.
On SQLite it begins with the write lock in hand (`BEGIN IMMEDIATE`), and one thread of the process writes at a
time: several would busy-poll each other, with waits of half a second. On PostgreSQL writes run side by side:
a row that a decision rests on is read `FOR UPDATE`.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from recast.faultpoints import reach
from recast.faults import Conflict, Unavailable
from recast.unitofwork.look import Look

_WRITE_WAIT_SECONDS = 15.0
# A replica that froze inside a transaction must not keep its row locks: PostgreSQL ends the transaction after
# this.
_IDLE_IN_TRANSACTION_MS = 10_000
# A connection that was used a moment ago is taken to be there still: to ask costs as much as a read. Where
# it is not, one call is UNAVAILABLE, and the pool begins anew.
_ASKED_AFTER_SECONDS = 5.0
_AWAY = (OperationalError, InterfaceError, PoolExhausted)
_UNIQUE_VIOLATION = "23505"  # PostgreSQL's; on SQLite nobody writes between a look and a write


# A server that fell silent is given up after about ten seconds: libpq's own patience is that of the system, a
# quarter of an hour. A URL may say otherwise.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_URLS = "`sqlite:////absolute/path.db` or `postgresql+psycopg://user:password@host/name`"


class DatabaseUnusable(Exception):
    """A service cannot work with its database, and waiting will not help; in one line, for people."""


class Transaction:
    """A write under way. `session` is SQLModel's; nothing has happened until `commit` returns."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._after: list[Callable[[], None]] = []
        self.committed = False

    def after_commit(self, action: Callable[[], None]) -> None:
        """Calls `action` once the commit is durable; for hints such as waking a worker, never for anything
        that must happen.
        """
        self._after.append(action)

    def commit(self) -> None:
        """Makes everything written durable."""
        reach("commit")
        self.session.commit()
        reach("committed")
        self.committed = True


class Database:
    """Reads and writes against one database; `url` as SQLAlchemy has it.

    DatabaseUnusable when the URL is none, or names no engine that is known here.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.dialect = self.engine.dialect
        self.is_sqlite = self.dialect.name == "sqlite"
        driver: Any = self.dialect.loaded_dbapi
        self._driver_error, self._driver_away = driver.Error, driver.OperationalError
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()
        # PostgreSQL's default gives each statement a snapshot of its own.
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**snapshots)
        self._writes = self.engine.execution_options(recast_write=True)
        self._looks = self.engine if self.is_sqlite else _postgresql_looks(self.engine.url)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; what is written in it is rolled back.

        Unavailable when the database is away.
        """
        with _answering(), Session(self._snapshots, expire_on_commit=False) as session:
            yield session

    def look(self, look: Look, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a snapshot by itself: no transaction begins and ends around it.

        Unavailable when the database is away.
        """
        try:
            connection = self._looks.raw_connection()
            try:
                return look.rows(connection.cursor(), self.dialect, values)
            except self._driver_error as problem:
                if self.dialect.is_disconnect(problem, connection.dbapi_connection, None):
                    self._looks.dispose(close=False)  # the others are as old
                    connection.invalidate()
                raise
            finally:
                connection.close()
        except (*_AWAY, self._driver_away) as problem:
            raise _unavailable(problem) from problem

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that rolls back unless it is committed.

        Never held across a call to another service. Conflict where somebody else wrote a row with the same
        key meanwhile: asked again, the row is found. Unavailable when the database is away.
        """
        with self._one_writer(), _answering(), Session(self._writes, expire_on_commit=False) as session:
            transaction = Transaction(session)
            try:
                yield transaction
            except IntegrityError as problem:
                if getattr(problem.orig, "sqlstate", "") != _UNIQUE_VIOLATION:
                    raise
                raise Conflict(resource="what was asked for") from problem
        if transaction.committed:
            for action in transaction._after:
                action()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        if isinstance(self._writer, nullcontext):
            yield
            return
        # The timeout turns a stuck writer into a clear answer instead of a server without threads.
        if not self._writer.acquire(timeout=_WRITE_WAIT_SECONDS):
            raise Unavailable(problem="the database is busy")
        try:
            yield
        finally:
            self._writer.release()

    def now_sql(self) -> str:
        """An SQL expression for the database's own clock, in seconds since 1970, with a fraction."""
        if self.is_sqlite:
            return "((julianday('now') - 2440587.5) * 86400.0)"
        return "extract(epoch from clock_timestamp())"

    def is_reachable(self) -> bool:
        """Whether a trivial query is answered."""
        with self.read() as session:
            return session.connection().execute(text("SELECT 1")).scalar() == 1


@contextmanager
def _answering() -> Iterator[None]:
    """A database that is away, locked, full or out of connections for now is UNAVAILABLE.

    Its callers may come back, work is tried again. What was not committed has not happened.
    """
    try:
        yield
    except _AWAY as problem:
        raise _unavailable(problem) from problem


def _unavailable(problem: BaseException) -> Unavailable:
    told = str(problem).partition("\n")[0]
    return Unavailable(problem=f"the database did not answer: {told}")


def _engine(url: str) -> Engine:
    """What is said of a wrong URL does not repeat it: it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(f"its URL cannot be read: write {_URLS}") from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername != "postgresql+psycopg":
        raise DatabaseUnusable(f"`{parsed.drivername}` is not known here: write {_URLS}")
    try:
        return _postgresql(parsed)
    except ImportError as missing:
        wanted = "install the package psycopg[binary]"
        raise DatabaseUnusable(f"PostgreSQL's driver is not there: {wanted} ({missing})") from missing


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=16, max_overflow=48, connect_args={"timeout": 10, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        # FULL: a commit that was answered survives a power cut. Each of the pool's connections fills a cache
        # of its own, 4 MB; behind it stands the system's.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-4000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get("recast_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    options = f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS} -c timezone=UTC"
    return _pool(url, options)


def _postgresql_looks(url: URL) -> Engine:
    """Connections that begin no transactions, and so cannot write by mistake either."""
    options = "-c default_transaction_read_only=on -c timezone=UTC"
    return _pool(url, options, isolation_level="AUTOCOMMIT")


def _pool(url: URL, options: str, **settings: Any) -> Engine:
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    engine = create_engine(
        url, pool_size=16, max_overflow=48, connect_args={"options": options, **patience}, **settings
    )
    _ask_the_idle(engine)
    return engine


def _ask_the_idle(engine: Engine) -> None:
    """Finds out whether a connection that was idle for long is still there, before it is used."""

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < _ASKED_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as gone:  # the pool makes another, and forgets what is older
            raise InvalidatePoolError from gone
