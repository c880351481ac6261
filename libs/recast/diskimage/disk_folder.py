"""One disk: its layers, its freeze, its deletion. FORMAT.md gives the order of the steps."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from recast.diskimage import qemu_img
from recast.diskimage.bases import Bases
from recast.diskimage.chain import Chain, read_chain
from recast.diskimage.durable import Step, durably_written, locked, sync_path
from recast.diskimage.errors import (
    DiskFrozen,
    DiskImageError,
    DiskNotFound,
    FreezeNotFound,
    SizeRefused,
)
from recast.diskimage.freezing import freeze_disks
from recast.diskimage.locking import disk_locked
from recast.diskimage.names import ACTIVE, NEXT, checked_id, checked_size, layer_name, mark_name
from recast.diskimage.new_disks import NewDisk, create_disks, new_folder, remove_folder
from recast.diskimage.problems import problems, sweep
from recast.diskimage.reader import DiskReader, joined, open_chain
from recast.diskimage.writer_lock import writers_excluded


class DiskFolder:
    """The files of one disk, which need not exist. Sizes are bytes.

    Each method that changes the disk raises DiskBusy, retryable, while another action or a hypervisor holds
    it, and DiskNotFound when there is none. A killed call may be repeated.
    """

    def __init__(self, path: Path, bases: Bases, step: Step) -> None:
        self.disk_id = checked_id(path.name)
        self.path = path
        self.active_path = path / ACTIVE
        self._bases = bases
        self._step = step

    def exists(self) -> bool:
        """Whether there is a disk."""
        return self.active_path.exists()

    def size_bytes(self) -> int:
        """Return the disk's virtual size."""
        return read_chain(self.path).size_bytes

    def base(self) -> str | None:
        """Return the base that the disk stands on, None when it has none."""
        return read_chain(self.path).base

    def unmerged_freeze(self) -> str | None:
        """Return the freeze that awaits its thaw, if any."""
        return read_chain(self.path).unmerged_freeze

    def allocated_bytes(self) -> int:
        """Return the bytes of storage that the disk's own files use, without its base; 0 for no disk."""
        total = 0
        with suppress(FileNotFoundError):  # the disk was removed after the check
            for path in self.path.iterdir() if self.exists() else ():
                with suppress(FileNotFoundError):  # a thaw removed it meanwhile
                    total += path.stat().st_blocks * 512
        return total

    def create(self, size_bytes: int, base: str | None) -> None:
        """Make an empty overlay on `base`, or on nothing. An existing disk is left as it is.

        Raises SizeRefused, BaseNotFound. Many at once: `DiskHost.create_disks`.
        """
        create_disks(self.path.parent, self._bases, [NewDisk(self.disk_id, size_bytes, base)], self._step)

    def freeze(self, freeze_id: str) -> None:
        """Fix the disk's content at this instant under `freeze_id`; the disk may then be written on.

        A repeat does nothing. Raises DiskFrozen while another freeze awaits its thaw, FreezeEnded once this
        freeze was thawed.
        """
        freeze_disks([self.path], freeze_id, self._step)

    def thaw(self, freeze_id: str) -> None:
        """Merge a freeze into the private layer beneath it. Does nothing for an unknown or thawed one."""
        checked_id(freeze_id)
        with disk_locked(self.path, exclusive=True) as lock:
            chain = read_chain(self.path)
            if chain.unmerged_freeze == freeze_id:
                self._merge(chain, lock)
            sweep(read_chain(self.path))
            sync_path(self.path)  # always: an earlier attempt may have been killed before its sync

    def _merge(self, chain: Chain, lock: int) -> None:
        frozen_id, *beneath = chain.freeze_ids
        frozen = self.path / layer_name(frozen_id)
        # From the chain, which has only layers of this folder here: a base is never written.
        private = self.path / layer_name(beneath[0]) if beneath else None
        if private is not None:
            with locked(private, exclusive=True) as fd:  # readers hold it shared: their bytes must not change
                # Writes of an attempt whose sync failed may be in the cache only.
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                with durably_written(private):  # before the mark goes: the frozen layer may then be lost
                    qemu_img.commit(frozen, into=private, keep_open=[lock])
            self._step("thaw.committed")
        (self.path / mark_name(frozen_id)).unlink(missing_ok=True)
        sync_path(self.path)  # before the rename: a merged layer must never have a mark
        self._step("thaw.unmarked")
        if private is not None:
            private.rename(frozen)
            self._step("thaw.renamed")

    def resize(self, size_bytes: int) -> None:
        """Grow the disk; the new space is zeros. A smaller size: SizeRefused. The same: nothing to do."""
        checked_size(size_bytes)
        with disk_locked(self.path, exclusive=True) as lock:
            current = read_chain(self.path).size_bytes
            if size_bytes < current:
                raise SizeRefused(f"disk {self.disk_id} of {current} bytes cannot shrink to {size_bytes}")
            if size_bytes > current:
                with durably_written(self.active_path):  # before the caller records the size
                    qemu_img.resize(self.active_path, size_bytes, keep_open=[lock])
                self._step("resize.grown")
            sync_path(self.active_path)  # always: an earlier attempt may have been killed before its sync

    def replace(self, size_bytes: int, base: str | None) -> None:
        """Start the disk over as an empty overlay on `base`: all writes are lost.

        At every instant the disk is whole, old or new. Raises DiskFrozen while a freeze awaits its thaw.
        """
        with disk_locked(self.path, exclusive=True), self._bases.held(base), self._writers_excluded():
            frozen_by = self._unmerged_freeze_if_readable()
            if frozen_by is not None:
                raise DiskFrozen(self.disk_id, frozen_by)
            overlay = self.path / NEXT
            overlay.unlink(missing_ok=True)  # of a killed attempt
            self._bases.write_overlay(overlay, size_bytes, base)
            self._step("replace.built")
            self._switch_to(overlay)
            sweep(read_chain(self.path))
            self._step("replace.swept")

    def delete(self) -> None:
        """Remove the disk, and leftovers of killed attempts to make or remove it. No disk: nothing to do."""
        gone = self.path.parent / f".gone-{self.disk_id}"
        with suppress(DiskNotFound), disk_locked(self.path, exclusive=True), self._writers_excluded():
            remove_folder(gone)  # of an earlier disk with this id
            # One rename, so that a disk's folder is always whole.
            self.path.rename(gone)
            self._step("delete.renamed")
        # Before the files are removed: after a power failure the disk is whole, or absent.
        sync_path(self.path.parent)
        remove_folder(gone)
        remove_folder(new_folder(self.path.parent, self.disk_id))
        # The caller deletes its row next: files that reappeared later would never be removed.
        sync_path(self.path.parent)
        self._step("delete.removed")

    def reader(self) -> DiskReader:
        """Open the present content of a disk that no server writes until the reader is closed."""
        with disk_locked(self.path, exclusive=False):
            return _open(read_chain(self.path).files())

    def frozen_reader(self, freeze_id: str, watch: qemu_img.Watch | None = None) -> DiskReader:
        """Open the whole content of a freeze; no merge changes it while open. Raises FreezeNotFound.

        `watch` is called periodically while its extents are read, and may raise.
        """
        with disk_locked(self.path, exclusive=False):
            return _open(self._frozen_chain(freeze_id).files()[1:], watch)

    def changed_extents(self, freeze_id: str, watch: qemu_img.Watch | None = None) -> list[tuple[int, int]]:
        """Return (offset, length) of each range written, zeroed or discarded since the previous freeze.

        In bytes, ascending, in whole clusters of 64 KiB. For a disk's first freeze: since its creation.
        Raises FreezeNotFound. `watch` is called periodically, and may raise.
        """
        with disk_locked(self.path, exclusive=False):
            path, image_format = self._frozen_chain(freeze_id).files()[1]
            entries = qemu_img.map_image(path, image_format, watch=watch)
            return list(joined((e.start, e.length) for e in entries if e.depth == 0 and e.is_present))

    def check(self) -> list[str]:
        """Return the disk's problems, one sentence each, for people; empty when there are none."""
        try:
            with disk_locked(self.path, exclusive=False):
                return [
                    f"disk {self.disk_id}: {problem}"
                    for problem in problems(read_chain(self.path), self._bases)
                ]
        except DiskImageError as error:
            return [str(error)]

    def _switch_to(self, overlay: Path) -> None:
        """Make a finished overlay the active layer."""
        sync_path(overlay)
        sync_path(self.path)  # the names in the overlay's chain are durable before the overlay is the disk
        self._step("replace.durable")
        overlay.rename(self.active_path)
        sync_path(self.path)
        self._step("replace.switched")

    def _writers_excluded(self) -> AbstractContextManager[None]:
        """Exclude hypervisors: one would go on writing to the file that it has open."""
        if not self.active_path.exists():  # damaged: no hypervisor has it open, and replace repairs it
            return nullcontext()
        return writers_excluded(self.active_path, self.disk_id)

    def _unmerged_freeze_if_readable(self) -> str | None:
        try:
            return read_chain(self.path).unmerged_freeze
        except DiskNotFound:
            raise
        except DiskImageError:
            return None  # a freeze of a broken chain is unreadable: there is nothing to protect

    def _frozen_chain(self, freeze_id: str) -> Chain:
        chain = read_chain(self.path)
        if chain.unmerged_freeze != checked_id(freeze_id):
            raise FreezeNotFound(self.disk_id, freeze_id)
        return chain


def _open(
    files: Sequence[tuple[Path, qemu_img.ImageFormat]], watch: qemu_img.Watch | None = None
) -> DiskReader:
    reader = open_chain(files, watch)
    if reader is None:
        raise DiskImageError(f"{files[0][0]} holds compressed clusters, which no disk of ours does")
    return reader
