"""Migrates a service's database to the code's tables, by Alembic."""

import importlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from recast.database import Database, DatabaseUnusable
from recast.faults import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger()
START_SECONDS = 30.0
_RETRY_SECONDS = 0.5
# An advisory lock's number on PostgreSQL: replicas that start together migrate one after the other.
_LOCK = 7_102_026
# Permanent problems, by messages of libpq and SQLite: a failed connection has no SQLSTATE.
_FINAL = (
    "password authentication failed",
    "no password supplied",
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "unable to open database file",
    "readonly database",
)

_FULL = "disk is full"  # SQLite's; what a reserve would have freed is used up


def migrate(
    database: Database, location: str, revision: str = "head", *, wait_seconds: float = START_SECONDS
) -> None:
    """Runs the migrations at `location` (`csbs.storage:migrations`) up or down to `revision`, all or none.

    A database that is up to date costs two small reads: importing Alembic is a third of a service's start,
    so it is deferred until there is a migration to run. Waits up to `wait_seconds` for a database that is
    starting.
    DatabaseUnusable names the problem, in one line.
    """
    found = _await_revision(database, wait_seconds)
    check_revision(found, location)
    if revision == "head" and found == newest(location):
        _check_tables(database, location)
        return
    with database.engine.execution_options(is_write=True).connect() as connection:
        try:
            if database.is_sqlite:
                with _unchecked_foreign_keys(connection):
                    run_within(connection, location, revision)
                    connection.commit()
            else:
                # A transaction lock: released even when the migration fails.
                lock_migrations(connection)
                run_within(connection, location, revision)
                connection.commit()
        except DBAPIError as problem:
            raise DatabaseUnusable(
                f"its tables could not be made or changed: {one_line(problem)}"
            ) from problem


def lock_migrations(connection: Connection) -> None:
    """Locks out other migrations of this PostgreSQL database until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def run_within(connection: Connection, location: str, revision: str = "head") -> None:
    """Runs the migrations within the connection's transaction, which the caller commits.

    On PostgreSQL every text column has the collation "C" afterwards, the order of bytes, as on SQLite:
    lists are sorted and paged alike on both, and by their indexes.
    """
    from alembic import command  # noqa: PLC0415  # see migrate

    config = configuration(location)
    config.attributes["connection"] = connection
    if revision == "head" or revision.startswith("+"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)
    if connection.dialect.name == "postgresql":
        collate_texts(connection)


def collate_texts(connection: Connection) -> None:
    """Gives every text column of the schema the collation "C"."""
    columns = connection.execute(
        text(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND data_type IN ('character varying', 'text')"
            " AND collation_name IS DISTINCT FROM 'C'"
        )
    ).all()
    for table, column in columns:
        change = f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE VARCHAR COLLATE "C"'
        connection.execute(text(change))


def revision_of(database: Database) -> str | None:
    """The revision that a database is at; None when no migration was ever run."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        return session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar()


def newest(location: str) -> str:
    """The newest revision: the number that the newest file's name begins with."""
    return _known(location)[-1]


def check_revision(found: str | None, location: str) -> None:
    """DatabaseUnusable for a revision unknown to this version of the service."""
    if found is not None and found not in _known(location):
        last = newest(location)
        raise DatabaseUnusable(
            f"it is at revision {found}, and this version knows {last} as the last: run the newer version"
            " that migrated it"
        )


def one_line(problem: DBAPIError) -> str:
    """A database's message, as one line without the statement."""
    return " ".join(str(problem.orig).split())


def _known(location: str) -> list[str]:
    package, _, folder = location.rpartition(":")
    root = Path(importlib.import_module(package).__path__[0]) / folder if package else Path(location)
    return sorted(file.stem[:4] for file in (root / "versions").glob("[0-9]*.py"))


def _await_revision(database: Database, wait_seconds: float) -> str | None:
    """The revision once the database answers; DatabaseUnusable after the time or for a permanent problem."""
    end = time.monotonic() + wait_seconds
    while True:
        try:
            return revision_of(database)
        except DBAPIError as problem:
            raise DatabaseUnusable(one_line(problem)) from problem
        except Unavailable as error:
            message = one_line(error.__cause__) if isinstance(error.__cause__, DBAPIError) else error.text
            if _FULL in message:
                raise DatabaseUnusable(f"{message}; free some space, then start it again") from error
            if any(final in message for final in _FINAL):
                raise DatabaseUnusable(message) from error
            if time.monotonic() >= end:
                raise DatabaseUnusable(f"it did not answer within {wait_seconds:.0f} s: {message}") from error
            log.warning("waiting for the database", problem=message, seconds=round(end - time.monotonic(), 1))
            time.sleep(_RETRY_SECONDS)


def _check_tables(database: Database, location: str) -> None:
    """DatabaseUnusable for another service's database: revisions are only numbers."""
    package = location.rpartition(":")[0]
    if not package:
        return
    wanted = {table.__tablename__ for table in importlib.import_module(f"{package}.tables").TABLES}
    with database.read() as session:
        missing = sorted(wanted.difference(inspect(session.connection()).get_table_names()))
    if missing:
        raise DatabaseUnusable(f"it lacks the table {missing[0]}: is it another service's?")


@contextmanager
def _unchecked_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by copying it and dropping the old one.

    With foreign keys on, dropping it would delete the rows that refer to it. They can be switched only
    outside a transaction, so by the driver: SQLAlchemy begins one for every statement.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()  # without effect after a commit
        driver.execute("PRAGMA foreign_keys=ON")


def configuration(location: str) -> "Config":
    """Alembic's configuration for a service's migrations."""
    from alembic.config import Config  # noqa: PLC0415  # see migrate

    config = Config()
    config.set_main_option("script_location", location)
    return config


def run_environment(context: Any, tables: Iterable[Any]) -> None:
    """The body of each service's env.py: runs the migrations on the given connection, in one transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata(tables),
        render_as_batch=True,
        transactional_ddl=True,
    )
    context.run_migrations()


def metadata(tables: Iterable[Any]) -> MetaData:
    """The tables of one service alone: SQLModel collects those of every imported service in one place."""
    own = MetaData()
    for table in tables:
        table.__table__.to_metadata(own)
    return own
