"""The header of a qcow2 file, read without QEMU.

Source: docs/interop/qcow2.txt of QEMU. The files that it names are not opened: the caller decides.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recast.diskimage.errors import DiskImageError

MAGIC = b"QFI\xfb"
_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")  # versions 2 and 3; 72 bytes
_VERSION_3 = struct.Struct(">QQQII")  # feature bits, refcount order, header length; 32 bytes more
_EXTENSION = struct.Struct(">II")
_EXTENSION_END = 0
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_EXTENSION_ENCRYPTION = 0x0537BE77
_EXTENSION_DATA_FILE = 0x44415441
_LONGEST_NAME = 1023  # the format's own limit
_LARGEST_CLUSTER_BITS = 21  # 2 MiB, QEMU's limit: the header lies within the first cluster

FEATURE_DIRTY = 1 << 0
FEATURE_CORRUPT = 1 << 1
FEATURE_DATA_FILE = 1 << 2
FEATURE_COMPRESSION_TYPE = 1 << 3
FEATURE_EXTENDED_L2 = 1 << 4
KNOWN_FEATURES = (1 << 5) - 1


class NotQcow2(DiskImageError):
    """The file does not begin as a qcow2 file does."""


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """The fields of a header. Sizes are bytes; names are as written, None when absent."""

    version: int
    size_bytes: int
    cluster_bits: int
    backing_file: str | None
    backing_format: str | None
    has_data_file: bool
    is_encrypted: bool
    incompatible_features: int
    snapshot_count: int
    l1_entries: int
    l1_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int


def read_header(path: Path) -> Qcow2Header:
    """Read a file's header. Raises NotQcow2 when it is none, or is cut short; OSError as open does."""
    with path.open("rb") as file:
        try:
            return _parse(file, path.name)
        except struct.error:
            raise NotQcow2(f"{path.name} ends within its qcow2 header") from None


def _parse(file: BinaryIO, name: str) -> Qcow2Header:
    start = file.read(_FIXED.size + _VERSION_3.size)
    if start[:4] != MAGIC:
        raise NotQcow2(f"{name} does not begin as a qcow2 file does")
    (
        _,
        version,
        backing_offset,
        backing_length,
        cluster_bits,
        size_bytes,
        encryption,
        l1_entries,
        l1_offset,
        refcount_table_offset,
        refcount_table_clusters,
        snapshot_count,
        _,
    ) = _FIXED.unpack_from(start)
    if version not in (2, 3):
        raise NotQcow2(f"{name} is qcow2 of unknown version {version}")
    if not 9 <= cluster_bits <= _LARGEST_CLUSTER_BITS:
        raise NotQcow2(f"{name} has a cluster size of 2^{cluster_bits}, which qcow2 does not allow")
    features, header_length = 0, _FIXED.size
    if version == 3:
        features, _, _, _, header_length = _VERSION_3.unpack_from(start, _FIXED.size)
        if not len(start) <= header_length <= 1 << cluster_bits:
            raise NotQcow2(f"{name} says that its header is {header_length} bytes long")
    extensions = _extensions(file, header_length, 1 << cluster_bits)
    backing_format = extensions.get(_EXTENSION_BACKING_FORMAT)
    return Qcow2Header(
        version=version,
        size_bytes=size_bytes,
        cluster_bits=cluster_bits,
        backing_file=_backing_file(file, backing_offset, backing_length, name),
        backing_format=None if backing_format is None else backing_format.decode("latin-1"),
        has_data_file=bool(features & FEATURE_DATA_FILE) or _EXTENSION_DATA_FILE in extensions,
        is_encrypted=encryption != 0 or _EXTENSION_ENCRYPTION in extensions,
        incompatible_features=features,
        snapshot_count=snapshot_count,
        l1_entries=l1_entries,
        l1_offset=l1_offset,
        refcount_table_offset=refcount_table_offset,
        refcount_table_clusters=refcount_table_clusters,
    )


def _backing_file(file: BinaryIO, offset: int, length: int, name: str) -> str | None:
    """Return the backing file's name. Either field set counts as naming one, and is refused."""
    if offset == 0 and length == 0:
        return None
    if length > _LONGEST_NAME or offset > 1 << _LARGEST_CLUSTER_BITS:
        raise NotQcow2(f"{name} names a backing file outside of its header")
    file.seek(offset)
    return file.read(length).decode("utf-8", "surrogateescape")


def _extensions(file: BinaryIO, offset: int, end: int) -> dict[int, bytes]:
    """Return the header extensions by type, with at most 1 KiB of each."""
    found: dict[int, bytes] = {}
    while offset + _EXTENSION.size <= end:
        file.seek(offset)
        kind, length = _EXTENSION.unpack(file.read(_EXTENSION.size))
        if kind == _EXTENSION_END:
            break
        found[kind] = file.read(min(length, _LONGEST_NAME + 1))
        offset += _EXTENSION.size + (length + 7) // 8 * 8
    return found
