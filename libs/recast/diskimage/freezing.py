"""The freeze of several disks at one instant. FORMAT.md gives the order of the steps."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from recast.diskimage import qemu_img
from recast.diskimage.chain import Chain, read_chain
from recast.diskimage.durable import Step, durably_written, locked, sync_path
from recast.diskimage.errors import DiskFrozen, FreezeEnded
from recast.diskimage.locking import disk_locked
from recast.diskimage.names import ACTIVE, NEXT, checked_id, layer_name, mark_name
from recast.diskimage.problems import sweep
from recast.diskimage.writer_lock import writers_excluded


def freeze_disks(folders: Sequence[Path], freeze_id: str, step: Step) -> None:
    """R65: fix the content of all disks at one instant under `freeze_id`; they may then be written on.

    Writers are held off from before the first disk is switched until after the last: a writer that writes
    to one disk and then to another is never seen in the other order. A repeat does nothing, and after an
    attempt that was killed between two disks it freezes all of them at a new instant.

    Raises DiskBusy, DiskNotFound, DiskFrozen while another freeze of a disk awaits its thaw, FreezeEnded
    once this freeze was thawed.
    """
    checked_id(freeze_id)
    with ExitStack() as held:
        locks = [held.enter_context(disk_locked(folder, exclusive=True)) for folder in folders]
        chains = [read_chain(folder) for folder in folders]
        for chain in chains:
            held.enter_context(writers_excluded(chain.folder / ACTIVE, chain.folder.name))
        if all(chain.unmerged_freeze == freeze_id for chain in chains):
            for folder in folders:
                sync_path(folder)  # an earlier attempt may have been killed before its sync
            return
        for place, (chain, lock) in enumerate(zip(chains, locks, strict=True)):
            if chain.unmerged_freeze == freeze_id:
                _take_back(chain, lock, step)
                held.enter_context(writers_excluded(chain.folder / ACTIVE, chain.folder.name))
                chains[place] = read_chain(chain.folder)
            else:
                _check_unfrozen(chain, freeze_id)
        for chain, lock in zip(chains, locks, strict=True):
            _prepare(chain, freeze_id, lock, step)
        for folder in folders:
            (folder / NEXT).rename(folder / ACTIVE)
            step("freeze.switched")
        for folder in folders:
            sync_path(folder)


def _check_unfrozen(chain: Chain, freeze_id: str) -> None:
    if chain.unmerged_freeze is not None:
        raise DiskFrozen(chain.folder.name, chain.unmerged_freeze)
    if freeze_id in chain.freeze_ids:
        raise FreezeEnded(chain.folder.name, freeze_id)


def _prepare(chain: Chain, freeze_id: str, lock: int, step: Step) -> None:
    """Make the next active layer, durably: one rename is left."""
    sweep(chain)
    layer, overlay = chain.folder / layer_name(freeze_id), chain.folder / NEXT
    layer.hardlink_to(chain.folder / ACTIVE)
    step("freeze.linked")
    (chain.folder / mark_name(freeze_id)).touch()
    step("freeze.marked")
    with durably_written(overlay):
        qemu_img.create_overlay(overlay, chain.size_bytes, (layer.name, "qcow2"), keep_open=[lock])
    step("freeze.overlay_made")
    sync_path(layer)  # unflushed writes of the guest belong to the point in time
    sync_path(chain.folder)  # the names in the overlay's chain are durable before the overlay is the disk
    step("freeze.durable")


def _take_back(chain: Chain, lock: int, step: Step) -> None:
    """Undo the freeze of one disk: what was written since goes into the layer that it froze.

    No reader has the layer: the freeze of all disks has not been told as done.
    """
    layer, active = chain.folder / layer_name(chain.freeze_ids[0]), chain.folder / ACTIVE
    with locked(layer, exclusive=True), durably_written(layer):
        qemu_img.commit(active, into=layer, keep_open=[lock], is_locked=True)
    step("freeze.committed")
    layer.rename(active)
    sync_path(chain.folder)
    step("freeze.taken_back")
