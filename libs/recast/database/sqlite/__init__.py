"""SQLite in one file: many readers, one writer.

A write holds SQLite's write lock from its begin (`BEGIN IMMEDIATE`), so the rows that it reads cannot change
before it commits. Threads of one process queue on a process lock first: SQLite itself polls, with pauses of
up to 100 ms.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from recast.faults import Unavailable

CLOCK = "((julianday('now') - 2440587.5) * 86400.0)"  # SQL: seconds since 1970, with a fraction
_BUSY_SECONDS = 10
"""How long SQLite waits for a writer of another process."""
_QUEUE_SECONDS = 15.0
"""How long a write waits for those of its own process: a stuck writer must not occupy every thread."""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit that returned survives a power cut
    "foreign_keys=ON",
    "secure_delete=ON",  # deleted bytes, such as a store's key in an ended request, are overwritten
    "cache_size=-4000",  # KiB for each connection
)


def open_engine(url: URL) -> Engine:
    """An engine whose transactions begin with BEGIN, or BEGIN IMMEDIATE with the option `is_write`."""
    engine = create_engine(
        url,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_size=16,
        max_overflow=48,
        pool_use_lifo=True,  # each connection fills a page cache of its own
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver itself begins no transactions
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get("is_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def is_full(problem: OperationalError) -> bool:
    """Whether the storage has no room for a write."""
    return getattr(problem.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def truncate_log(engine: Engine) -> bool:
    """Merges the write-ahead log and empties it: it holds the pages of earlier writes, deleted bytes too.

    False, and nothing more, while another connection reads or writes.
    """
    pooled = engine.raw_connection()
    try:
        cursor = pooled.cursor()
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            (is_busy, _, _) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
        return not is_busy
    except sqlite3.OperationalError:  # locked, or the disk is full
        return False
    finally:
        pooled.close()


class WriteQueue:
    """One write of this process at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Unavailable when other writes take too long."""
        if not self._lock.acquire(timeout=_QUEUE_SECONDS):
            raise Unavailable(problem="the database is busy")
        try:
            yield
        finally:
            self._lock.release()
