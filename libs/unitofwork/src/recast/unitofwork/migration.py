"""Bringing a database to the tables that the code knows: Alembic, inside each service."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text

from recast.unitofwork.database import Database

# An advisory lock's number on PostgreSQL: replicas that start together migrate one after the other.
_LOCK = 7_102_026


def migrate(database: Database, location: str, revision: str = "head") -> None:
    """Runs the migrations at `location` (`csbs.storage:migrations`) up or down to `revision`, all or none."""
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


def _run(config: Config, connection: Connection, revision: str) -> None:
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


def configuration(location: str) -> Config:
    """Alembic's configuration for a service's migrations."""
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
