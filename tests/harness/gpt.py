"""Writes partition tables, GPT and MBR: sfdisk and sgdisk are not on every machine, and struct is."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

SECTOR: Final = 512
BIOS_BOOT: Final = UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM: Final = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX: Final = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
NO_UUID: Final = UUID(int=0)
MBR_LINUX: Final = 0x83
MBR_PROTECTIVE: Final = 0xEE

_ENTRIES: Final = 128
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_TABLE_SECTORS: Final = _ENTRIES * _ENTRY.size // SECTOR


@dataclass(frozen=True)
class Slot:
    """One partition to write: `first` and `length` in bytes, whole sectors."""

    type: UUID | int
    first: int
    length: int
    name: str = ""
    uuid: UUID = NO_UUID


def write_gpt(fd: int, size_bytes: int, slots: Sequence[Slot], disk_uuid: UUID) -> None:
    """Write a GPT over the whole disk: protective MBR, both headers, both tables."""
    sectors = size_bytes // SECTOR
    table = b"".join(_gpt_entry(slot) for slot in slots).ljust(_ENTRIES * _ENTRY.size, b"\0")
    last_usable = sectors - _TABLE_SECTORS - 2
    write_mbr(fd, [Slot(MBR_PROTECTIVE, SECTOR, min(sectors - 1, 0xFFFFFFFF) * SECTOR)], bootable=False)
    for here, other, table_at in ((1, sectors - 1, 2), (sectors - 1, 1, last_usable + 1)):
        places = (here, other, _TABLE_SECTORS + 2, last_usable, disk_uuid.bytes_le, table_at)
        header = _gpt_header(places, zlib.crc32(table))
        os.pwrite(fd, header.ljust(SECTOR, b"\0"), here * SECTOR)
        os.pwrite(fd, table, table_at * SECTOR)


def write_mbr(fd: int, slots: Sequence[Slot], *, bootable: bool = True) -> None:
    """Write an MBR with up to four primary partitions; if `bootable`, with boot code that only halts."""
    sector = bytearray(SECTOR)
    if bootable:
        sector[:2] = b"\xf4\xeb"
    sector[440:444] = struct.pack("<I", 0x52435354)
    for at, slot in zip(range(446, 510, 16), slots, strict=False):
        struct.pack_into("<B3sB3sII", sector, at, 0, b"\xfe\xff\xff", int(slot.type), b"\xfe\xff\xff",
                         slot.first // SECTOR, slot.length // SECTOR)  # fmt: skip
    sector[510:] = b"\x55\xaa"
    os.pwrite(fd, sector, 0)


def _gpt_entry(slot: Slot) -> bytes:
    if not isinstance(slot.type, UUID):
        raise TypeError("a GPT names the type of a partition by a UUID")
    last = (slot.first + slot.length) // SECTOR - 1
    name = slot.name.encode("utf-16-le")
    return _ENTRY.pack(slot.type.bytes_le, slot.uuid.bytes_le, slot.first // SECTOR, last, 0, name)


def _gpt_header(places: tuple[object, ...], table_crc: int) -> bytes:
    def pack(own_crc: int) -> bytes:
        revision = 0x00010000
        start = (b"EFI PART", revision, _HEADER.size, own_crc, 0)
        return _HEADER.pack(*start, *places, _ENTRIES, _ENTRY.size, table_crc)

    return pack(zlib.crc32(pack(0)))
