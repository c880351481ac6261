"""PostgreSQL: writes run concurrently; a row that a decision depends on is read `FOR UPDATE`."""

import hashlib

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session

CLOCK = "extract(epoch from clock_timestamp())"  # SQL: seconds since 1970, with a fraction
# A replica that hangs within a transaction must not hold its row locks.
_OPTIONS = "-c idle_in_transaction_session_timeout=10000 -c timezone=UTC"
# A server that stops answering is given up after about ten seconds; libpq's default is 15 minutes. A URL
# may override it.
_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_UNIQUE_VIOLATION = "23505"
_DISK_FULL = "53100"


def open_engine(url: URL) -> Engine:
    """An engine; ImportError when the driver is not installed.

    A connection is not tested before its use, which would cost as much as a read. After a restart of the
    server one call is UNAVAILABLE, callers retry it, and the pool opens new connections.
    """
    patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
    return create_engine(
        url,
        connect_args={
            "options": _OPTIONS,
            # A prepared statement keeps its first plan: one made for an empty table would scan every row
            # for long.
            "prepare_threshold": None,
            **patience,
        },
        pool_size=16,
        max_overflow=48,
        pool_use_lifo=True,
    )


def lock_name(session: Session, name: str) -> None:
    """Makes other writes that lock the same name wait until this one ends; for names without a row.

    Without effect in a read, and on SQLite, which has one writer.
    """
    bind = session.get_bind()
    if bind.dialect.name == "postgresql" and bind.get_execution_options().get("is_write"):
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        session.connection().execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def is_full(problem: OperationalError) -> bool:
    """Whether the server's storage has no room for a write."""
    return getattr(problem.orig, "sqlstate", None) == _DISK_FULL


def is_unique_violation(problem: IntegrityError) -> bool:
    """Whether another row has the key of a new one."""
    return getattr(problem.orig, "sqlstate", None) == _UNIQUE_VIOLATION
