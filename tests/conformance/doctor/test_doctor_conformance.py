"""The doctor reads the services' rows, on every database engine."""

from datetime import UTC, datetime

import pytest
from sqlmodel import SQLModel

from csbs.storage.tables import BackupRow, ImageLockRow
from ecs.storage.tables import AttachmentRow, DiskRow, FreezeRow, ImageHoldRow, ServerRow
from ims.storage.tables import ImagePinRow, ImageRow
from recast.database import Database
from recast.doctor.snapshots import read_csbs, read_ecs, read_ims
from recast.migrations.migrate import migrate
from recast.operations.tables import OperationRow, OperationStep, OperationUse

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ALL = {"project": "p", "display_name": "it", "create_time": NOW, "update_time": NOW}


def _operation(operation_id: str, state: str, **others: object) -> OperationRow:
    ended = state == "SUCCEEDED"
    values = {"response": b"r" if ended else None, "end_time": NOW if ended else None, "ended": ended}
    times = {"create_time": NOW, "update_time": NOW}
    common = {"project": "p", "verb": "Work", "target": "it", "request": b"", "state": state}
    return OperationRow(id=operation_id, **common | times | values | others)


def _write(database: Database, *rows: SQLModel) -> str:
    """Writes rows one after the other, and gives the URL for reading them."""
    with database.write() as tx:
        for row in rows:
            tx.session.add(row)
            tx.session.flush()
        tx.commit()
    return database.engine.url.render_as_string(hide_password=False)


class DoctorReads:
    """The suite; a subclass gives the database."""

    @pytest.fixture
    def database(self) -> Database:
        """An empty database."""
        raise NotImplementedError

    def test_backups_and_locks(self, database: Database) -> None:
        """Of CSBS every backup is read, and every lock that was not released."""
        migrate(database, "csbs.storage:migrations")
        lock = {"backup": "b", "image": "i", "create_time": NOW}
        url = _write(
            database,
            BackupRow(name="b", server="s", state="AVAILABLE", image="i", lock_sequence=2, **_ALL),
            ImageLockRow(request_id="1", fencing_token=1, state="RELEASED", **lock),
            ImageLockRow(request_id="2", fencing_token=2, state="HELD", **lock),
        )
        seen = read_csbs(url)
        assert (seen.backups["b"].state, seen.backups["b"].content) == ("AVAILABLE", None)
        assert seen.backups["b"].image == "i"
        assert seen.backups["b"].create_time == NOW.replace(tzinfo=None)
        assert [(lock.fencing_token, lock.state) for lock in seen.locks] == [(2, "HELD")]

    def test_images_and_pins(self, database: Database) -> None:
        """Of IMS every image and every pin is read."""
        migrate(database, "ims.storage:migrations")
        url = _write(
            database,
            ImageRow(name="i", kind="FULL_SERVER", state="NORMAL", size_bytes=1 << 40, content=b"", **_ALL),
            ImagePinRow(image="i", pin_id="o", holder="s", create_time=NOW),
        )
        seen = read_ims(url)
        image = seen.images["i"]
        assert (image.size_bytes, image.content, image.upload_is_complete) == (1 << 40, b"", False)
        assert [pin.pin_id for pin in seen.pins] == ["o"]

    def test_servers_and_disks(self, database: Database) -> None:
        """Of ECS servers, disks, attachments, holds and freezes are read."""
        migrate(database, "ecs.storage:migrations")
        url = _write(
            database,
            ServerRow(name="s", state="RUNNING", **_ALL),
            DiskRow(name="d", role="DATA", state="IN_USE", size_bytes=512, shared=True, folder="f", **_ALL),
            AttachmentRow(server="s", disk="d", position=1),
            ImageHoldRow(server="s", image="i"),
            FreezeRow(server="s", freeze_id="z", backup="b", state="THAWED", create_time=NOW),
        )
        seen = read_ecs(url)
        assert (list(seen.servers), seen.disks["d"].shared) == (["s"], True)
        assert [(place.disk, place.position) for place in seen.attachments] == [("d", 1)]
        assert [hold.image for hold in seen.holds] == ["i"]
        assert [(freeze.freeze_id, freeze.is_live) for freeze in seen.freezes] == [("z", False)]

    def test_work(self, database: Database) -> None:
        """Operations that have not ended, or ended oddly, are read; so are rows of no operation under way."""
        migrate(database, "csbs.storage:migrations")
        url = _write(
            database,
            _operation("well", "SUCCEEDED"),
            _operation("odd", "SUCCEEDED", request=b"secret"),
            _operation("open", "RUNNING"),
            OperationStep(operation_id="open", name="seal", result=b"null"),
            OperationStep(operation_id="well", name="seal", result=b"null"),
            OperationUse(resource="chunks", operation_id="open", exclusive=True),
            OperationUse(resource="chunks", operation_id="odd", exclusive=False),
        )
        work = read_csbs(url).work
        assert {operation.id for operation in work.operations} == {"odd", "open"}
        assert list(work.unended) == ["open"]
        assert [(step.operation_id, step.result) for step in work.steps] == [("open", b"null")]
        assert work.lost_steps == []
        assert [use.operation_id for use in work.lost_uses] == ["odd"]


class TestOnSqlite(DoctorReads):
    @pytest.fixture
    def database(self, sqlite_database: Database) -> Database:
        """A file."""
        return sqlite_database


class TestOnPostgresql(DoctorReads):
    @pytest.fixture
    def database(self, postgresql_database: Database) -> Database:
        """A server."""
        return postgresql_database
