"""Bringing a database to the tables that the code knows: Alembic, inside each service."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData, inspect, text

from recast.unitofwork.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

# An advisory lock's number on PostgreSQL: replicas that start together migrate one after the other.
_LOCK = 7_102_026


def migrate(database: Database, location: str, revision: str = "head") -> None:
    """Runs the migrations at `location` (`csbs.storage:migrations`) up or down to `revision`, all or none.

    A database that is there already costs one read. Importing Alembic is a third of a service's start, so it
    waits until there is something to run.
    """
    if revision == "head" and _revision_of(database) == _newest(location):
        return
    config = configuration(location)
    with database.engine.execution_options(recast_write=True).connect() as connection:
        config.attributes["connection"] = connection
        if database.is_sqlite:
            with _unchecked_foreign_keys(connection):
                _run(config, connection, revision)
        else:
            # The transaction's own lock: it ends with it, even where the migration fails.
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
            _run(config, connection, revision)


def _revision_of(database: Database) -> str | None:
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        return session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar()


def _newest(location: str) -> str:
    """The number that the newest file's name begins with, which is its revision."""
    package, _, folder = location.rpartition(":")
    root = Path(importlib.import_module(package).__path__[0]) / folder if package else Path(location)
    return max(file.stem[:4] for file in (root / "versions").glob("[0-9]*.py"))


def _run(config: "Config", connection: Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415  # see migrate

    if revision == "head" or revision.startswith("+"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)
    connection.commit()


@contextmanager
def _unchecked_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by copying it and dropping the old one.

    With foreign keys on, dropping it would delete whatever refers to its rows. They can only be switched
    outside a transaction, so by the driver: SQLAlchemy begins one for every statement.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()  # of what failed; nothing after a commit
        driver.execute("PRAGMA foreign_keys=ON")


def configuration(location: str) -> "Config":
    """Alembic's configuration for a service's migrations."""
    from alembic.config import Config  # noqa: PLC0415  # see migrate

    config = Config()
    config.set_main_option("script_location", location)
    return config


def run_environment(context: Any, tables: Iterable[Any]) -> None:
    """What each service's env.py does: runs the migrations over the given connection, in one transaction."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata(tables),
        render_as_batch=True,
        transactional_ddl=True,
    )
    context.run_migrations()


def metadata(tables: Iterable[Any]) -> MetaData:
    """The tables of one service alone: SQLModel keeps those of every imported service in one place."""
    own = MetaData()
    for table in tables:
        table.__table__.to_metadata(own)
    return own
