"""F12: what is no object of its kind, or far too large, is refused before it is read, and holds no reader."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recast.chunkstore import (
    ChunkCorrupt,
    ChunkStore,
    IndexCorrupt,
    IndexRef,
    LocalObjects,
    ObjectUnfit,
    StoreVersionUnknown,
)

CHUNK = 4096
SECONDS = 20.0
Put = Callable[[Path], object]


def put_pipe(path: Path) -> None:
    """A pipe, of which nobody opens the other end."""
    os.mkfifo(path)


def put_link(path: Path) -> None:
    """A link to a file that is whole."""
    whole = path.rename(path.with_name("whole"))
    path.symlink_to(whole)


def put_open_link(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to("nowhere")


def put_device_link(path: Path) -> None:
    """A link to a device without an end."""
    path.symlink_to("/dev/zero")


def put_socket(path: Path) -> None:
    """A socket."""
    here = os.open(path.parent, os.O_PATH)
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name}")  # a path of a socket has at most 107 bytes
    os.close(here)


def put_giant(path: Path) -> None:
    """A file of 600 MiB, which takes no space: read, it would take as much memory."""
    with path.open("wb") as file:
        file.truncate(600 << 20)


UNFIT = [put_pipe, put_link, put_open_link, put_device_link, put_socket, put_giant]


@pytest.fixture
def written(tmp_path: Path, disk_of: Callable[..., Any]) -> tuple[ChunkStore, IndexRef]:
    """A store of files with one disk of two chunks."""
    store = ChunkStore.open(f"file://{tmp_path}", project="acme", key=bytes(32), chunk_bytes=CHUNK)
    content = b"\1" * CHUNK + b"\2" * CHUNK
    return store, store.write_disk(disk_of(content), "disk").ref


@pytest.fixture
def in_time(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Calls a function, which must return or raise within the limit; a pipe that holds it is opened then."""
    with ThreadPoolExecutor(1) as pool:

        def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return pool.submit(function, *args, **kwargs).result(timeout=SECONDS)

        yield call
        for path in tmp_path.rglob("*"):
            if path.is_fifo():
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def replace(path: Path, put: Put) -> None:
    """Puts something else in the place of a file."""
    if put is not put_link:
        path.unlink()
    put(path)


@pytest.mark.parametrize("put", UNFIT)
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_a_chunk_that_is_none_is_corrupt(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put
) -> None:
    """In the place of a chunk it is found by both checks, and refused by a reader."""
    store, ref = written
    index = store.read_index(ref)
    replace(next((tmp_path / "acme/chunks").glob("*/*")), put)
    for deep in (False, True):
        assert len(in_time(store.verify_disk, ref, deep=deep)) == 1
    reader = store.reader(index)
    with pytest.raises(ChunkCorrupt):
        in_time(lambda: [reader.pread(offset, CHUNK) for offset in (0, CHUNK)])


@pytest.mark.parametrize("put", UNFIT)
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_a_chunk_that_is_none_is_written_anew(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put, disk_of: Callable[..., Any]
) -> None:
    """A write that needs the chunk puts it in the place of what is there."""
    store, ref = written
    replace(next((tmp_path / "acme/chunks").glob("*/*")), put)
    in_time(store.write_disk, disk_of(b"\1" * CHUNK + b"\2" * CHUNK), "next")
    assert in_time(store.verify_disk, ref, deep=True) == []


@pytest.mark.parametrize("put", UNFIT)
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_an_index_that_is_none_is_corrupt(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put
) -> None:
    """In the place of an index it is refused; a collection retains everything."""
    store, ref = written
    replace(tmp_path / "acme/indexes/disk", put)
    with pytest.raises(IndexCorrupt):
        in_time(store.read_index, ref)
    with pytest.raises(IndexCorrupt):
        in_time(store.collect, [ref])
    assert store.usage().chunks == 2


@pytest.mark.parametrize("put", UNFIT)
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_an_index_that_is_none_is_written_anew(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put, disk_of: Callable[..., Any]
) -> None:
    """A repeat of the write puts the index in the place of what is there."""
    store, ref = written
    replace(tmp_path / "acme/indexes/disk", put)
    assert in_time(store.write_disk, disk_of(b"\1" * CHUNK + b"\2" * CHUNK), "disk").ref == ref
    assert store.read_index(ref).size_bytes == 2 * CHUNK


@pytest.mark.parametrize("put", [put for put in UNFIT if put is not put_link])
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_a_checkpoint_that_is_none_is_ignored(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put, disk_of: Callable[..., Any]
) -> None:
    """In the place of a checkpoint it does not stop the write."""
    store, _ = written
    (tmp_path / "acme/checkpoints").mkdir(exist_ok=True)
    put(tmp_path / "acme/checkpoints/next")
    ref = in_time(store.write_disk, disk_of(b"\3" * CHUNK), "next").ref
    assert store.verify_disk(ref, deep=True) == []


@pytest.mark.parametrize("put", UNFIT)
@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_settings_that_are_none_are_refused(
    written: Any, tmp_path: Path, in_time: Callable[..., Any], put: Put
) -> None:
    """In the place of the settings it makes the store unreadable, and nothing is written over it."""
    replace(tmp_path / "recast-chunkstore.json", put)
    with pytest.raises(StoreVersionUnknown):
        in_time(ChunkStore.open, f"file://{tmp_path}", project="acme", key=bytes(32))


def test_a_folder_has_no_object_s_name(tmp_path: Path) -> None:
    """A folder is no object: reading its name finds nothing."""
    objects = LocalObjects(tmp_path)
    objects.put_new("a/b", b"x")
    assert (objects.get("a"), objects.read_back("a"), objects.size("a")) == (None, None, None)
    assert (objects.get("a/b/c"), objects.size("a/b/c")) == (None, None)


@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_a_giant_takes_no_memory(tmp_path: Path) -> None:
    """The size is read before the bytes: a file far larger than any memory is refused at once."""
    objects = LocalObjects(tmp_path)
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(ObjectUnfit, match="4398046511104 bytes"):
        objects.get("giant")


@pytest.mark.fault("FAULT-UNFIT-OBJECTS")
def test_an_unsealed_index_of_a_giant_disk_is_corrupt(written: Any, tmp_path: Path) -> None:
    """An index that claims a disk beyond all limits is decoded no further."""
    store, ref = written
    path = tmp_path / "acme/indexes/other"
    stored = bytearray((tmp_path / "acme/indexes/disk").read_bytes())
    stored[16:24] = (1 << 60).to_bytes(8, "little")
    path.write_bytes(stored)
    assert store.collect([ref]).unlisted == ("other",)
