"""Checks of untrusted files: the refusals before any program opens them, and the checks by qemu-img."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from recast.diskimage import qemu_img
from recast.diskimage.errors import DiskBusy, DiskImageError, QemuImgMissing
from recast.diskimage.import_refusals import (
    HasSnapshots,
    IsDamaged,
    IsEmpty,
    IsEncrypted,
    IsNotItsFormat,
    IsTooLarge,
    NamesBackingFile,
    NamesDataFile,
    UsesUnknownFeature,
)
from recast.diskimage.names import SECTOR_BYTES
from recast.diskimage.qcow2_header import (
    FEATURE_CORRUPT,
    KNOWN_FEATURES,
    NotQcow2,
    Qcow2Header,
    read_header,
)
from recast.diskimage.qemu_img import ImageFormat, Limits, Watch
from recast.diskimage.reader import DiskReader, open_chain, open_raw

# QEMU's own limits for tables that it loads into memory.
_MOST_L1_ENTRIES = (32 << 20) // 8
_MOST_REFCOUNT_TABLE_BYTES = 8 << 20

# The signatures of other formats, with their position; a negative one counts from the end.
_OTHER_FORMATS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (-512, b"conectix", "vhd"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"QED\x00", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (-512, b"koly", "dmg"),
)


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """A file that may become a disk of `virtual_size_bytes`, a multiple of 512."""

    image_format: ImageFormat
    virtual_size_bytes: int


def inspect_image(
    path: Path, image_format: ImageFormat, max_virtual_bytes: int, watch: Watch | None = None
) -> ImportedImage:
    """Decide whether a file with the claimed `image_format` may become a disk.

    `watch` is called periodically, and may raise. The file must not change from now on.
    Raises a subclass of ImportRefused with the reason.
    """
    if image_format == "raw":
        image = ImportedImage("raw", _raw_size(path))
    else:
        image = ImportedImage("qcow2", _rounded(_safe_header(path).size_bytes))
    if image.virtual_size_bytes == 0:
        raise IsEmpty
    if image.virtual_size_bytes > max_virtual_bytes:
        raise IsTooLarge(image.virtual_size_bytes, max_virtual_bytes)
    if image_format == "qcow2":
        _check_with_qemu(path, image.virtual_size_bytes, watch)
    return image


def open_imported(
    path: Path, image_format: ImageFormat, scratch: Path, watch: Watch | None = None
) -> DiskReader:
    """Open a file that `inspect_image` accepted. `scratch` is the folder for a compressed one's content.

    Decompression may be slow: `watch` is called periodically, and may raise.
    """
    if image_format == "raw":
        return open_raw(path.absolute(), _raw_size(path))
    virtual_bytes = _rounded(_safe_header(path).size_bytes)
    reader = open_chain([(path.absolute(), "qcow2")])
    if reader is not None:
        return reader
    with TemporaryDirectory(dir=scratch) as folder:
        # The reader has the file open when the folder is removed: a kill leaves no file behind.
        plain = Path(folder).absolute() / "plain.raw"
        qemu_img.convert_to_raw(path.absolute(), "qcow2", plain, virtual_bytes, watch=watch)
        return open_raw(plain, virtual_bytes)


def _rounded(size_bytes: int) -> int:
    """Round a size up to whole sectors; the added bytes read as zeros."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def _raw_size(path: Path) -> int:
    """Return a raw file's size as a disk. Another format's signature is refused: CVE-2024-32498."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        for position, magic, name in _OTHER_FORMATS:
            at = position if position >= 0 else size_bytes + position
            if at >= 0:
                file.seek(at)
                if file.read(len(magic)) == magic:
                    raise IsNotItsFormat("raw", f"its content is that of a {name} file")
    return _rounded(size_bytes)


def _safe_header(path: Path) -> Qcow2Header:
    """Read a qcow2 header and refuse files that must not reach QEMU."""
    try:
        header = read_header(path)
    except NotQcow2 as error:
        raise IsNotItsFormat("qcow2", str(error)) from None
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
        raise IsDamaged("it is marked as corrupt")
    table_bytes = header.refcount_table_clusters << header.cluster_bits
    if header.l1_entries > _MOST_L1_ENTRIES or table_bytes > _MOST_REFCOUNT_TABLE_BYTES:
        raise IsDamaged("its tables are larger than qcow2 allows")
    return header


def _check_with_qemu(path: Path, virtual_bytes: int, watch: Watch | None) -> None:
    """Let QEMU check a file with a safe header, and compare its reading of the header with ours."""
    try:
        broken = qemu_img.check(path.absolute(), Limits(), watch)
        seen = qemu_img.info(path.absolute(), "qcow2", Limits())
    except (DiskBusy, QemuImgMissing):  # no fault of the file
        raise
    except DiskImageError as error:
        raise IsDamaged(str(error)) from None
    if broken is not None:
        raise IsDamaged(broken)
    if _rounded(seen["virtual-size"]) != virtual_bytes or "backing-filename" in seen or seen.get("encrypted"):
        raise IsDamaged("its header reads differently to QEMU")
