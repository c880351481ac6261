"""Making disks: one, or many with one wait for the storage."""

import errno
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from recast.diskimage.bases import Bases
from recast.diskimage.durable import Step, sync_filesystem, sync_path
from recast.diskimage.errors import DiskBusy, DiskImageError
from recast.diskimage.names import ACTIVE, checked_id

# Up to this number fsyncs are cheaper than flushing all dirty pages of the file system.
_MOST_SYNCED_SINGLY = 4


@dataclass(frozen=True, slots=True)
class NewDisk:
    """A disk to make: an empty overlay of `size_bytes` on a base, or on nothing."""

    disk_id: str
    size_bytes: int
    base: str | None = None


def new_folder(disks: Path, disk_id: str) -> Path:
    """Return the folder of all attempts to make a disk."""
    return disks / f".new-{checked_id(disk_id)}"


def create_disks(
    disks: Path,
    bases: Bases,
    new_disks: Sequence[NewDisk],
    step: Step,
    built_count: Callable[[int], None] = lambda _: None,
) -> None:
    """Make those of the disks that do not exist; all are durable on return. See `DiskHost.create_disks`.

    Another worker may make the same disks: one that lost its lease while suspended continues when it resumes.
    So each attempt has its own folder, and the first rename makes the disk.
    """
    attempt = secrets.token_hex(8)
    built = {
        new: new_folder(disks, new.disk_id) / attempt
        for new in new_disks
        if not (disks / checked_id(new.disk_id)).exists()
    }
    mine: list[Path] = []
    with ExitStack() as holds:
        for base in {new.base for new in built}:
            holds.enter_context(bases.held(base))
        try:
            for new, folder in built.items():
                _begin(folder)
                mine.append(folder)
                bases.write_overlay(folder / ACTIVE, new.size_bytes, new.base)
                built_count(len(mine))
            step("create.built")
            _sync_content(disks, list(built.values()))
            step("create.durable")
            for new, folder in built.items():
                _name(folder, disks / new.disk_id)
                mine.remove(folder)
                step("create.named")
        except BaseException as problem:
            overtaken = [folder for folder in mine if not folder.exists()]
            for folder in built.values():
                remove_folder(folder)  # a failed call leaves nothing behind
                with suppress(OSError):
                    folder.parent.rmdir()
            if overtaken and disks.exists() and isinstance(problem, OSError | DiskImageError):
                raise DiskBusy(f"{overtaken[0].parent} was made or deleted by another action") from problem
            raise
        for new in new_disks:  # of killed and overtaken attempts
            remove_folder(new_folder(disks, new.disk_id))
        # The names; also of existing disks, whose maker may have been killed before the sync.
        sync_path(disks)


def _begin(folder: Path) -> None:
    while not folder.exists():
        with suppress(FileExistsError):
            folder.parent.mkdir()
        with suppress(FileNotFoundError):  # another attempt made the disk, and removed this folder
            folder.mkdir()


def _name(folder: Path, disk: Path) -> None:
    try:
        folder.rename(disk)
    except OSError as problem:
        if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        remove_folder(folder)  # another attempt made the same disk first


def remove_folder(path: Path) -> None:
    """Remove a folder with its content, if it exists; safe beside another removal."""
    while path.exists():
        try:
            shutil.rmtree(path)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def _sync_content(disks: Path, folders: Sequence[Path]) -> None:
    """Make the disks' files durable before their folders take their names."""
    if len(folders) > _MOST_SYNCED_SINGLY:
        sync_filesystem(disks)
        return
    for folder in folders:
        sync_path(folder / ACTIVE)
        sync_path(folder)
