"""Partition tables: GPT (UEFI specification 2.10, chapter 5) and MBR with its extended partitions.

The Sleuth Kit reads them too, but does not expose the type GUIDs, which identify the firmware and LVM.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from recast.preparation.content import ContentReader

MAX_PARTITIONS: Final = 128
SECTOR_SIZES: Final = (512, 4096)

GPT_EFI_SYSTEM: Final = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
GPT_BIOS_BOOT: Final = UUID("21686148-6449-6e6f-744e-656564454649")
GPT_LDM: Final = frozenset(
    {UUID("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"), UUID("af9b60a0-1431-4f62-bc68-3311714a69ad")}
)
MBR_EFI_SYSTEM: Final = 0xEF
MBR_LDM: Final = 0x42
MBR_PROTECTIVE: Final = 0xEE
MBR_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})

_BOOT_SECTORS: Final = (b"NTFS    ", b"EXFAT   ")  # file systems whose first sector ends as an MBR does
_GPT_HEADER: Final = struct.Struct("<8s4sIIIQQQQ16sQIII")
_GPT_ENTRY: Final = struct.Struct("<16s16sQQQ72s")


@dataclass(frozen=True)
class Partition:
    """One partition; offsets and lengths in bytes."""

    slot: int
    offset: int
    length: int
    type: UUID | int
    uuid: str = ""
    """The PARTUUID, in lower case."""
    label: str = ""
    """The PARTLABEL."""


@dataclass(frozen=True)
class PartitionTable:
    """The partitions of a disk. `kind` is "gpt", "mbr" or "none"; `problem` is "" or describes the damage."""

    kind: str
    partitions: tuple[Partition, ...] = ()
    has_boot_code: bool = False
    problem: str = ""

    @property
    def firmware(self) -> str:
        """The firmware that the disk can boot under: "bios" (also when both), "uefi" or "unknown"."""
        types = {partition.type for partition in self.partitions}
        if GPT_BIOS_BOOT in types:
            return "bios"
        if types & {GPT_EFI_SYSTEM, MBR_EFI_SYSTEM}:
            return "uefi"
        return "bios" if self.kind == "mbr" and self.has_boot_code else "unknown"


def read_table(reader: ContentReader) -> PartitionTable:
    """Return the disk's partition table; a GPT is read from its second copy if the first is damaged.

    As Linux does, a GPT is read only under an MBR that protects it: otherwise it is of an earlier use of the
    disk, and the MBR, or the file system over the whole disk, is of today.
    """
    sector0 = reader.pread(0, 512)
    entries = _mbr_entries(sector0)
    is_protective = _protects_gpt(sector0)
    for sector in SECTOR_SIZES if is_protective else ():
        for header_offset in (sector, reader.size_bytes // sector * sector - sector):
            partitions = _read_gpt(reader, sector, header_offset)
            if partitions is not None:
                return PartitionTable("gpt", partitions, has_boot_code=any(sector0[:440]))
    if is_protective:
        return PartitionTable("gpt", problem="both copies of the GPT are damaged")
    if not entries:
        return PartitionTable("none")
    found = tuple(_mbr_partitions(reader, entries, sector0[440:444]))
    return PartitionTable("mbr", found, has_boot_code=any(sector0[:440]))


def _protects_gpt(sector: bytes) -> bool:
    """Return whether an MBR has an entry of type EE that begins at sector 1; a hybrid MBR has others, too."""
    entries = [sector[at : at + 16] for at in range(446, 510, 16)]
    return sector[510:] == b"\x55\xaa" and any(
        entry[4] == MBR_PROTECTIVE and entry[8:12] == b"\1\0\0\0" for entry in entries
    )


def _read_gpt(reader: ContentReader, sector: int, offset: int) -> tuple[Partition, ...] | None:
    """Return the partitions of the GPT whose header is at `offset`, or None if there is no whole one."""
    raw = reader.pread(offset, sector)
    if len(raw) < sector or not raw.startswith(b"EFI PART"):
        return None
    _, _, header_size, header_crc, _, own_lba, _, _, _, _, entries_lba, count, entry_size, entries_crc = (
        _GPT_HEADER.unpack_from(raw)
    )
    # A header whose own place is another one is a copy.
    if own_lba * sector != offset or not _GPT_HEADER.size <= header_size <= sector:
        return None
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:header_size]) != header_crc:
        return None
    if entry_size not in (128, 256, 512, 1024) or not 0 < count * entry_size <= 1 << 20:
        return None
    table = reader.pread(entries_lba * sector, count * entry_size)
    if zlib.crc32(table) != entries_crc:
        return None
    return tuple(_gpt_partitions(table, entry_size, sector))


def _gpt_partitions(table: bytes, entry_size: int, sector: int) -> Iterator[Partition]:
    for slot, start in enumerate(range(0, len(table), entry_size)[:MAX_PARTITIONS], start=1):
        type_guid, unique_guid, first, last, _, name = _GPT_ENTRY.unpack_from(table, start)
        if any(type_guid) and last >= first:
            yield Partition(
                slot,
                first * sector,
                (last - first + 1) * sector,
                UUID(bytes_le=type_guid),
                str(UUID(bytes_le=unique_guid)),
                name.decode("utf-16-le", "replace").partition("\0")[0],
            )


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int, int]]:
    """Return (type, first sector, sectors, slot) of the used entries; none if this is no MBR."""
    if len(sector) < 512 or sector[510:] != b"\x55\xaa" or sector[3:11] in _BOOT_SECTORS:
        return []
    raw = [sector[at : at + 16] for at in range(446, 510, 16)]
    if any(entry[0] not in (0x00, 0x80) for entry in raw):
        return []  # noise may end in 55 AA, too
    used = [(entry[4], *struct.unpack("<II", entry[8:]), slot) for slot, entry in enumerate(raw, start=1)]
    return [entry for entry in used if entry[0] and entry[1] and entry[2]]


def _mbr_partitions(
    reader: ContentReader, entries: list[tuple[int, int, int, int]], disk_id: bytes
) -> Iterator[Partition]:
    prefix = disk_id[::-1].hex()
    for kind, first, sectors, slot in entries:
        if kind not in MBR_EXTENDED:
            yield Partition(slot, first * 512, sectors * 512, kind, f"{prefix}-{slot:02x}")
    extended = next((first for kind, first, _, _ in entries if kind in MBR_EXTENDED), 0)
    here = extended
    # The chain is a linked list on the disk: the limit on its length ends a circular chain.
    for slot in range(5, MAX_PARTITIONS if extended else 5):
        links = _mbr_entries(reader.pread(here * 512, 512))
        for kind, first, sectors, _ in links:
            if kind not in MBR_EXTENDED:
                yield Partition(slot, (here + first) * 512, sectors * 512, kind, f"{prefix}-{slot:02x}")
                break
        following = next((first for kind, first, _, _ in links if kind in MBR_EXTENDED), 0)
        if not following:
            return
        here = extended + following
