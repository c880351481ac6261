"""The disks of this host, and the cache of the bases that they stand on.

Turns what may go wrong there into refusals.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ecs.domain.batch import base_name
from ecs.domain.refusals import ContentDamaged, DiskIoFailed
from recast.chunkstore import IndexRef, Progress
from recast.content.v1 import content_pb2
from recast.contentstore import open_content, store_refusals
from recast.diskimage import (
    BaseInUse,
    BaseNotFound,
    DiskBusy,
    DiskFolder,
    DiskFrozen,
    DiskHost,
    DiskImageError,
    NewDisk,
)
from recast.faultpoints import reach
from recast.faults import Unavailable


@contextmanager
def disk_faults(content: str = "") -> Iterator[None]:
    """What a disk's files or a chunk store fail with, as refusals.

    What may pass is UNAVAILABLE, so it is tried again.
    """
    try:
        with store_refusals(lambda damage: ContentDamaged(content=content, problem=damage)):
            yield
    except DiskBusy as busy:
        raise Unavailable(problem=f"the disk is busy: {busy}") from busy
    except BaseNotFound as evicted:  # between being brought and being built on; it is brought again
        raise Unavailable(problem=f"the cache had to make room: {evicted}") from evicted
    except (DiskImageError, OSError) as problem:
        raise DiskIoFailed(problem=problem) from problem


class Host:
    """This host's disks.

    `cache_max_bytes` is what bases that no disk stands on may make the cache grow to.
    """

    def __init__(self, name: str, folder: Path, cache_max_bytes: int) -> None:
        self.name = name
        self._disks = DiskHost(folder, step=reach)
        self._cache_max_bytes = cache_max_bytes

    def disk(self, folder: str) -> DiskFolder:
        """One disk by its folder."""
        return self._disks.disk(folder)

    def freeze(self, folder: str, freeze_id: str) -> None:
        """Fixes a disk's content at this instant; a freeze that could not be merged is merged first."""
        disk = self._disks.disk(folder)
        try:
            disk.freeze(freeze_id)
        except DiskFrozen as left:  # nobody waits for that one any more, or this one would have been refused
            disk.thaw(left.freeze_id)
            disk.freeze(freeze_id)

    def replace(self, folder: str, size_bytes: int, base: str) -> None:
        """Starts a disk over on a base; a freeze that could not be merged goes with what it froze."""
        disk = self._disks.disk(folder)
        try:
            disk.replace(size_bytes, base)
        except DiskFrozen as left:
            disk.thaw(left.freeze_id)
            disk.replace(size_bytes, base)

    def create(self, disks: Sequence[NewDisk]) -> None:
        """Makes disks; those that are there stay. Durable when it returns."""
        self._disks.create_disks(disks)

    def delete(self, folder: str) -> None:
        """Removes a disk, if it is there."""
        self._disks.disk(folder).delete()

    def check(self, folder: str) -> None:
        """Refuses a disk whose files are not there; reads the headers of its layers."""
        self._disks.disk(folder).size_bytes()

    def allocated_bytes(self, folder: str) -> int:
        """What a disk's own files take; 0 when there are none."""
        with disk_faults():
            return self._disks.disk(folder).allocated_bytes()

    def ensure_base(
        self,
        location: content_pb2.ContentStore,
        disk: content_pb2.DiskContent,
        progress: Progress,
        keep: Container[str],
    ) -> str:
        """Brings a content into the cache, if it is not there; gives its base's name.

        Every chunk is verified on the way. What has to make room for it is none of `keep`: the bases that the
        same work wants, which would bring them again and again.
        """
        name = base_name(disk.index.digest)
        if not self._disks.has_base(name):
            with open_content(location) as store:
                index = store.read_index(IndexRef(disk.index.id, disk.index.digest))
                self._make_room(index.data_bytes, keep)
                self._disks.new_base(
                    name, index.size_bytes, lambda fd: store.restore_disk(index, fd, progress=progress)
                )
        progress(disk.size_bytes, disk.size_bytes)
        return name

    def _make_room(self, wanted_bytes: int, keep: Container[str]) -> None:
        """Removes bases that no disk stands on, in no order of merit, until the wanted one fits or none is
        left.
        """
        names = self._disks.base_names()
        used = sum(self._disks.base_bytes(name) for name in names)
        for name in names:
            if used + wanted_bytes <= self._cache_max_bytes:
                return
            if name in keep:
                continue
            size = self._disks.base_bytes(name)
            try:
                self._disks.delete_base(name)
            except (BaseInUse, DiskBusy):
                continue
            used -= size
