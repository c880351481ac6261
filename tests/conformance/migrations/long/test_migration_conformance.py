"""Migrations on both engines: those of each service, and the guarantees to any migration."""

import importlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from recast.database import Database
from recast.migrations.migrate import metadata, migrate, newest, revision_of
from tests.harness.filling import fill

_ENVIRONMENT = """
from alembic import context
from recast.migrations.migrate import run_environment
run_environment(context, ())
"""
_REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = {revision!r}, {before!r}
def upgrade():
    {upgrade}
def downgrade():
    pass
"""
_FAMILY = """
    op.create_table("parent", sa.Column("id", sa.String, primary_key=True))
    op.create_table(
        "child",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("parent", sa.String, sa.ForeignKey("parent.id", ondelete="CASCADE")),
    )
    op.execute("INSERT INTO parent VALUES ('p')")
    op.execute("INSERT INTO child VALUES ('c', 'p')")
"""
_BACKUPS = "".join(
    (
        "INSERT INTO backup (name, project, version, create_time, update_time, display_name, description,",
        " server, server_display_name, state, image_ready, incremental, size_bytes, stored_bytes,",
        ' lock_sequence, "full", disks, shown) VALUES ',
        ", ".join(
            f"('{name}', 'p', 1, '2026-03-01', '2026-03-01', '', '', 's', '', 'AVAILABLE',"
            " TRUE, FALSE, 0, 0, 2, FALSE, '', '')"
            for name in ("free", "held", "lasting", "twice")
        ),
    )
)
_LOCKS = """
    INSERT INTO image_lock (backup, request_id, image, token, state, create_time) VALUES
        ('free', 'a', 'first', 1, 'RELEASED', '2026-03-01'),
        ('held', 'b', 'first', 1, 'RELEASED', '2026-03-01'),
        ('held', 'c', 'second', 2, 'HELD', '2026-03-01'),
        ('lasting', 'd', 'third', 1, 'CONFIRMED', '2026-03-01'),
        ('twice', 'e', 'first', 1, 'HELD', '2026-03-01'),
        ('twice', 'f', 'another', 2, 'HELD', '2026-03-01')
"""
_CHANGE_PARENT = """
    with op.batch_alter_table("parent") as parent:
        parent.add_column(sa.Column("size", sa.Integer, nullable=False, server_default="0"))
        parent.alter_column("id", type_=sa.Text)
"""
_FAIL_HALFWAY = """
    op.create_table("half", sa.Column("id", sa.String, primary_key=True))
    raise RuntimeError("halfway")
"""


class Migrations:
    """A folder of migrations that a test writes one after the other."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self._versions = folder / "versions"
        self._versions.mkdir(parents=True)
        (folder / "env.py").write_text(_ENVIRONMENT)

    def write(self, number: int, upgrade: str) -> None:
        """Writes, or writes anew, the migration of this number."""
        before = f"{number - 1:04}" if number > 1 else None
        content = _REVISION.format(revision=f"{number:04}", before=before, upgrade=upgrade.strip())
        (self._versions / f"{number:04}.py").write_text(content)


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    """An empty folder of migrations."""
    return Migrations(tmp_path / "migrations")


def tables(database: Database) -> set[str]:
    """The names of the tables that there are."""
    with database.read() as session:
        return set(inspect(session.connection()).get_table_names())


def differences(database: Database, own: MetaData) -> list[object]:
    """The changes that Alembic would make to turn the database's tables into those of the code."""
    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        return list(compare_metadata(context, own))


def contents(database: Database) -> dict[str, list[dict[str, object]]]:
    """Every row, by table."""
    with database.read() as session:
        connection = session.connection()
        return {
            table: [dict(row) for row in connection.execute(text(f'SELECT * FROM "{table}"')).mappings()]
            for table in inspect(connection).get_table_names()
        }


def shared_rows(
    rows: dict[str, list[dict[str, object]]], other: dict[str, list[dict[str, object]]]
) -> dict[str, list[str]]:
    """The rows of the tables that both have, by the columns that both have, in one order."""
    shared = {}
    for table in rows.keys() & other.keys() - {"alembic_version"}:
        columns = sorted(rows[table][0].keys() & other[table][0].keys())
        shared[table] = sorted(str([row[column] for column in columns]) for row in rows[table])
    return shared


class MigrationSuite:
    """Subclass it with a `database` that is empty."""

    @pytest.fixture
    def database(self) -> Database:
        """The database under test."""
        raise NotImplementedError

    @pytest.mark.parametrize("service", ["csbs", "ims", "ecs"])
    def test_a_service_s_migrations_make_its_tables(self, database: Database, service: str) -> None:
        """A service's migrations make exactly the tables that its code knows, also after going down."""
        own = metadata(importlib.import_module(f"{service}.storage.tables").TABLES)
        location = f"{service}.storage:migrations"
        migrate(database, location)
        assert differences(database, own) == []
        migrate(database, location, "base")
        assert tables(database) == {"alembic_version"}
        migrate(database, location, "+1")
        migrate(database, location)
        assert differences(database, own) == []

    @pytest.mark.parametrize("service", ["csbs", "ims", "ecs"])
    def test_a_service_s_migrations_preserve_its_rows(self, database: Database, service: str) -> None:
        """Each migration of a service, run down and up again, preserves every row of the shared tables."""
        location = f"{service}.storage:migrations"
        migrate(database, location)
        fill(database, importlib.import_module(f"{service}.storage.tables").TABLES)
        for _ in range(int(newest(location)) - 1):
            before = contents(database)
            migrate(database, location, "-1")
            below = contents(database)
            assert shared_rows(before, below) == shared_rows(below, before)
            migrate(database, location, "+1")
            assert shared_rows(below, contents(database)) == shared_rows(contents(database), below)
            migrate(database, location, "-1")
        assert revision_of(database) == "0001"
        assert all(len(rows) == 12 for table, rows in below.items() if table != "alembic_version")

    def test_the_holder_of_a_backup_is_found_by_its_locks(self, database: Database) -> None:
        """The migration that adds a backup's holder finds it by the backup's locks.

        Where two images hold a backup, which must not be, it is the later one.
        """
        migrate(database, "csbs.storage:migrations")
        migrate(database, "csbs.storage:migrations", "0005")
        with database.write() as tx:
            tx.session.connection().execute(text(_BACKUPS))
            tx.session.connection().execute(text(_LOCKS))
            tx.commit()
        migrate(database, "csbs.storage:migrations")
        with database.read() as session:
            found = session.connection().execute(text("SELECT name, image FROM backup ORDER BY name")).all()
        holders = {"free": "", "held": "second", "lasting": "third", "twice": "another"}
        assert dict(map(tuple, found)) == holders

    def test_a_database_that_is_there_is_left_alone(self, database: Database, migrations: Migrations) -> None:
        """Nothing is run, nor read of the migrations but their names, where the newest was run before."""
        migrations.write(1, _FAMILY)
        migrate(database, migrations.location)
        migrations.write(1, "raise RuntimeError('run again')")
        migrate(database, migrations.location)
        migrate(database, migrations.location, "base")
        with pytest.raises(RuntimeError, match="run again"):
            migrate(database, migrations.location)

    def test_changing_a_table_preserves_rows_that_refer_to_it(
        self, database: Database, migrations: Migrations
    ) -> None:
        """A migration that rebuilds a table does not delete the rows that refer to it."""
        migrations.write(1, _FAMILY)
        migrate(database, migrations.location)
        migrations.write(2, _CHANGE_PARENT)
        migrate(database, migrations.location)
        with database.read() as session:
            connection = session.connection()
            assert connection.execute(text("SELECT size FROM parent")).scalars().all() == [0]
            assert connection.execute(text("SELECT id FROM child")).scalars().all() == ["c"]

    def test_foreign_keys_hold_again_after_a_migration(
        self, database: Database, migrations: Migrations
    ) -> None:
        """Foreign keys are on again after a migration: rows that refer to a deleted row are deleted too."""
        migrations.write(1, _FAMILY)
        migrate(database, migrations.location)
        with database.write() as tx:
            tx.session.connection().execute(text("DELETE FROM parent"))
            tx.commit()
        with database.read() as session:
            assert session.connection().execute(text("SELECT id FROM child")).scalars().all() == []

    def test_a_migration_that_fails_leaves_nothing(self, database: Database, migrations: Migrations) -> None:
        """All migrations of a start are made or none is, and the next start can try again."""
        migrations.write(1, _FAMILY)
        migrations.write(2, _FAIL_HALFWAY)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="halfway"):
                migrate(database, migrations.location)
            assert tables(database) == set()
        migrations.write(2, _CHANGE_PARENT)
        migrate(database, migrations.location)
        assert tables(database) == {"alembic_version", "parent", "child"}


class TestSqliteMigration(MigrationSuite):
    """A SQLite file."""

    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """The database under test."""
        return sqlite_database


class TestPostgresqlMigration(MigrationSuite):
    """A PostgreSQL server."""

    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """The database under test."""
        return postgresql_database

    def test_a_migration_that_failed_holds_no_lock(self, database: Database, migrations: Migrations) -> None:
        """The lock that excludes concurrent migrations of replicas ends with a migration that fails."""
        migrations.write(1, _FAIL_HALFWAY)
        with pytest.raises(RuntimeError):
            migrate(database, migrations.location)
        with database.read() as session:
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert session.connection().execute(text(held)).scalar_one() == 0
