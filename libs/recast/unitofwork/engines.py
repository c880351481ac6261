"""Connections to SQLite in one file, or to PostgreSQL: how each is set up, kept, and given up."""

import time
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError

# A replica that froze inside a transaction must not keep its row locks: PostgreSQL ends the transaction after
# this.
_IDLE_IN_TRANSACTION_MS = 10_000
# Of those who hold several rows together: others wait for them meanwhile.
_PATIENCE_FOR_ROWS_MS = 20
# A connection that was used a moment ago is taken to be there still: to ask costs as much as a read. Where
# it is not, one call is UNAVAILABLE, and the pool begins anew.
ASKED_AFTER_SECONDS = 5.0
# A server that fell silent is given up after about ten seconds: libpq's own patience is that of the system, a
# quarter of an hour. A URL may say otherwise.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_WRITING = f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION_MS} -c timezone=UTC"
# A kept statement's plan is that of its first minutes: made while a table was empty, it would read all of it
# for long. Whatever looks and writes ask for has an index, or is a small table: its price, which is then a
# matter of form, must not have it compiled.
_BY_INDEX = "-c enable_seqscan=off -c jit=off"
_LOOKING = f"-c default_transaction_read_only=on -c timezone=UTC {_BY_INDEX}"
# The last that was given back is taken first: each connection to SQLite that is used fills its own cache.
_POOL = {"pool_size": 16, "max_overflow": 48, "pool_use_lifo": True}
_URLS = "`sqlite:////absolute/path.db` or `postgresql+psycopg://user:password@host/name`"


class DatabaseUnusable(Exception):
    """A service cannot work with its database, and waiting will not help; in one line, for people."""


def open_engine(url: str) -> Engine:
    """The engine of reads and migrations.

    DatabaseUnusable when the URL is none, or names what is not known here.

    What is said of a wrong URL does not repeat it: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(f"its URL cannot be read: write {_URLS}") from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, **_POOL)
    if parsed.drivername != "postgresql+psycopg":
        raise DatabaseUnusable(f"`{parsed.drivername}` is not known here: write {_URLS}")
    try:
        return _postgresql(parsed)
    except ImportError as missing:
        wanted = "install the package psycopg[binary]"
        raise DatabaseUnusable(f"PostgreSQL's driver is not there: {wanted} ({missing})") from missing


def open_writes_engine(engine: Engine) -> Engine:
    """An engine of the same database, for writes. It keeps no connections, and begins no transactions."""
    if engine.dialect.name == "sqlite":
        writes = _sqlite(engine.url, poolclass=NullPool)
        _leave_to_others(writes.dialect)
    else:
        writes = _by_itself(engine.url, f"{_WRITING} {_BY_INDEX}")
        event.listen(writes, "begin", _begin_again)
    return writes.execution_options(recast_write=True)


def open_impatient_engine(engine: Engine) -> Engine:
    """An engine of the same PostgreSQL, for statements that write and wait for no row for long."""
    return _by_itself(engine.url, f"{_WRITING} {_BY_INDEX} -c lock_timeout={_PATIENCE_FOR_ROWS_MS}")


def _begin_again(connection: Any) -> None:
    """A session that was rolled back must not write by statements that commit by themselves."""
    if connection.connection.driver_connection.info.transaction_status.name == "IDLE":
        connection.exec_driver_sql("BEGIN")


def _leave_to_others(dialect: Any) -> None:
    """Sessions only write: several may be in one transaction, which is not theirs to end."""
    dialect.do_commit = dialect.do_rollback = lambda _connection: None


def open_looks_engine(engine: Engine) -> Engine:
    """An engine of the same database, for statements that read, one at a time.

    It keeps no connections, and they cannot write by mistake.
    """
    if engine.dialect.name == "sqlite":
        looks = _sqlite(engine.url, poolclass=NullPool)
        event.listen(looks, "connect", lambda connection, _record: connection.execute("PRAGMA query_only=ON"))
        return looks
    return _by_itself(engine.url, _LOOKING)


def _sqlite(url: URL, **settings: Any) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 10, "check_same_thread": False}, **settings)

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
        # A write has begun before it has a session.
        if connection.connection.dbapi_connection.in_transaction:
            return
        is_write = connection.get_execution_options().get("recast_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    engine = _libpq(url, _WRITING, **_POOL)
    _ask_the_idle(engine)
    return engine


def _by_itself(url: URL, options: str) -> Engine:
    """Each statement is a transaction by itself."""
    return _libpq(url, options, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _libpq(url: URL, options: str, **settings: Any) -> Engine:
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    return create_engine(url, connect_args={"options": options, **patience}, **settings)


def _ask_the_idle(engine: Engine) -> None:
    """Finds out whether a connection that was idle for long is still there, before it is used."""

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        idle_since = record.info.get("idle_since")
        if idle_since is None or time.monotonic() - idle_since < ASKED_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as gone:  # the pool makes another, and forgets what is older
            raise InvalidatePoolError from gone
