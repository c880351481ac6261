"""Checks of untrusted files: the refusals before any program opens them, and the checks by qemu-img."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from recast.diskimage import qemu_img
from recast.diskimage.errors import DiskBusy, DiskImageError, QemuImgMissing, SourceUnreadable
from recast.diskimage.import_refusals import (
    ExpandsTooMuch,
    HasSnapshots,
    IsDamaged,
    IsEmpty,
    IsEncrypted,
    IsNotItsFormat,
    IsTooLarge,
    NamesBackingFile,
    NamesDataFile,
    SizeNeedsSectors,
    UsesUnknownFeature,
)
from recast.diskimage.names import SECTOR_BYTES
from recast.diskimage.probes import probed_format
from recast.diskimage.qcow2_header import (
    FEATURE_CORRUPT,
    KNOWN_FEATURES,
    NotQcow2,
    Qcow2Header,
    read_header,
)
from recast.diskimage.qcow2_map import Qcow2Map, read_map
from recast.diskimage.qemu_img import ImageFormat, Limits, Watch
from recast.diskimage.reader import DiskReader, joined, open_raw
from recast.diskimage.space import reserve

MAX_EXPANSION = 100
_READ_BYTES = 1 << 20

# QEMU's own limits for tables that it loads into memory.
_MOST_L1_ENTRIES = (32 << 20) // 8
_MOST_REFCOUNT_TABLE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """A file that may become a disk of `virtual_size_bytes`, a multiple of 512."""

    image_format: ImageFormat
    virtual_size_bytes: int
    data_bytes: int = field(default=0, compare=False)
    """At most as many bytes of the disk differ from zero."""
    scratch_bytes: int = field(default=0, compare=False)
    """`open_imported` writes as many bytes to its folder."""


def inspect_image(
    path: Path,
    image_format: ImageFormat,
    max_virtual_bytes: int,
    watch: Watch | None = None,
    *,
    max_expansion: int = MAX_EXPANSION,
) -> ImportedImage:
    """Decide whether a file with the claimed `image_format` may become a disk.

    The content of a compressed file may have `max_expansion` times the file's bytes. `watch` is called
    periodically, and may raise. The file must not change from now on. Raises a subclass of ImportRefused with
    the reason.
    """
    allocated_bytes = path.stat().st_blocks * 512
    if image_format == "raw":
        _check_size(size_bytes := _raw_size(path), max_virtual_bytes)
        return ImportedImage("raw", size_bytes, min(size_bytes, allocated_bytes))
    header = _safe_header(path)
    _check_size(size_bytes := _rounded(header.size_bytes), max_virtual_bytes)
    content = read_map(path, header, watch)
    _check_reading(path, header, watch)
    if not content.compressed_bytes:
        # A file of allocated clusters without content, as `preallocation=metadata` makes it, has holes.
        return ImportedImage("qcow2", size_bytes, min(content.data_bytes, allocated_bytes))
    file_bytes = path.stat().st_size
    if content.data_bytes > max_expansion * file_bytes:
        raise ExpandsTooMuch(content.data_bytes, file_bytes, max_expansion)
    if header.size_bytes % SECTOR_BYTES:
        raise SizeNeedsSectors(header.size_bytes, size_bytes)
    return ImportedImage("qcow2", size_bytes, content.data_bytes, content.data_bytes)


def open_imported(
    path: Path, image_format: ImageFormat, scratch: Path, watch: Watch | None = None
) -> DiskReader:
    """Open a file that `inspect_image` accepted. `scratch` is the folder for a compressed one's content.

    Decompression may be slow: `watch` is called periodically, and may raise. Raises OutOfSpace before
    anything is decompressed, and IsDamaged when the file cannot be decompressed.
    """
    if image_format == "raw":
        return open_raw(path.absolute(), _raw_size(path))
    header = _safe_header(path)
    size_bytes = _rounded(header.size_bytes)
    content = read_map(path, header, watch)
    if not content.compressed_bytes:
        return DiskReader(size_bytes, [path.absolute()], content.extents)
    with TemporaryDirectory(dir=scratch) as folder:
        # The reader has the file open when the folder is removed: a kill while it is read leaves nothing.
        unpacked = Path(folder).absolute() / "unpacked.raw"
        _unpack(path.absolute(), unpacked, size_bytes, content, watch)
        return open_raw(unpacked, size_bytes)


def _unpack(path: Path, target: Path, size_bytes: int, content: Qcow2Map, watch: Watch | None) -> None:
    """Write a file's content into a sparse raw file whose space is reserved first."""
    extents = content.extents
    reserve(target, size_bytes, joined(zip(extents.starts, extents.lengths, strict=True)), content.data_bytes)
    try:
        qemu_img.convert_to_raw(path, "qcow2", target, content.data_bytes, watch=watch, target_is_zero=True)
    except SourceUnreadable as error:
        with path.open("rb") as file:  # an OSError is our storage's fault, and no damage of the file
            while file.read(_READ_BYTES):
                if watch is not None:
                    watch()
        raise IsDamaged(_without_path(error, path)) from None


def _without_path(error: DiskImageError, path: Path) -> str:
    """The sender does not know our name of the file."""
    return str(error).replace(str(path.absolute()), "the file")


def _check_size(size_bytes: int, max_virtual_bytes: int) -> None:
    if size_bytes == 0:
        raise IsEmpty
    if size_bytes > max_virtual_bytes:
        raise IsTooLarge(size_bytes, max_virtual_bytes)


def _rounded(size_bytes: int) -> int:
    """Round a size up to whole sectors; the added bytes read as zeros."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def _raw_size(path: Path) -> int:
    """Return a raw file's size as a disk, unless QEMU could take it for another format."""
    if (name := probed_format(path)) is not None:
        raise IsNotItsFormat("raw", f"its content is that of a {name} file")
    return _rounded(path.stat().st_size)


def _safe_header(path: Path) -> Qcow2Header:
    """Read a qcow2 header and refuse files that must not reach QEMU."""
    try:
        header = read_header(path)
    except NotQcow2 as error:
        raise IsNotItsFormat("qcow2", f"the file{str(error).removeprefix(path.name)}") from None
    if header.backing_file is not None or header.backing_format is not None:
        raise NamesBackingFile(header.backing_file)
    if header.has_data_file:
        raise NamesDataFile
    if header.is_encrypted:
        raise IsEncrypted
    if header.snapshot_count:
        raise HasSnapshots(header.snapshot_count)
    if unknown := header.incompatible_features & ~KNOWN_FEATURES:
        raise UsesUnknownFeature(unknown)
    if header.incompatible_features & FEATURE_CORRUPT:
        raise IsDamaged("it is marked as corrupt; mend it: qemu-img check -f qcow2 -r all FILE")
    table_bytes = header.refcount_table_clusters << header.cluster_bits
    if header.l1_entries > _MOST_L1_ENTRIES or table_bytes > _MOST_REFCOUNT_TABLE_BYTES:
        raise IsDamaged("its tables are larger than qcow2 allows")
    return header


def _check_reading(path: Path, header: Qcow2Header, watch: Watch | None) -> None:
    """Compare QEMU's reading of a safe header with ours."""
    try:
        seen = qemu_img.info(path.absolute(), "qcow2", Limits(), watch)
    except (DiskBusy, QemuImgMissing):  # no fault of the file
        raise
    except DiskImageError as error:
        raise IsDamaged(_without_path(error, path)) from None
    # QEMU rounds down to whole sectors.
    has_other_size = abs(seen["virtual-size"] - header.size_bytes) >= SECTOR_BYTES
    if has_other_size or "backing-filename" in seen or seen.get("encrypted"):
        raise IsDamaged("its header reads differently to QEMU")
