"""Recognises the file system at an offset of a disk by its signature, without interpreting it.

Only ext and NTFS are opened by The Sleuth Kit, with the type given: its own detection would try a dozen
parsers on untrusted bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from recast.preparation.content import ContentReader

PROBE_BYTES: Final = 68 << 10

_SIGNATURES: Final = (
    (0, b"XFSB", "xfs"),
    (0x10040, b"_BHRfS_M", "btrfs"),
    (0, b"LUKS\xba\xbe", "luks"),
    (3, b"NTFS    ", "ntfs"),
    (3, b"-FVE-FS-", "bitlocker"),
    (3, b"EXFAT   ", "exfat"),
    (0x36, b"FAT1", "fat"),
    (0x52, b"FAT32", "fat"),
    (4086, b"SWAPSPACE2", "swap"),
    (4096, b"\xfc\x4e\x2b\xa9", "raid"),
    (0, b"\xfc\x4e\x2b\xa9", "raid"),
    (0, b"hsqs", "squashfs"),
    (0x400, b"\xe2\xe1\xf5\xe0", "erofs"),
    (0x400, b"\x10\x20\xf5\xf2", "f2fs"),
    (0x8000, b"JFS1", "jfs"),
    (0x10034, b"ReIsEr", "reiserfs"),
    (0x1018, b"\xc6\x85\x73\xf6", "bcachefs"),
    (0x255C, b"\x54\x19\x01\x00", "ufs"),
    (0x1055C, b"\x19\x01\x54\x19", "ufs"),
)
# The descriptors of an optical disc (ECMA-119, ECMA-167): one in each block of 2048 bytes from byte 32768 on.
_DESCRIPTORS: Final = range(0x8000, 0x10000, 2048)
_PRIMARY: Final = b"\x01CD001\x01"
_UDF: Final = (b"NSR02", b"NSR03")
_OPTICAL: Final = (b"CD001", b"BEA01", b"BOOT2", b"TEA01", *_UDF)
_EXT_MAGIC: Final = b"\x53\xef"
_INCOMPAT_EXTENTS: Final = 0x40
_COMPAT_JOURNAL: Final = 0x4


@dataclass(frozen=True)
class Signature:
    """A file system's type, and the identity by which an fstab may name it (known for ext alone)."""

    type: str
    uuid: str = ""
    label: str = ""


def read_signature(reader: ContentReader, offset: int) -> Signature:
    """Return the signature at `offset`: "unknown" if nothing is recognised, "blank" if all is zero there."""
    probe = reader.pread(offset, PROBE_BYTES)
    # LVM writes its label into one of the first four sectors, and leaves older signatures in the others.
    if any(probe[at : at + 8] == b"LABELONE" for at in range(0, 2048, 512)):
        return Signature("lvm2")
    for at, magic, name in _SIGNATURES:
        if probe[at : at + len(magic)] == magic:
            return Signature(name)
    superblock = probe[1024:2048]
    if superblock[56:58] == _EXT_MAGIC and len(superblock) == 1024:
        return _ext_signature(superblock)
    # Last: a file system may leave the descriptors of a disc that was written to the disk before.
    return Signature(_optical_format(probe) or ("unknown" if any(probe) else "blank"))


def read_optical_format(reader: ContentReader) -> str:
    """Return "iso9660" or "udf" if the content is an optical disc's, whatever else it is; else ""."""
    return _optical_format(reader.pread(0, PROBE_BYTES))


def _optical_format(probe: bytes) -> str:
    found = ""
    for at in _DESCRIPTORS:
        if probe[at + 1 : at + 6] not in _OPTICAL:
            break
        if probe[at : at + 7] == _PRIMARY:
            return "iso9660"  # also of a disc that has both
        if probe[at + 1 : at + 6] in _UDF:
            found = "udf"
    return found


def _ext_signature(superblock: bytes) -> Signature:
    compat, incompat = struct.unpack_from("<II", superblock, 92)
    generation = "ext4" if incompat & _INCOMPAT_EXTENTS else "ext3" if compat & _COMPAT_JOURNAL else "ext2"
    label = superblock[120:136].split(b"\0")[0].decode("utf-8", "replace")
    return Signature(generation, str(UUID(bytes=superblock[104:120])), label)
