"""The expiry of abandoned uploads, on a real database and in a real folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import grpc
import pytest
from sqlmodel import col, select

from ims.domain.image import ImageState
from ims.peers.csbs import Backups
from ims.storage import images
from ims.storage.chunks import ImageChunks
from ims.storage.staging import Staging
from ims.storage.tables import ImageRow
from ims.workflows.delete_image import DeleteImage
from ims.workflows.expire_uploads import ExpireUploads
from recast.database import Database
from recast.ims.v1 import image_pb2
from recast.migrations.migrate import migrate
from recast.operations import Operations, Worker

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_OLD = _NOW - timedelta(hours=25)
_RECENT = _NOW - timedelta(hours=23)


@dataclass(frozen=True)
class Ims:
    """The database and the folder of uploads, with the work on them."""

    database: Database
    staging: Staging
    expiry: ExpireUploads
    worker: Worker

    def upload(
        self, name: str, begun: datetime, received: datetime | None, *, complete: bool = False
    ) -> None:
        """An upload that began, and received its last bytes, at these times."""
        image = image_pb2.Image(display_name=name)
        row = images.new_row("demo", name, image, "SYSTEM_DISK", begun)
        row.upload_key, row.upload_is_complete = f"key-{name}", complete
        with self.database.write() as tx:
            images.save(tx, row)
            tx.commit()
        if received:
            self.file(row.upload_key, received)

    def file(self, key: str, written: datetime) -> None:
        """A staged file that was last written at this time."""
        path = self.staging.path(key)
        path.write_bytes(b"bytes")
        os.utime(path, (written.timestamp(), written.timestamp()))

    def expire(self) -> None:
        """Runs the expiry, and then the work that it recorded."""
        self.expiry.run()
        while self.worker.run_once():
            pass

    def names(self) -> list[str]:
        """The images that are left."""
        with self.database.read() as session:
            names = session.exec(select(ImageRow.name).order_by(col(ImageRow.name)))
            return [name.rpartition("/")[2] for name in names]


@pytest.fixture
def ims(tmp_path: Path) -> Iterator[Ims]:
    """A database with IMS's tables, an empty folder, and a worker that is not started."""
    database = Database(f"sqlite:///{tmp_path}/ims.db")
    migrate(database, "ims.storage:migrations")
    ids = count()
    operations = Operations(database, lambda: _NOW, lambda: f"id-{next(ids)}")
    staging = Staging(tmp_path / "staging")
    chunks = ImageChunks(f"file://{tmp_path}/chunks", bytes(32))
    with grpc.insecure_channel("127.0.0.1:1") as channel:  # never connected: no upload has a backup
        deletion = DeleteImage(database, operations, Backups(channel), chunks, staging, lambda: _NOW)
        yield Ims(
            database,
            staging,
            ExpireUploads(database, operations, staging, lambda: _NOW),
            Worker(operations, {"DeleteImage": deletion}, domain="ims.recast"),
        )
    database.close()


@pytest.mark.parametrize("received", [_OLD, None], ids=["bytes", "no bytes"])
def test_an_upload_expires_after_a_day(ims: Ims, received: datetime | None) -> None:
    """An upload that received nothing for a day is deleted, its image and its file."""
    ims.upload("left", _OLD, received)
    ims.expire()
    assert ims.names() == []
    assert not ims.staging.path("key-left").exists()


def test_other_images_stay(ims: Ims) -> None:
    """Uploads that are young, that received bytes within the day, or that are complete stay."""
    ims.upload("young", _RECENT, None)
    ims.upload("continued", _OLD, _RECENT)
    ims.upload("complete", _OLD, _OLD, complete=True)
    ims.expire()
    assert ims.names() == ["complete", "continued", "young"]
    assert ims.staging.path("key-continued").exists()
    assert ims.staging.path("key-complete").exists()


def test_a_stream_that_receives_is_not_cut(ims: Ims) -> None:
    """An upload whose file is open by a stream stays, and expires after the stream's end."""
    ims.upload("resumed", _OLD, _OLD)
    stream = ims.staging.open("key-resumed")
    assert stream is not None
    ims.expire()
    assert ims.names() == ["resumed"]
    stream.close()
    ims.expire()
    assert ims.names() == []


def test_two_expiries_delete_once(ims: Ims) -> None:
    """An image whose deletion was recorded is passed over by the next expiry."""
    ims.upload("left", _OLD, _OLD)
    ims.expiry.run()
    ims.expiry.run()
    with ims.database.read() as session:
        assert images.load(session, "projects/demo/images/left").state == ImageState.DELETING
    assert ims.worker.run_once()
    assert not ims.worker.run_once()
    assert ims.names() == []


def test_a_file_that_no_image_names_is_removed(ims: Ims) -> None:
    """A staged file of no image is removed after a day, and not before."""
    ims.file("old", _OLD)
    ims.file("young", _RECENT)
    ims.expire()
    assert not ims.staging.path("old").exists()
    assert ims.staging.path("young").exists()


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
@pytest.mark.parametrize("folder", ["key-left.scratch", "tmp-of-an-earlier-version"])
def test_what_a_killed_import_unpacked_is_removed(ims: Ims, folder: str) -> None:
    """A folder of unpacked content that no process uses is removed after a day, like a file."""
    path = ims.staging.folder / folder
    path.mkdir()
    (path / "unpacked.raw").write_bytes(b"content")
    os.utime(path, (_OLD.timestamp(), _OLD.timestamp()))
    ims.expire()
    assert list(ims.staging.folder.iterdir()) == []


@pytest.mark.fault("ATTACK-ONE-CLUSTER")
def test_an_import_that_is_repeated_begins_with_an_empty_folder(ims: Ims) -> None:
    """The content that a killed import unpacked does not stay beside that of its repetition, nor after it."""
    (ims.staging.scratch("key") / "unpacked.raw").write_bytes(b"content")
    assert list(ims.staging.scratch("key").iterdir()) == []
    ims.staging.remove("key")
    assert list(ims.staging.folder.iterdir()) == []
