"""The raw files that many disks share, and the templates of overlays on them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recast.diskimage import qemu_img
from recast.diskimage.durable import Step, building_path, durably_written, locked, make_once, sync_path
from recast.diskimage.errors import BaseInUse, BaseNotFound, SizeRefused
from recast.diskimage.names import (
    backing_of_base,
    base_from_file,
    base_from_template,
    checked_id,
    checked_size,
)


class Bases:
    """The folder `bases/` of a host. Its files are written once, then only read."""

    def __init__(self, path: Path, step: Step) -> None:
        self.path = path
        self._step = step

    def file(self, name: str) -> Path:
        """Return the path of a base, which may not exist."""
        return self.path / f"{checked_id(name)}.raw"

    def names(self) -> list[str]:
        """Return the names of all bases, sorted."""
        found = (base_from_file(path) for path in self.path.iterdir())
        return sorted(name for name in found if name is not None)

    def allocated_bytes(self, name: str) -> int:
        """Return the bytes of storage that a base uses. Raises BaseNotFound."""
        try:
            return self.file(name).stat().st_blocks * 512
        except FileNotFoundError:
            raise BaseNotFound(name) from None

    def new(self, name: str, size_bytes: int, fill: Callable[[int], None]) -> None:
        """Make a base of `size_bytes`; `fill(fd)` writes the data that is not zero. An existing one stays."""
        checked_size(size_bytes)

        def fill_base(_path: Path, fd: int) -> None:
            os.ftruncate(fd, size_bytes)
            fill(fd)
            if os.fstat(fd).st_size != size_bytes:
                raise SizeRefused(f"filling base {name} of {size_bytes} bytes left {os.fstat(fd).st_size}")

        make_once(self.file(name), fill_base, "new_base", self._step)

    def delete(self, name: str, users: Callable[[], list[str]]) -> None:
        """Remove a base, its templates and the leftovers of killed attempts to make them.

        `users` returns the disks whose chains name it, and is called when no new one can be made.
        Raises BaseInUse; DiskBusy while it, or a disk on it, is being made.
        """
        base = self.file(name)
        # Exclusive against `held`: an overlay on this base is finished, or will fail.
        with suppress(FileNotFoundError), locked(base, exclusive=True):
            if disk_ids := users():
                raise BaseInUse(name, disk_ids)
            self._remove_templates(name)
            base.unlink()
        with suppress(FileNotFoundError), locked(building_path(base), exclusive=True):
            building_path(base).unlink()  # locked, so not being filled: a kill left it
        sync_path(self.path)  # the deletion is durable, and the space may be counted as free
        self._step("delete_base.removed")

    def _remove_templates(self, name: str) -> None:
        for path in self.path.iterdir():
            if base_from_template(path) == name:
                path.unlink(missing_ok=True)
        self._step("delete_base.templates_removed")

    @contextmanager
    def held(self, name: str | None) -> Iterator[None]:
        """Keep a base from being deleted while a disk is being put on it. Nothing for None."""
        with ExitStack() as lock:
            if name is not None:
                try:
                    # Waits: exclusive holders, a maker syncing the name or a deleter, are brief.
                    lock.enter_context(locked(self.file(name), exclusive=False, wait=True))
                except FileNotFoundError:
                    raise BaseNotFound(name) from None
            yield

    def write_overlay(self, target: Path, size_bytes: int, base: str | None) -> None:
        """Write an empty overlay on a base, or on nothing, to `target` in a disk's folder. Not yet durable.

        Raises SizeRefused when the overlay would be smaller than its base; BaseNotFound.
        """
        checked_size(size_bytes)
        if base is None:
            with durably_written(target):
                qemu_img.create_overlay(target, size_bytes, None)
            return
        try:
            base_bytes = self.file(base).stat().st_size
        except FileNotFoundError:
            raise BaseNotFound(base) from None
        if size_bytes < base_bytes:
            raise SizeRefused(f"a disk of {size_bytes} bytes cannot hold base {base} of {base_bytes} bytes")
        template = self.path / f"{base}-{size_bytes}.overlay"
        if not template.exists():
            make_once(
                template,
                lambda path, _fd: qemu_img.create_overlay(path, size_bytes, (backing_of_base(base), "raw")),
                "template",
                self._step,
            )
        _copy(template, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a small file into a new one, within the kernel if the file system supports it."""
    with source.open("rb") as reading, target.open("xb") as writing:
        remaining = os.fstat(reading.fileno()).st_size
        while remaining:
            copied = os.copy_file_range(reading.fileno(), writing.fileno(), remaining)
            if copied == 0:
                raise SizeRefused(f"{source.name} became shorter while it was copied")
            remaining -= copied
