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
    (0x8001, b"CD001", "iso9660"),
)
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
    return Signature("unknown" if any(probe) else "blank")


def _ext_signature(superblock: bytes) -> Signature:
    compat, incompat = struct.unpack_from("<II", superblock, 92)
    generation = "ext4" if incompat & _INCOMPAT_EXTENTS else "ext3" if compat & _COMPAT_JOURNAL else "ext2"
    label = superblock[120:136].split(b"\0")[0].decode("utf-8", "replace")
    return Signature(generation, str(UUID(bytes=superblock[104:120])), label)
