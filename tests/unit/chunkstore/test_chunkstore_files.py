"""Local files alone: torn settings, staged files, syncfs; and the URLs of all stores."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recast.chunkstore import (
    CHUNK_BYTES,
    ChunkStore,
    LocalObjects,
    StoreIoError,
    StoreUnavailable,
    StoreVersionUnknown,
    open_objects,
)

SETTINGS = "recast-chunkstore.json"
GOLDEN_SETTINGS = b'{"format": "recast-chunkstore", "version": 1, "chunk_bytes": 4096}\n'
StoreOver = Callable[..., ChunkStore]


def open_at(path: Path, chunk_bytes: int = 4096) -> ChunkStore:
    """Open a store of files."""
    return ChunkStore.open(f"file://{path}", project="acme", key=bytes(32), chunk_bytes=chunk_bytes)


def test_settings_object_is_fixed(tmp_path: Path) -> None:
    """A new store's settings are the line that FORMAT.md gives."""
    open_at(tmp_path / "new store").close()
    assert (tmp_path / "new store" / SETTINGS).read_bytes() == GOLDEN_SETTINGS


def test_chunk_size_is_the_stores(tmp_path: Path) -> None:
    """A store retains the chunk size that it was made with; a later caller's is ignored."""
    open_at(tmp_path).close()
    assert open_at(tmp_path, chunk_bytes=CHUNK_BYTES).chunk_bytes == 4096


@pytest.mark.parametrize("torn", [b"", bytes(70)])
def test_torn_settings_of_an_empty_store_are_written_anew(tmp_path: Path, torn: bytes) -> None:
    """A power cut while a store was made does not make it unusable."""
    (tmp_path / SETTINGS).write_bytes(torn)
    assert open_at(tmp_path).chunk_bytes == 4096
    assert (tmp_path / SETTINGS).read_bytes() == GOLDEN_SETTINGS


def test_torn_settings_beside_content_are_refused(tmp_path: Path) -> None:
    """Settings are never invented for a store that has content."""
    (tmp_path / SETTINGS).write_bytes(b"")
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "something").write_bytes(b"x")
    with pytest.raises(StoreVersionUnknown, match=SETTINGS):
        open_at(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        b"{}",
        b"[1]",
        b"not json",
        GOLDEN_SETTINGS.replace(b"1,", b"2,"),
        GOLDEN_SETTINGS.replace(b"recast", b"restic"),
        GOLDEN_SETTINGS.replace(b"4096", b"4097"),
        GOLDEN_SETTINGS.replace(b"4096", b'"big"'),
    ],
)
def test_unknown_settings_are_refused(tmp_path: Path, settings: bytes) -> None:
    """A store of another version, or of none, is not touched."""
    (tmp_path / SETTINGS).write_bytes(settings)
    with pytest.raises(StoreVersionUnknown, match=SETTINGS):
        open_at(tmp_path)
    assert (tmp_path / SETTINGS).read_bytes() == settings


def test_staged_files_are_not_listed_and_collect_removes_them(
    tmp_path: Path, disk_of: Callable[..., Any]
) -> None:
    """A staged file of a killed put is no object, and is removed by the next collection."""
    store = open_at(tmp_path)
    ref = store.write_disk(disk_of(b"\1" * 4096), "disk").ref
    chunk = next((tmp_path / "acme/chunks").glob("*/*"))
    left = [chunk.with_name(f"{chunk.name}#1"), tmp_path / "acme/indexes/disk#17"]
    os.link(chunk, left[0])  # killed between the link and the unlink
    left[1].write_bytes(b"half")
    assert store.usage().chunks == 1
    assert list(store.list_indexes()) == ["disk"]
    assert store.collect([ref]).leftovers_removed == 2
    assert [path.exists() for path in left] == [False, False]
    assert store.verify_disk(ref, deep=True) == []


def test_put_beside_a_staged_file_succeeds(tmp_path: Path) -> None:
    """A staged file that a kill left does not obstruct the retry."""
    objects = LocalObjects(tmp_path)
    (tmp_path / "name#1").write_bytes(b"half")
    assert objects.put_new("name", b"whole")
    assert bytes(objects.get("name") or b"") == b"whole"


def test_replace_leaves_one_file(tmp_path: Path) -> None:
    """A replaced object is the new bytes, and no staged file stays."""
    objects = LocalObjects(tmp_path)
    for data in (b"old", b"new"):
        objects.replace("folder/name", data)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["name"]
    assert bytes(objects.read_back("folder/name") or b"") == b"new"


def test_failed_replace_leaves_the_old_object(tmp_path: Path) -> None:
    """A replacement that cannot be made changes nothing and leaves nothing."""
    objects = LocalObjects(tmp_path)
    (tmp_path / "name").mkdir()
    with pytest.raises(StoreIoError, match="put name"):
        objects.replace("name", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_barrier_that_fails_is_an_error(tmp_path: Path) -> None:
    """A syncfs that the kernel refuses is StoreIoError, with the kernel's reason."""
    objects = LocalObjects(tmp_path)
    objects.barrier()
    objects.close()
    with pytest.raises(StoreIoError, match="Bad file descriptor"):
        objects.barrier()


def test_close_is_idempotent_and_frees_the_descriptor(tmp_path: Path) -> None:
    """Opening and closing stores leaves no descriptor open."""
    open_at(tmp_path).close()  # the first starts obstore's threads
    before = len(os.listdir("/proc/self/fd"))
    with open_at(tmp_path) as store:
        store.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_store_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A root that is a file is StoreIoError, not a crash."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreIoError, match="open"):
        open_at(tmp_path / "file")


def test_s3_that_does_not_answer_is_unavailable() -> None:
    """An S3 endpoint that refuses connections is StoreUnavailable, with the object's name."""
    options = {
        "endpoint": "http://127.0.0.1:9",
        "allow_http": "true",
        "access_key_id": "a",
        "secret_access_key": "b",
        "max_retries": "0",
    }
    with pytest.raises(StoreUnavailable, match=SETTINGS):
        ChunkStore.open("s3://bucket/prefix", project="acme", key=bytes(32), options=options)


def test_s3_option_that_is_none_is_refused() -> None:
    """A misspelt option is refused when the store is opened."""
    with pytest.raises(StoreUnavailable, match="open s3://bucket"):
        open_objects("s3://bucket", {"endpiont": "x"})


@pytest.mark.parametrize(
    "url", ["", "/path", "file://host/path", "file:relative", "ftp://x", "memory://name", "s3://"]
)
def test_other_urls_are_refused(url: str) -> None:
    """A URL of none of the three forms is refused as a mistake in the settings."""
    with pytest.raises(ValueError, match="is not file"):
        open_objects(url)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_keys_of_another_length_are_refused(key: bytes) -> None:
    """A project's key has 32 bytes."""
    with pytest.raises(ValueError, match="not 32"):
        ChunkStore.open("memory://", project="acme", key=key)


def test_sparse_disk_of_100_gib_is_cheap(disk_of: Callable[..., Any]) -> None:
    """A disk of 100 GiB with one byte of data costs one read of a chunk, and an index of less than 1 KiB."""
    store = ChunkStore.open("memory://", project="acme", key=bytes(32))

    class SparseDisk:
        size_bytes = 100 << 30

        def data_extents(self) -> Any:
            return iter([(50 << 30, 1)])

        def pread(self, offset: int, length: int) -> bytes:
            return b"\1" + bytes(length - 1)

    written = store.write_disk(SparseDisk(), "disk")
    index = store.read_index(written.ref)
    assert (written.read_bytes, written.chunks_new) == (CHUNK_BYTES, 1)
    assert list(index.data_extents()) == [(50 << 30, CHUNK_BYTES)]
