"""The disks of this host, and the cache of their bases. Errors of both are turned into refusals."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import structlog

from ecs.domain.batch import base_name
from ecs.domain.refusals import ContentDamaged, DiskIoFailed
from recast.chunkstore import IndexRef, Progress
from recast.content.v1 import content_pb2
from recast.contentstore import PeerStores, store_refusals
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
from recast.faults import Unavailable, text_without_paths

log = structlog.get_logger()

_NO_NAMES: Mapping[str, str] = MappingProxyType({})


@contextmanager
def disk_faults(content: str = "", names: Mapping[str, str] = _NO_NAMES) -> Iterator[None]:
    """Turns errors of a disk's files, or of a chunk store, into refusals.

    Temporary ones are UNAVAILABLE, so that the work is retried. `content`: the disk or image, for the texts;
    `names`: the disk of each folder, where there are several.
    """
    try:
        with store_refusals(lambda damage: ContentDamaged(content=content, problem=damage)):
            yield
    except DiskBusy as busy:
        disk = names.get(busy.disk_id) or content or "the disk"
        raise Unavailable(problem=f"{disk} is busy: another action or a hypervisor has it open") from busy
    except BaseNotFound as evicted:  # evicted before the disk was built on it; a retry brings it again
        raise Unavailable(problem=f"a base was evicted from the cache: {evicted}") from evicted
    except (DiskImageError, OSError) as problem:
        log.error("the storage failed", problem=str(problem))  # callers get no paths
        raise DiskIoFailed(problem=text_without_paths(problem)) from problem


class Host:
    """This host's disks.

    `stores` are those that it reads and writes. `cache_max_bytes` is the size of the cache above which unused
    bases are removed.
    """

    def __init__(self, name: str, folder: Path, stores: PeerStores, cache_max_bytes: int) -> None:
        self.name = name
        self.stores = stores
        self._disks = DiskHost(folder, step=reach)
        self._cache_max_bytes = cache_max_bytes

    def disk(self, folder: str) -> DiskFolder:
        """One disk by its folder."""
        return self._disks.disk(folder)

    def freeze(self, folders: Sequence[str], freeze_id: str) -> None:
        """Fixes the content of all disks at one instant; layers left by earlier thaws are merged first."""
        while True:
            try:
                self._disks.freeze_disks(folders, freeze_id)
            except DiskFrozen as left:  # that freeze has ended, or this one would have been refused
                self._disks.disk(left.disk_id).thaw(left.freeze_id)
            else:
                return

    def replace(self, folder: str, size_bytes: int, base: str) -> None:
        """Replaces a disk's content by a base; layers left by an earlier thaw are merged first."""
        disk = self._disks.disk(folder)
        try:
            disk.replace(size_bytes, base)
        except DiskFrozen as left:
            disk.thaw(left.freeze_id)
            disk.replace(size_bytes, base)

    def create(self, disks: Sequence[NewDisk], built_count: Callable[[int], None] = lambda _: None) -> None:
        """Makes the disks that do not exist. Durable when it returns. See `DiskHost.create_disks`."""
        self._disks.create_disks(disks, built_count)

    def delete(self, folder: str) -> None:
        """Removes a disk, if it is there."""
        self._disks.disk(folder).delete()

    def check(self, folder: str) -> None:
        """Refuses a disk whose files are not there; reads the headers of its layers."""
        self._disks.disk(folder).size_bytes()

    def allocated_bytes(self, folder: str) -> int:
        """The bytes that a disk's own files take; 0 when there are none."""
        with disk_faults():
            return self._disks.disk(folder).allocated_bytes()

    def ensure_base(
        self,
        location: content_pb2.ContentStore,
        disk: content_pb2.DiskContent,
        progress: Progress,
        keep: Container[str],
    ) -> str:
        """Brings a content into the cache, if it is not there; gives the name of its base.

        Every chunk is verified. The bases in `keep`, which the same work needs, are not evicted: otherwise
        they would evict each other, and the work would never end.
        """
        name = base_name(disk.index.digest)
        if not self._disks.has_base(name):
            with self.stores.open(location) as store:
                index = store.read_index(IndexRef(disk.index.id, disk.index.digest, disk.size_bytes))
                self._make_room(index.data_bytes, keep)
                self._disks.new_base(
                    name, index.size_bytes, lambda fd: store.restore_disk(index, fd, progress=progress)
                )
        progress(disk.size_bytes, disk.size_bytes)
        return name

    def _make_room(self, wanted_bytes: int, keep: Container[str]) -> None:
        """Removes unused bases, in any order, until the wanted one fits or none is left."""
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
