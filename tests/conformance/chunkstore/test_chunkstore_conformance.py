"""The suites of every backend of the chunk store: a subclass gives `objects`."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recast.chunkstore import ChunkStore, DiskIndex, IndexMissing, Objects, ObjectUnfit, open_objects

CHUNK = 4096


class BytesDisk:
    """A DiskSource over bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size_bytes = len(content)

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield one extent: all of it."""
        yield 0, len(self.content)

    def pread(self, offset: int, length: int) -> bytes:
        """Read."""
        return self.content[offset : offset + length]


def distinct_chunks(count: int) -> bytes:
    """Return the bytes of chunks that are all different, and compress."""
    return b"".join(bytes([number + 1]) * CHUNK for number in range(count))


class ObjectsSuite:
    """The role `Objects`."""

    @pytest.fixture
    def objects(self) -> Objects:
        """Give an empty store; a backend overrides it."""
        raise NotImplementedError

    def test_what_was_put_is_read(self, objects: Objects) -> None:
        """An object's bytes, size and name come back as they were put."""
        assert objects.put_new("a/b/c", b"hello")
        assert bytes(objects.get("a/b/c") or b"") == b"hello"
        assert bytes(objects.read_back("a/b/c") or b"") == b"hello"
        assert objects.size("a/b/c") == 5
        assert list(objects.list("a")) == [("a/b/c", 5)]

    def test_missing_is_none(self, objects: Objects) -> None:
        """Reading or sizing an object that is not there gives None."""
        assert (objects.get("a/b"), objects.read_back("a/b"), objects.size("a/b")) == (None, None, None)

    def test_empty_object_is_not_missing(self, objects: Objects) -> None:
        """An object of no bytes is there."""
        objects.put_new("a/b", b"")
        assert (bytes(objects.get("a/b") or b"none"), objects.size("a/b")) == (b"none", 0)
        assert objects.get("a/b") is not None

    @pytest.mark.fault("FAULT-UNFIT-OBJECTS")
    def test_an_object_that_is_too_large_is_not_read(self, objects: Objects) -> None:
        """An object of more bytes than the caller allows is refused by its size; one of as many is read."""
        objects.put_new("a/b", bytes(1000))
        for read in (objects.get, objects.read_back):
            assert len(read("a/b", 1000) or b"") == 1000
            with pytest.raises(ObjectUnfit, match="1000 bytes, more than the 999"):
                read("a/b", 999)

    def test_name_is_taken_once(self, objects: Objects) -> None:
        """A second put_new of a name changes nothing, and returns that."""
        assert objects.put_new("a/b", b"first")
        assert not objects.put_new("a/b", b"second")
        assert bytes(objects.get("a/b") or b"") == b"first"

    def test_one_of_many_wins_a_name(self, objects: Objects) -> None:
        """Of put_news at once of one name, exactly one succeeds, and its bytes are there."""
        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(lambda n: objects.put_new("a/b", b"%d" % n), range(16)))
        assert won.count(True) == 1
        assert bytes(objects.get("a/b") or b"") == b"%d" % won.index(True)

    def test_replace_makes_and_replaces(self, objects: Objects) -> None:
        """Replace makes an object where there is none, and puts new bytes where there is one."""
        for data in (b"longer than the next", b"next"):
            objects.replace("a/b", data)
            assert bytes(objects.get("a/b") or b"") == data

    def test_memoryviews_are_put(self, objects: Objects) -> None:
        """Both puts take a memoryview as well as bytes."""
        objects.put_new("a/b", memoryview(b"xhello")[1:])
        objects.replace("a/c", memoryview(b"xhello")[1:])
        assert bytes(objects.get("a/b") or b"") == bytes(objects.get("a/c") or b"") == b"hello"

    def test_delete_passes_over_what_is_missing(self, objects: Objects) -> None:
        """Deleting several removes those that are there, wherever missing ones stand between them."""
        for name in ("a/1", "a/3"):
            objects.put_new(name, b"x")
        objects.delete(["a/0", "a/1", "a/2", "a/3"])
        objects.delete(["a/1"])
        objects.delete([])
        assert list(objects.list("a")) == []

    def test_list_is_by_folder(self, objects: Objects) -> None:
        """A listing holds everything below a folder, over all pages, and nothing beside it."""
        names = {f"a/{number % 3}/{number}" for number in range(20)}
        for name in [*names, "ab/1", "b/1"]:
            objects.put_new(name, b"x")
        assert {name for name, _ in objects.list("a")} == names
        assert {name for name, _ in objects.list("")} == names | {"ab/1", "b/1"}
        assert list(objects.list("nothing")) == []

    def test_barrier_and_sweep_do_no_harm(self, objects: Objects) -> None:
        """A barrier and a sweep of leftovers change no object."""
        objects.put_new("a/b", b"x")
        objects.barrier()
        assert objects.remove_leftovers("a") == 0
        assert objects.size("a/b") == 1


class ChunkStoreSuite:
    """The chunk store over a backend."""

    @pytest.fixture
    def objects(self) -> Objects:
        """Give an empty store; a backend overrides it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, objects: Objects) -> ChunkStore:
        """Open a store of 4 KiB chunks."""
        return ChunkStore.over(objects, project="acme", key=bytes(32), chunk_bytes=CHUNK)

    def restored(self, store: ChunkStore, index: DiskIndex, path: Path) -> bytes:
        """Restore into a file, and return its bytes."""
        with path.open("w+b") as file:
            file.truncate(index.size_bytes)
            store.restore_disk(index, file.fileno())
        return path.read_bytes()

    def test_restore_gives_the_disk(self, store: ChunkStore, tmp_path: Path) -> None:
        """A disk with holes, raw and compressed chunks and a short end comes back byte by byte."""
        content = distinct_chunks(3) + bytes(2 * CHUNK) + os.urandom(2 * CHUNK) + b"end"
        written = store.write_disk(BytesDisk(content), "disk")
        index = store.read_index(written.ref)
        assert self.restored(store, index, tmp_path / "restored") == content
        assert store.reader(index).pread(0, len(content)) == content
        assert (written.size_bytes, written.chunks_new) == (len(content), 6)
        assert written.data_bytes == index.data_bytes == len(content) - 2 * CHUNK

    def test_restored_holes_take_no_space(self, store: ChunkStore, tmp_path: Path) -> None:
        """A restore writes no zero chunks."""
        index = store.read_index(store.write_disk(BytesDisk(bytes(64 * CHUNK) + b"x" * CHUNK), "disk").ref)
        self.restored(store, index, tmp_path / "restored")
        assert (tmp_path / "restored").stat().st_blocks * 512 < 16 * CHUNK

    def test_incremental_stores_what_changed(self, store: ChunkStore, tmp_path: Path) -> None:
        """An incremental write puts the changed chunk alone, and restores to the new content."""
        old = distinct_chunks(6)
        new = old[:CHUNK] + b"\xee" * CHUNK + old[2 * CHUNK :]
        parent = store.read_index(store.write_disk(BytesDisk(old), "old").ref)
        written = store.write_disk(BytesDisk(new), "new", parent=parent, changed=[(CHUNK, CHUNK)])
        assert (written.chunks_new, written.chunks_reused, written.read_bytes) == (1, 5, CHUNK)
        assert self.restored(store, store.read_index(written.ref), tmp_path / "new") == new
        assert self.restored(store, parent, tmp_path / "old") == old

    def test_repeated_write_is_equal(self, store: ChunkStore) -> None:
        """The same write again gives the same ref and puts nothing."""
        first, again = (store.write_disk(BytesDisk(distinct_chunks(4)), "disk") for _ in range(2))
        assert again.ref == first.ref
        assert (again.chunks_new, again.stored_bytes) == (0, 0)

    def test_many_writers_at_once(self, store: ChunkStore) -> None:
        """Disks that share chunks are written at once, and each is whole."""

        def write(number: int) -> bool:
            ref = store.write_disk(BytesDisk(distinct_chunks(8 + number % 2)), f"disk-{number}").ref
            return store.verify_disk(ref, deep=True) == []

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write, range(8)))
        assert store.usage().chunks == 9

    def test_collect_removes_exactly_the_unlisted_chunks(self, store: ChunkStore) -> None:
        """After a disk is deleted, collect removes its own chunks, and none that another disk has."""
        live = store.write_disk(BytesDisk(distinct_chunks(3)), "live")
        store.write_disk(BytesDisk(distinct_chunks(8)), "deleted")
        store.delete_index("deleted")
        collected = store.collect([live.ref])
        assert (collected.chunks_deleted, collected.chunks_retained, collected.unlisted) == (5, 3, ())
        assert collected.bytes_deleted > 0
        assert store.verify_disk(live.ref, deep=True) == []
        assert (store.usage().chunks, store.usage().bytes) == (3, live.stored_bytes)
        assert store.collect([live.ref]).chunks_deleted == 0

    def test_collect_leaves_other_projects_alone(self, store: ChunkStore, objects: Objects) -> None:
        """A collection of everything in one project touches nothing of another."""
        other = ChunkStore.over(objects, project="acme-2", key=b"\1" * 32)
        ref = other.write_disk(BytesDisk(distinct_chunks(2)), "disk").ref
        store.collect([])
        assert other.verify_disk(ref, deep=True) == []

    def test_indexes_are_listed_until_deleted(self, store: ChunkStore) -> None:
        """Indexes are listed by id; deleting one twice is no error, and it is gone."""
        refs = [store.write_disk(BytesDisk(b"x"), index_id).ref for index_id in ("a", "b.1_c-d")]
        assert sorted(store.list_indexes()) == ["a", "b.1_c-d"]
        store.delete_index("a")
        store.delete_index("a")
        assert list(store.list_indexes()) == ["b.1_c-d"]
        with pytest.raises(IndexMissing):
            store.read_index(refs[0])

    def test_store_is_found_again(self, store: ChunkStore, objects: Objects) -> None:
        """A store opened again over the same objects reads the first one's disks, with its chunk size."""
        ref = store.write_disk(BytesDisk(distinct_chunks(2)), "disk").ref
        again = ChunkStore.over(objects, project="acme", key=bytes(32))
        assert (again.chunk_bytes, again.verify_disk(ref, deep=True)) == (CHUNK, [])

    def test_empty_disk(self, store: ChunkStore, tmp_path: Path) -> None:
        """A disk of no bytes is written, read and restored."""
        index = store.read_index(store.write_disk(BytesDisk(b""), "disk").ref)
        assert self.restored(store, index, tmp_path / "restored") == b""


class InMemory:
    @pytest.fixture
    def objects(self) -> Objects:
        """Hold objects in memory."""
        return open_objects("memory://")


class InFiles:
    @pytest.fixture
    def objects(self, tmp_path: Path) -> Iterator[Objects]:
        """Hold objects in files."""
        objects = open_objects(f"file://{tmp_path}/store")
        yield objects
        objects.close()


class InS3:
    @pytest.fixture
    def objects(self, s3_options: dict[str, str]) -> Objects:
        """Hold objects behind an S3 endpoint, below a prefix."""
        return open_objects("s3://bucket/some/prefix", s3_options)


class InS3WithoutConditions:
    """An S3 without If-None-Match: a name may be taken twice in a race, but the store is right."""

    @pytest.fixture
    def objects(self, s3_options: dict[str, str]) -> Objects:
        """Hold objects behind an S3 endpoint, in a whole bucket."""
        return open_objects("s3://bucket", {**s3_options, "conditional_put": "disabled"})


class TestMemoryObjects(InMemory, ObjectsSuite):
    pass


class TestMemoryChunkStore(InMemory, ChunkStoreSuite):
    pass


class TestFileObjects(InFiles, ObjectsSuite):
    pass


class TestFileChunkStore(InFiles, ChunkStoreSuite):
    pass


class TestS3Objects(InS3, ObjectsSuite):
    pass


class TestS3ChunkStore(InS3, ChunkStoreSuite):
    pass


class TestS3WithoutConditionsChunkStore(InS3WithoutConditions, ChunkStoreSuite):
    pass


class TestS3ByEnvironmentObjects(ObjectsSuite):
    """The same endpoint, configured by the environment alone: plain HTTP, and credentials in a file."""

    @pytest.fixture
    def objects(self, s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
        """A store as a service opens it, without options."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        credentials = tmp_path / "credentials"
        credentials.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        monkeypatch.setenv("AWS_ENDPOINT", s3_options["endpoint"])
        monkeypatch.setenv("AWS_REGION", s3_options["region"])
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        return open_objects("s3://bucket/some/prefix")
