"""All disks and bases of one ECS host."""

from collections.abc import Callable, Sequence
from pathlib import Path

from recast.diskimage.bases import Bases
from recast.diskimage.chain import read_chain
from recast.diskimage.disk_folder import DiskFolder
from recast.diskimage.durable import Step, no_step
from recast.diskimage.errors import DiskNotFound
from recast.diskimage.freezing import freeze_disks
from recast.diskimage.names import ACTIVE, checked_id
from recast.diskimage.new_disks import NewDisk, create_disks


def active_path(root: Path, disk_id: str) -> Path:
    """Return the path of a disk's active layer under a host's `root`, which need not be on this machine."""
    return root / "disks" / checked_id(disk_id) / ACTIVE


class DiskHost:
    """The data folder of one host, which may be moved as a whole. Any number of processes may share it."""

    def __init__(self, root: Path, step: Step = no_step) -> None:
        self._disks = root.absolute() / "disks"
        self._step = step
        self._bases = Bases(root.absolute() / "bases", step)
        for folder in (self._disks, self._bases.path):
            folder.mkdir(parents=True, exist_ok=True)

    def disk(self, disk_id: str) -> DiskFolder:
        """Return the disk with this id, which need not exist. Raises NameRefused."""
        return DiskFolder(self._disks / checked_id(disk_id), self._bases, self._step)

    def disk_ids(self) -> list[str]:
        """Return the ids of all disks, sorted."""
        return sorted(path.name for path in self._disks.iterdir() if not path.name.startswith("."))

    def create_disks(
        self, new_disks: Sequence[NewDisk], built_count: Callable[[int], None] = lambda _: None
    ) -> None:
        """Make many disks with one wait for the storage; existing ones are left as they are.

        Sizes are bytes. Durable on return. After a kill or failure each disk is whole or absent, and a
        repeat makes the rest. `built_count` is called with the number of disks built so far; none of
        them exists before the last. Raises SizeRefused, BaseNotFound.
        """
        create_disks(self._disks, self._bases, new_disks, self._step, built_count)

    def freeze_disks(self, disk_ids: Sequence[str], freeze_id: str) -> None:
        """Freeze several disks at one instant; see `freezing`."""
        freeze_disks([self._disks / checked_id(disk_id) for disk_id in disk_ids], freeze_id, self._step)

    def base_names(self) -> list[str]:
        """Return the names of all bases, sorted."""
        return self._bases.names()

    def has_base(self, name: str) -> bool:
        """Whether there is a complete base with this name."""
        return self._bases.file(name).exists()

    def base_bytes(self, name: str) -> int:
        """Return the bytes of storage that a base uses. Raises BaseNotFound."""
        return self._bases.allocated_bytes(name)

    def new_base(self, name: str, size_bytes: int, fill: Callable[[int], None]) -> None:
        """Make a base; `fill(fd)` writes the data that is not zero into a file of `size_bytes`.

        An existing base: nothing to do. Concurrent callers are safe: one fills, the others wait for it.
        Durable on return.
        """
        self._bases.new(name, size_bytes, fill)

    def delete_base(self, name: str) -> None:
        """Remove a base with its templates. No such base: nothing to do.

        Raises BaseInUse while disks stand on it, DiskBusy while it or a disk on it is being made, and
        DiskImageError when a disk's chain cannot be read: it might be the one that needs the base.
        """
        self._bases.delete(
            name, lambda: [disk_id for disk_id in self.disk_ids() if self._stands_on(disk_id, name)]
        )

    def _stands_on(self, disk_id: str, base: str) -> bool:
        try:
            return read_chain(self._disks / disk_id).base == base
        except DiskNotFound:
            return False  # deleted since the listing
