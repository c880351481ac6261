"""Bringing a database to the tables that the code knows: Alembic, inside each service."""

from collections.abc import Iterable
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, text

from recast.unitofwork.database import Database

_LOCK = 7_102_026  # an advisory lock's number on PostgreSQL: replicas that start together migrate one after the other


def migrate(database: Database, location: str, revision: str = "head") -> None:
    """Runs the migrations at `location` (`csbs.storage:migrations`) up, or down, to `revision`."""
    config = configuration(location)
    with database.engine.execution_options(recast_write=True).connect() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK})
        config.attributes["connection"] = connection
        try:
            if revision == "head" or revision.startswith("+"):
                command.upgrade(config, revision)
            else:
                command.downgrade(config, revision)
            connection.commit()
        finally:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": _LOCK})
                connection.commit()


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
