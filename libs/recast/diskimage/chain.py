"""The chain of a disk, read from the headers of its files."""

from dataclasses import dataclass
from pathlib import Path

from recast.diskimage.errors import DiskImageError, DiskNotFound
from recast.diskimage.names import (
    ACTIVE,
    base_from_backing,
    freeze_id_from_layer,
    layer_name,
    mark_name,
)
from recast.diskimage.qcow2_header import Qcow2Header, read_header
from recast.diskimage.qemu_img import ImageFormat

# Beneath the active layer there is the frozen one and the private one, never more (FORMAT.md, 5).
_MOST_LAYERS = 2
# A thaw may rename one layer during a read: the next attempt reads the new chain.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Chain:
    """The files that are the disk. `freeze_ids` name the layers beneath the active one, newest first."""

    folder: Path
    size_bytes: int
    freeze_ids: tuple[str, ...]
    base: str | None
    is_marked: bool

    @property
    def unmerged_freeze(self) -> str | None:
        """The freeze that awaits its thaw: FORMAT.md, *The chain*."""
        if len(self.freeze_ids) == _MOST_LAYERS or self.is_marked:
            return self.freeze_ids[0]
        return None

    @property
    def file_names(self) -> list[str]:
        """The disk's own files, newest layer first, without base and mark."""
        return [ACTIVE, *map(layer_name, self.freeze_ids)]

    def files(self) -> list[tuple[Path, ImageFormat]]:
        """Return all files of the chain, newest first, each with its format."""
        found: list[tuple[Path, ImageFormat]] = [(self.folder / name, "qcow2") for name in self.file_names]
        if self.base is not None:
            found.append((self.folder.parent.parent / "bases" / f"{self.base}.raw", "raw"))
        return found


def read_chain(folder: Path) -> Chain:
    """Read the chain of the disk in `folder`. Raises DiskNotFound; DiskImageError for a foreign chain."""
    for attempt in range(_ATTEMPTS):
        try:
            return _read_chain(folder)
        except FileNotFoundError as error:
            if not (folder / ACTIVE).exists():
                raise DiskNotFound(folder.name) from None
            if attempt == _ATTEMPTS - 1:
                raise DiskImageError(f"disk {folder.name}: {Path(error.filename).name} is missing") from error
    raise AssertionError("the last attempt returns or raises")


def _read_chain(folder: Path) -> Chain:
    active = header = read_header(folder / ACTIVE)
    freeze_ids: list[str] = []
    while (freeze_id := _layer_beneath(folder, header)) is not None:
        freeze_ids.append(freeze_id)
        if len(freeze_ids) > _MOST_LAYERS:
            raise DiskImageError(f"disk {folder.name}: its chain has more than {_MOST_LAYERS} layers")
        header = read_header(folder / layer_name(freeze_id))
    return Chain(
        folder=folder,
        size_bytes=active.size_bytes,
        freeze_ids=tuple(freeze_ids),
        base=None if header.backing_file is None else base_from_backing(header.backing_file),
        is_marked=bool(freeze_ids) and (folder / mark_name(freeze_ids[0])).exists(),
    )


def _layer_beneath(folder: Path, header: Qcow2Header) -> str | None:
    """Return the freeze of the layer beneath, None for a base or nothing. No other file is followed."""
    if header.backing_file is None:
        return None
    freeze_id = freeze_id_from_layer(header.backing_file)
    if freeze_id is not None and header.backing_format == "qcow2":
        return freeze_id
    if base_from_backing(header.backing_file) is not None and header.backing_format == "raw":
        return None
    raise DiskImageError(
        f"disk {folder.name}: a layer names {header.backing_file!r} as {header.backing_format}, "
        "which is neither a layer of this disk nor a base"
    )
