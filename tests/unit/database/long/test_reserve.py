"""The reserve of a SQLite database on a full storage, a tmpfs of a few MiB."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from recast.database import Database
from recast.faults import Kind, StorageFull, Unavailable
from tests.harness.small_storage import MIB, fill, mounted_tmpfs

SIZE = 32 * MIB
RESERVE = 8 * MIB


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    with mounted_tmpfs(tmp_path, SIZE):
        yield tmp_path


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    """A database with one table and a reserve."""
    database = Database(f"sqlite:///{folder / 'test.db'}", RESERVE)
    with database.write() as tx:
        tx.session.connection().execute(text("CREATE TABLE item (value BLOB)"))
        tx.commit()
    yield database
    database.close()


def insert(database: Database, *, takes_space: bool = False, size_bytes: int = 1000) -> None:
    """One write."""
    with database.write(takes_space=takes_space) as tx:
        tx.session.connection().execute(text("INSERT INTO item VALUES (zeroblob(:n))"), {"n": size_bytes})
        tx.commit()


@pytest.mark.fault("FAULT-N03")
def test_a_reserve_has_blocks_and_is_for_its_owner(database: Database, folder: Path) -> None:
    """It is laid when the database is opened, takes real space, and nobody else reads it."""
    reserve = (folder / "test.db.reserve").stat()
    assert (reserve.st_size, reserve.st_blocks * 512, reserve.st_mode & 0o777) == (RESERVE, RESERVE, 0o600)


@pytest.mark.fault("FAULT-N03")
def test_on_a_full_storage_what_takes_space_is_refused(database: Database, folder: Path) -> None:
    """The refusal is RESOURCE_EXHAUSTED with its reason, and leaves the reserve for deletions."""
    fill(folder, "other")
    with pytest.raises(StorageFull) as caught:
        insert(database, takes_space=True)
    assert (caught.value.kind, caught.value.reason) == (Kind.RESOURCE_EXHAUSTED, "STORAGE_FULL")
    assert (folder / "test.db.reserve").exists()


@pytest.mark.fault("FAULT-N03")
@pytest.mark.parametrize("size_bytes", [1, 1000, 256 << 10])
def test_on_a_full_storage_other_writes_succeed(database: Database, folder: Path, size_bytes: int) -> None:
    """What frees space is written at the first attempt, many times; what takes space stays refused."""
    other = fill(folder, "other")
    for _ in range(3):
        insert(database, size_bytes=size_bytes)
    with pytest.raises(StorageFull):
        insert(database, takes_space=True)
    other.unlink()
    insert(database, takes_space=True)
    assert (folder / "test.db.reserve").stat().st_size == RESERVE


@pytest.mark.fault("FAULT-N03")
def test_a_storage_that_fills_up_during_a_write(database: Database, folder: Path) -> None:
    """The write fails as one that may be repeated, or as STORAGE_FULL; the repetition has the reserve."""
    with pytest.raises(StorageFull):
        insert(database, takes_space=True, size_bytes=SIZE)
    assert not (folder / "test.db.reserve").exists()
    with pytest.raises(Unavailable):
        insert(database, size_bytes=SIZE)
    insert(database)


@pytest.mark.fault("FAULT-N03")
def test_a_database_opens_on_a_full_storage(database: Database, folder: Path) -> None:
    """The reserve is freed to open it: SQLite makes its files anew."""
    database.close()
    fill(folder, "other")
    again = Database(f"sqlite:///{folder / 'test.db'}", RESERVE)
    insert(again)
    with again.read() as session:
        assert session.connection().execute(text("SELECT count(*) FROM item")).scalar() == 1
    again.close()


def test_without_a_reserve_nothing_lies_beside_the_database(tmp_path: Path) -> None:
    """A database without a reserve has no file of it."""
    Database(f"sqlite:///{tmp_path / 'test.db'}").close()
    assert os.listdir(tmp_path) == []
