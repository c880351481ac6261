"""The engine of a URL."""

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

from recast.database import postgresql, sqlite

_URLS = "`sqlite:////absolute/path.db` or `postgresql+psycopg://user:password@host/name`"


class DatabaseUnusable(Exception):
    """A service cannot use its database, and a retry does not help; one line for people."""


def open_engine(url: str) -> Engine:
    """The engine of a database; it connects on first use.

    DatabaseUnusable when the URL cannot be read or names another engine. The message does not repeat the
    URL: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(f"its URL cannot be read: write {_URLS}") from None
    if parsed.get_backend_name() == "sqlite":
        return sqlite.open_engine(parsed)
    if parsed.drivername != "postgresql+psycopg":
        raise DatabaseUnusable(f"`{parsed.drivername}` is not known here: write {_URLS}")
    try:
        return postgresql.open_engine(parsed)
    except ImportError as missing:
        wanted = "install the package psycopg[binary]"
        raise DatabaseUnusable(f"PostgreSQL's driver is not there: {wanted} ({missing})") from missing
