"""The rows of images: ids that are used again, and one image of a backup, also without the lock of CSBS."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ims.domain.image import ImageEvent, ImageState
from ims.domain.refusals import BackupAlreadyHasImage, ImageIdTaken
from ims.storage import images
from ims.storage.tables import ImageRow
from recast.database import Database
from recast.ims.v1 import image_pb2
from recast.migrations.migrate import migrate

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_BACKUP = "projects/demo/backups/b"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with IMS's tables."""
    made = Database(f"sqlite:///{tmp_path / 'ims.db'}")
    migrate(made, "ims.storage:migrations")
    yield made
    made.close()


def new(image_id: str, kind: str = "FULL_SERVER", backup: str = _BACKUP) -> ImageRow:
    """The row of a new image."""
    row = images.new_row("demo", image_id, image_pb2.Image(display_name=image_id), kind, _NOW)
    row.source_backup = backup
    return row


def add(database: Database, row: ImageRow) -> None:
    """Adds an image, as a request does."""
    with database.write() as tx:
        images.add(tx, row)
        tx.commit()


def save_unchecked(database: Database, row: ImageRow) -> None:
    """Writes a row past all checks."""
    with database.write() as tx:
        images.save(tx, row)
        tx.commit()


def fail(database: Database, image_id: str, **left: object) -> None:
    """Ends the creation of an image in ERROR; `left` is what it still has."""
    with database.write() as tx:
        row = images.load(tx.session, f"projects/demo/images/{image_id}", lock=True)
        for name, value in left.items():
            setattr(row, name, value)
        images.move(tx, row, ImageEvent.FAILED, _NOW)
        tx.commit()


@pytest.mark.fault("FAULT-W07", "FAULT-N19")
@pytest.mark.parametrize("kind", ["FULL_SERVER", "SYSTEM_DISK", "DATA_DISK", "ISO"])
def test_the_id_of_an_image_in_error_is_used_again(database: Database, kind: str) -> None:
    """A new image takes the place of one whose creation failed; nothing of the earlier one is left."""
    backup = _BACKUP if kind == "FULL_SERVER" else ""
    add(database, new("x", kind, backup))
    fail(database, "x", error=b"", description="earlier", upload_request_id="earlier")
    again = new("x", kind, backup)
    add(database, again)
    with database.read() as session:
        row = images.load(session, again.name)
    assert (row.state, row.error, row.description, row.upload_request_id) == ("CREATING", None, "", "")


@pytest.mark.fault("FAULT-W07")
@pytest.mark.parametrize("state", [each for each in ImageState if each is not ImageState.ERROR])
def test_the_id_of_any_other_image_is_taken(database: Database, state: ImageState) -> None:
    """An image that is made, there, or being deleted is not replaced."""
    row = new("x", backup="")
    row.state = state
    add(database, row)
    with pytest.raises(ImageIdTaken):
        add(database, new("x", backup=""))


@pytest.mark.fault("FAULT-W07")
@pytest.mark.parametrize("left", [{"lock_token": 3}, {"content": b""}])
def test_an_image_whose_deletion_failed_is_not_replaced(database: Database, left: dict[str, object]) -> None:
    """An image in ERROR that still has a lock or bytes has to be deleted, so that they do not stay."""
    add(database, new("x"))
    fail(database, "x", **left)
    with pytest.raises(ImageIdTaken):
        add(database, new("x", backup=""))


@pytest.mark.fault("FAULT-N01")
@pytest.mark.rule("R09")
@pytest.mark.parametrize("state", [each for each in ImageState if each is not ImageState.ERROR])
def test_a_second_image_of_a_backup_is_refused(database: Database, state: ImageState) -> None:
    """A backup has one image, in any state but ERROR; the refusal names it, also without a lock of CSBS."""
    first = new("one")
    first.state, first.lock_token = state, 1
    add(database, first)
    with pytest.raises(BackupAlreadyHasImage) as caught:
        add(database, new("two"))
    assert caught.value.facts == {"image": first.name, "state": state, "backup": _BACKUP}


@pytest.mark.fault("FAULT-N01")
def test_a_refused_image_is_deleted_beside_the_next_of_its_backup(database: Database) -> None:
    """An image in ERROR, and the deletion of it, stand in no other image's way."""
    first = new("one")
    first.state = ImageState.ERROR
    add(database, first)
    add(database, new("two"))
    with database.write() as tx:
        images.move(tx, images.load(tx.session, first.name), ImageEvent.DELETION_BEGUN, first.create_time)
        tx.commit()


@pytest.mark.fault("FAULT-N01")
@pytest.mark.rule("R09")
def test_the_database_itself_refuses_a_second_image(database: Database) -> None:
    """A row that is written past the check is refused by the index."""
    add(database, new("one"))
    with pytest.raises(IntegrityError):
        save_unchecked(database, new("two"))


@pytest.mark.fault("FAULT-N01")
@pytest.mark.parametrize("kind", ["SYSTEM_DISK", "DATA_DISK", "FULL_SERVER"])
def test_images_that_hold_no_backup_are_free(database: Database, kind: str) -> None:
    """Images in ERROR, of other kinds, and of a server whose backup is not made yet, are no second image."""
    add(database, new("failed"))
    fail(database, "failed")
    add(database, new("one"))
    add(database, new("disk", "SYSTEM_DISK", ""))
    add(database, new("other", kind, "" if kind == "FULL_SERVER" else _BACKUP))
    add(database, new("later", "FULL_SERVER", ""))


@pytest.mark.fault("FAULT-N01")
@pytest.mark.rule("R09")
def test_a_backup_that_is_known_later_is_claimed(database: Database) -> None:
    """The image of a server finds that its backup has an image meanwhile."""
    add(database, new("one"))
    add(database, new("of-server", backup=""))
    with database.write() as tx:
        row = images.load(tx.session, "projects/demo/images/of-server", lock=True)
        row.source_backup = _BACKUP
        with pytest.raises(BackupAlreadyHasImage):
            images.claim_backup(tx.session, row)


@pytest.mark.fault("FAULT-N01")
def test_of_two_images_of_an_older_version_the_newest_lock_stays(database: Database) -> None:
    """The migration to the index ends every other image of a backup in ERROR, with the reason."""
    with database.write() as tx:
        connection = tx.session.connection()
        connection.execute(text("DROP INDEX image_of_backup"))
        for image_id, token in (("one", 1), ("two", 2), ("three", 0)):
            row = new(image_id)
            row.state, row.lock_token = ImageState.NORMAL, token
            images.save(tx, row)
        images.save(tx, new("alone", backup=f"{_BACKUP}-2"))
        tx.session.flush()
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))
        tx.commit()
    migrate(database, "ims.storage:migrations")
    with database.read() as session:
        found = {each: images.get(session, f"projects/demo/images/{each}", lambda _: 0)
                 for each in ("one", "two", "three", "alone")}  # fmt: skip
    states = {name: image_pb2.ImageState.Name(each.state)[12:] for name, each in found.items()}
    assert states == {"one": "ERROR", "two": "NORMAL", "three": "ERROR", "alone": "CREATING"}
    assert "projects/demo/images/two stands on" in found["one"].error.message
    with pytest.raises(IntegrityError):
        save_unchecked(database, new("four"))
