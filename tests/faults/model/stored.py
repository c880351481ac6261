"""The bytes of a backup's disks, from the chunk store itself: what a restore or a new server would get."""

from collections.abc import Iterator

from blake3 import blake3

from csbs.storage import backups
from recast.chunkstore import ChunkStore, IndexRef, project_key
from recast.content.v1 import content_pb2
from tests.harness.cloud import Cloud


def stored_digests(cloud: Cloud, project: str, backup: str) -> Iterator[tuple[str, str]]:
    """The id of each disk of a backup, and the digest of all its bytes."""
    with cloud.databases["csbs"].read() as session:
        content = content_pb2.Content.FromString(backups.load(session, backup).content or b"")
    key = project_key((cloud.root / "keys/csbs-store.key").read_bytes(), project)
    with ChunkStore.open((cloud.root / "csbs-store").as_uri(), project=project, key=key) as store:
        for disk in content.disks:
            reader = store.reader(store.read_index(IndexRef(disk.index.id, disk.index.digest)))
            yield disk.id, str(blake3(reader.pread(0, disk.size_bytes)).hexdigest())
