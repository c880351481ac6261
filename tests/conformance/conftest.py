"""The two engines that every suite runs on: a SQLite file, and a PostgreSQL server of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recast.database import Database
from tests.harness.postgresql import PostgresqlServer, running_postgresql  # found by the line above


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server for the whole run."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def opened() -> Iterator[Callable[[str], Database]]:
    """Opens databases by their URLs, and closes them after the test."""
    databases: list[Database] = []

    def make(url: str) -> Database:
        databases.append(Database(url))
        return databases[-1]

    yield make
    for database in databases:
        database.close()


@pytest.fixture
def sqlite_database(tmp_path: Path, opened: Callable[[str], Database]) -> Database:
    """An empty database in a file."""
    return opened(f"sqlite:///{tmp_path}/test.db")


@pytest.fixture
def postgresql_database(postgresql: PostgresqlServer, opened: Callable[[str], Database]) -> Database:
    """The server's database, empty."""
    return opened(postgresql.emptied())
