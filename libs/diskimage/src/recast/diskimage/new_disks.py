"""Making disks: one, or many with one wait for the storage."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recast.diskimage.bases import Bases
from recast.diskimage.durable import Step, sync_filesystem, sync_path
from recast.diskimage.names import ACTIVE, checked_id

# Up to here a few fsyncs are cheaper than flushing whatever else is dirty on the file system.
_MOST_SYNCED_SINGLY = 4


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A disk to make: an empty overlay of `size_bytes` on a base, or on nothing."""

    disk_id: str
    size_bytes: int
    base: str | None = None


def new_folder(disks: Path, disk_id: str) -> Path:
    """Return where a disk is built before it takes its name: as deep, so that its backing name fits."""
    return disks / f".new-{checked_id(disk_id)}"


def create_disks(disks: Path, bases: Bases, new_disks: Sequence[NewDisk], step: Step) -> None:
    """Make those of the disks that do not exist; all are durable on return. See `DiskHost.create_disks`."""
    missing = [new for new in new_disks if not (disks / checked_id(new.disk_id)).exists()]
    with ExitStack() as holds:
        for base in {new.base for new in missing}:
            holds.enter_context(bases.held(base))
        try:
            for new in missing:
                folder = new_folder(disks, new.disk_id)
                remove_folder(folder)  # a killed attempt's
                folder.mkdir()
                bases.write_overlay(folder / ACTIVE, new.size_bytes, new.base)
        except BaseException:
            for new in missing:
                remove_folder(new_folder(disks, new.disk_id))  # what was refused leaves nothing behind
            raise
        step("create.built")
        _sync_content(disks, [new_folder(disks, new.disk_id) for new in missing])
        step("create.durable")
        for new in missing:
            new_folder(disks, new.disk_id).rename(disks / new.disk_id)
            step("create.named")
        # The names themselves; also of disks found, whose making may have been killed before this.
        sync_path(disks)


def remove_folder(path: Path) -> None:
    """Remove a folder with all it holds, if it is there."""
    if path.exists():
        shutil.rmtree(path)


def _sync_content(disks: Path, folders: Sequence[Path]) -> None:
    """Make the disks' files durable before their folders take their names."""
    if len(folders) > _MOST_SYNCED_SINGLY:
        sync_filesystem(disks)
        return
    for folder in folders:
        sync_path(folder / ACTIVE)
        sync_path(folder)
