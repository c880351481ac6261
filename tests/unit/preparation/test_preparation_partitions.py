"""Partition tables and signatures, well formed and not."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.preparation.content import BudgetedReader, BudgetSpentError
from recast.preparation.partitions import MAX_PARTITIONS, read_table
from recast.preparation.signatures import read_signature
from tests.harness import gpt

import pytest  # isort: skip

MIB = 1 << 20
SIZE = 8 * MIB
MakeReader = Callable[[Any], Any]


def mbr_sector(*entries: tuple[int, int, int]) -> bytes:
    """Return a sector with (type, first sector, sectors) as its entries."""
    table = b"".join(struct.pack("<B3xB3xII", 0, *entry) for entry in entries)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def test_gpt(tmp_path: Path, file_reader: MakeReader) -> None:
    """A GPT's partitions are read with their places, types and unique ids."""
    path = tmp_path / "disk.raw"
    unique = UUID(int=7)
    with path.open("w+b") as file:
        file.truncate(SIZE)
        gpt.write_gpt(file.fileno(), SIZE, [gpt.Slot(gpt.LINUX, MIB, 2 * MIB, "root", unique)], UUID(int=1))
    table = read_table(file_reader(path))
    assert table.kind == "gpt"
    (root,) = table.partitions
    assert (root.slot, root.offset, root.length) == (1, MIB, 2 * MIB)
    assert (root.type, root.uuid) == (gpt.LINUX, str(unique))


def test_extended(bytes_reader: MakeReader) -> None:
    """Logical partitions of an MBR count from 5, relative to their links and to the extended partition."""
    content = bytearray(64 * 512)
    content[:512] = mbr_sector((0x83, 1, 2), (0x05, 10, 50))
    content[10 * 512 : 11 * 512] = mbr_sector((0x83, 1, 3), (0x05, 20, 5))
    content[30 * 512 : 31 * 512] = mbr_sector((0x82, 2, 3))
    table = read_table(bytes_reader(bytes(content)))
    assert [(p.slot, p.offset // 512, p.type) for p in table.partitions] == [
        (1, 1, 0x83),
        (5, 11, 0x83),
        (6, 32, 0x82),
    ]


def test_extended_loop(bytes_reader: MakeReader) -> None:
    """A chain of logical partitions that bites its tail ends at the limit."""
    content = bytearray(64 * 512)
    content[:512] = mbr_sector((0x05, 10, 50))
    content[10 * 512 : 11 * 512] = mbr_sector((0x83, 1, 3), (0x05, 5, 5))
    content[15 * 512 : 16 * 512] = mbr_sector((0x83, 1, 3), (0x05, 5, 5))
    assert len(read_table(bytes_reader(bytes(content))).partitions) < MAX_PARTITIONS


def test_ntfs_is_no_table(bytes_reader: MakeReader) -> None:
    """The boot sector of an NTFS over a whole disk is not taken for an MBR."""
    sector = bytearray(mbr_sector((0x83, 1, 2)))
    sector[3:11] = b"NTFS    "
    assert read_table(bytes_reader(bytes(sector))).kind == "none"
    assert read_signature(bytes_reader(bytes(sector)), 0).type == "ntfs"


@given(head=st.binary(max_size=2048), seed=st.integers(0, 3))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(bytes_reader: MakeReader, head: bytes, seed: int) -> None:
    """Any first sectors give a table and a signature."""
    starts = (b"", bytes(512) + b"EFI PART", mbr_sector((0xEE, 1, 9)), mbr_sector((0x05, 1, 9)))
    reader = BudgetedReader(bytes_reader(starts[seed] + head))
    table = read_table(reader)
    assert table.kind in {"gpt", "mbr", "none"}
    for partition in table.partitions:
        assert read_signature(reader, partition.offset).type


def test_budget(bytes_reader: MakeReader) -> None:
    """An inspection that reads more bytes than its budget is refused them."""
    reader = BudgetedReader(bytes_reader(bytes(100)), budget_bytes=50)
    assert len(reader.pread(0, 40)) == 40
    with pytest.raises(BudgetSpentError):
        reader.pread(0, 11)


def disk_with_stale_gpt(path: Path, *, at_start: bool) -> None:
    """Make a disk with the GPT of an earlier use at its end, or at both ends, and no MBR."""
    with path.open("w+b") as file:
        file.truncate(SIZE)
        gpt.write_gpt(file.fileno(), SIZE, [gpt.Slot(gpt.LINUX, 4 * MIB, MIB, "old")], UUID(int=1))
        os.pwrite(file.fileno(), bytes(512), 0)
        if not at_start:
            os.pwrite(file.fileno(), bytes(33 * 512), 512)


@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize(
    ("sector", "kind", "offsets"),
    [
        (mbr_sector((0x83, 2048, 2048)), "mbr", [MIB]),
        (mbr_sector((0x83, 2048, 2048), (0xEE, 1, 100)), "gpt", [4 * MIB]),  # a hybrid MBR
        (mbr_sector((0xEE, 1, 100)), "gpt", [4 * MIB]),
        # Members that the report does not name.
        (mbr_sector((0xEE, 2048, 100)), "mbr", [MIB]),  # Linux requires that it begins at sector 1
        (mbr_sector((0x0E, 2048, 2048), (0x05, 4096, 2048)), "mbr", [MIB]),
        (bytes(512), "none", []),  # a file system over the whole disk
        (mbr_sector((0xEE, 1, 100))[:510] + bytes(2), "none", []),  # no MBR without its signature
    ],
)
@pytest.mark.rule("R20")
@pytest.mark.fault("FAULT-F02")
def test_stale_gpt(
    tmp_path: Path, file_reader: MakeReader, sector: bytes, kind: str, offsets: list[int], at_start: bool
) -> None:
    """A GPT is read only under an MBR that protects it, as Linux does."""
    path = tmp_path / "disk.raw"
    disk_with_stale_gpt(path, at_start=at_start)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), sector, 0)
    table = read_table(file_reader(path))
    assert (table.kind, [p.offset for p in table.partitions]) == (kind, offsets)


@pytest.mark.fault("FAULT-F02")
def test_copied_gpt_header(tmp_path: Path, file_reader: MakeReader) -> None:
    """A header that names another place as its own is no GPT."""
    path = tmp_path / "disk.raw"
    disk_with_stale_gpt(path, at_start=True)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), mbr_sector((0xEE, 1, 100)), 0)
        os.pwrite(file.fileno(), os.pread(file.fileno(), 512, 512), SIZE - 512)
        os.pwrite(file.fileno(), bytes(512), 512)
    table = read_table(file_reader(path))
    assert (table.kind, table.partitions, bool(table.problem)) == ("gpt", (), True)


def test_partition_label(tmp_path: Path, file_reader: MakeReader) -> None:
    """A GPT partition's name, by which an fstab may mount it, is read."""
    path = tmp_path / "disk.raw"
    with path.open("w+b") as file:
        file.truncate(SIZE)
        gpt.write_gpt(file.fileno(), SIZE, [gpt.Slot(gpt.LINUX, MIB, MIB, "usr ä")], UUID(int=1))
    assert [p.label for p in read_table(file_reader(path)).partitions] == ["usr ä"]
