"""A read answers with the row's serialized message, which is written with every change and built where it is
missing.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from csbs.storage import backups
from csbs.storage.tables import BackupRow
from ims.storage import images
from ims.storage.tables import ImageRow
from recast.csbs.v1 import backup_service_pb2
from recast.database import Database
from recast.ims.v1 import image_service_pb2
from recast.migrations.migrate import migrate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COMMON = {"project": "demo", "display_name": "night", "create_time": NOW, "update_time": NOW}
BACKUP, IMAGE = "projects/demo/backups/b", "projects/demo/images/i"


def backup_page(database: Database) -> Any:
    """The only backup of a page."""
    with database.read() as session:
        (backup,) = backups.page(session, backup_service_pb2.ListBackupsRequest(), "demo").backups
    return backup


def one_backup(database: Database) -> Any:
    """The backup by its name."""
    with database.read() as session:
        return backups.get(session, BACKUP)


def image_page(database: Database) -> Any:
    """The only image of a page."""
    request = image_service_pb2.ListImagesRequest()
    with database.read() as session:
        (image,) = images.page(session, request, "demo", lambda _key: 7).images
    return image


def one_image(database: Database) -> Any:
    """The image by its name."""
    with database.read() as session:
        return images.get(session, IMAGE, lambda _key: 7)


def image_message(_session: Any, row: ImageRow) -> Any:
    """An image built from its row."""
    return images.message_from_row(row, 7)


def backup_message(_session: Any, row: BackupRow) -> Any:
    """A backup built from its row."""
    return backups.message_from_row(row)


Read = Callable[[Database], Any]
KINDS: dict[str, tuple[str, Any, Callable[..., Any], Read, Read]] = {
    "backup": (
        "csbs",
        BackupRow(name=BACKUP, server="projects/demo/servers/s", state="AVAILABLE", **COMMON),
        backup_message,
        one_backup,
        backup_page,
    ),
    "image": (
        "ims",
        ImageRow(name=IMAGE, kind="FULL_SERVER", state="NORMAL", **COMMON),
        image_message,
        one_image,
        image_page,
    ),
}

REPOSITORIES: dict[str, Any] = {"backup": backups, "image": images}


class SerializedRowsSuite:
    """Subclass it with a `database` that is empty."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_serialized_message_follows_the_row(self, database: Database, kind: str) -> None:
        """A row reads alike from its columns and as serialized: new, changed, and never serialized."""
        service, row, *_ = KINDS[kind]
        table = type(row)
        migrate(database, f"{service}.storage:migrations")
        with database.write() as tx:
            REPOSITORIES[kind].save(tx, table(**row.model_dump()))
            tx.commit()
        seen = [self._agreed(database, kind)]
        with database.write() as tx:
            changed = tx.session.get_one(table, row.name)
            changed.description = "changed"
            REPOSITORIES[kind].update(tx, changed, NOW + timedelta(seconds=1))
            tx.commit()
        seen.append(self._agreed(database, kind))
        with database.write() as tx:
            tx.session.connection().execute(text(f"UPDATE {kind} SET serialized = '', display_name = 'day'"))
            tx.commit()
        seen.append(self._agreed(database, kind))
        assert [(each.display_name, each.description) for each in seen] == [
            ("night", ""),
            ("night", "changed"),
            ("day", "changed"),
        ]

    def _agreed(self, database: Database, kind: str) -> Any:
        _, row, message, get, page = KINDS[kind]
        with database.read() as session:
            built = message(session, session.get_one(type(row), row.name))
        assert get(database) == built
        assert page(database) == built
        return built


class TestSqliteSerializedRows(SerializedRowsSuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database


class TestPostgresqlSerializedRows(SerializedRowsSuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database
