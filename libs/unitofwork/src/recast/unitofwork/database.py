"""A service's database: SQLite in one file, or PostgreSQL.

A read is a snapshot. A write rolls back unless it is committed in so many words. On SQLite it begins with
the write lock in hand (`BEGIN IMMEDIATE`), and one thread of the process writes at a time: several would
busy-poll each other, with waits of half a second. On PostgreSQL writes run side by side: a row that a
decision rests on is read `FOR UPDATE`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlmodel import Session

from recast.faultpoints import reach
from recast.faults import Conflict, Unavailable

_WRITE_WAIT_SECONDS = 15.0
# A replica that froze inside a transaction must not keep its row locks: PostgreSQL ends the transaction after
# this.
_IDLE_IN_TRANSACTION_MS = 10_000
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
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._writer = threading.Lock() if self.is_sqlite else nullcontext()
        # PostgreSQL's default gives each statement a snapshot of its own.
        snapshots = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**snapshots)
        self._writes = self.engine.execution_options(recast_write=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one snapshot; what is written in it is rolled back.

        Unavailable when the database is away.
        """
        with _answering(), Session(self._snapshots, expire_on_commit=False) as session:
            yield session

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
    except (OperationalError, InterfaceError, PoolExhausted) as problem:
        told = str(problem).partition("\n")[0]
        raise Unavailable(problem=f"the database did not answer: {told}") from problem


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
        # FULL: a commit that was answered survives a power cut.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get("recast_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    options = f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS} -c timezone=UTC"
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    return create_engine(
        url, pool_size=16, max_overflow=48, pool_pre_ping=True, connect_args={"options": options, **patience}
    )
