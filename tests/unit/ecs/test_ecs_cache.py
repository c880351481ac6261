"""The cache of bases: eviction, and the bases that must not be evicted."""

import os
from collections.abc import Iterator
from pathlib import Path

from ecs.domain.batch import base_name
from ecs.storage.host import Host
from recast.chunkstore import ChunkStore
from recast.content.v1 import content_pb2
from recast.contentstore import PeerStores
from recast.diskimage import NewDisk

KEY = bytes(32)
SIZE = 1 << 20


class Noise:
    """A disk of random bytes."""

    size_bytes = SIZE

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        yield 0, SIZE

    def pread(self, offset: int, length: int) -> bytes:
        """Other bytes each time."""
        return os.urandom(length)


def test_the_bases_of_one_work_do_not_evict_each_other(tmp_path: Path) -> None:
    """In a cache too small for any base a disk can still be made on each of the two bases of one work; the
    next work's base evicts them.
    """
    location = content_pb2.ContentStore(url=(tmp_path / "store").as_uri(), project="demo", key=KEY)
    with ChunkStore.open(location.url, project="demo", key=KEY) as store:
        refs = [store.write_disk(Noise(), f"disk-{number}").ref for number in range(3)]
    contents = [
        content_pb2.DiskContent(
            id=ref.id, size_bytes=SIZE, index=content_pb2.IndexRef(id=ref.id, digest=ref.digest)
        )
        for ref in refs
    ]
    names = [base_name(ref.digest) for ref in refs]
    host = Host("local", tmp_path / "host", PeerStores(location.url), cache_max_bytes=1)

    def bring(number: int, keep: list[str]) -> None:
        host.ensure_base(location, contents[number], lambda _done, _total: None, keep)

    def bases() -> set[str]:
        return {path.stem for path in (tmp_path / "host/bases").glob("*.raw")}

    bring(0, names[:2])
    bring(1, names[:2])
    assert bases() == set(names[:2])
    host.create([NewDisk("first", SIZE, names[0])])
    bring(2, names[2:])
    assert bases() == {names[0], names[2]}
