"""Faults of imports from the public record: F10, F11, F12, each with other members of its kind."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recast.diskimage import ImportRefused, IsDamaged, IsNotItsFormat, SizeNeedsSectors, inspect_image
from tests.unit.diskimage.untrusted import (
    CLUSTER,
    KIB,
    LIMIT,
    MIB,
    OFFSET,
    imported,
    l1_table,
    l2_table,
    noise,
    patch,
    put_words,
    qcow2,
    qemu_img,
    word,
)

CONTENT = noise(6 * MIB)


def cut(path: Path, length: int) -> None:
    """Take bytes from the end of a file."""
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) - length)


def cut_within_the_last_cluster(folder: Path) -> Path:
    """The case of the report: a download that broke off 4 KiB early."""
    path = qcow2(folder / "short.qcow2", CONTENT)
    cut(path, 4 * KIB)
    return path


def cut_by_one_byte(folder: Path) -> Path:
    """The last byte alone is missing."""
    path = qcow2(folder / "short.qcow2", CONTENT)
    cut(path, 1)
    return path


def cut_by_many_clusters(folder: Path) -> Path:
    """A download that broke off 384 KiB early."""
    path = qcow2(folder / "short.qcow2", CONTENT)
    cut(path, 384 * KIB)
    return path


def cut_within_an_l2_table(folder: Path) -> Path:
    """The tables of a disk without data are at its end."""
    path = folder / "short.qcow2"
    qemu_img("create", "-f", "qcow2", path, "1M")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -z 0 64k", path], check=True, capture_output=True)
    cut(path, path.stat().st_size - l2_table(path) - 4 * KIB)
    return path


def cut_within_a_subcluster(folder: Path) -> Path:
    """A file of extended L2 entries, whose last cluster holds one subcluster of data."""
    path = folder / "short.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", "extended_l2=on", path, "1M")
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 65 6k 2k", path]
    subprocess.run(write, check=True, capture_output=True)
    cut(path, path.stat().st_size - (word(path, l2_table(path)) & OFFSET) - 7 * KIB)
    return path


def cut_compressed(folder: Path) -> Path:
    """The last compressed cluster is not whole."""
    path = qcow2(folder / "short.qcow2", bytes(range(256)) * 4096, "-c")
    cut(path, 1 * KIB)
    return path


@pytest.mark.fault("FAULT-F10")
@pytest.mark.parametrize(
    "make",
    [
        cut_within_the_last_cluster,
        cut_by_one_byte,
        cut_by_many_clusters,
        cut_within_an_l2_table,
        cut_within_a_subcluster,
        cut_compressed,
    ],
)
def test_fault_f10_a_file_that_was_cut_short_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """A file that ends before its data is refused as its sender's fault, before its disk is read."""
    with pytest.raises(IsDamaged, match="ends before"):
        inspect_image(make(tmp_path), "qcow2", LIMIT)


@pytest.mark.fault("FAULT-F10")
def test_fault_f10_damage_of_compressed_data_is_the_senders(tmp_path: Path) -> None:
    """A cluster that cannot be decompressed is a fault of the file, and not of our storage."""
    path = qcow2(tmp_path / "flipped.qcow2", b"".join(bytes([i]) * CLUSTER for i in range(1, 17)), "-c")
    entry = word(path, l2_table(path) + 3 * 8)
    patch(path, entry & ((1 << 54) - 1), b"\xff" * 16)
    inspect_image(path, "qcow2", LIMIT)
    with pytest.raises(IsDamaged, match="error while reading"):
        imported(path, tmp_path)


def bad_subcluster_header(path: Path) -> None:
    """Extended L2 entries need clusters of 16 KiB or more."""
    qemu_img("create", "-f", "qcow2", "-o", "cluster_size=4k", path, "1M")
    put_words(path, 72, 1 << 4)


def no_header(path: Path) -> None:
    """Another file by the name of a qcow2."""
    path.write_bytes(bytes(4 * KIB))


@pytest.mark.fault("FAULT-F10")
@pytest.mark.parametrize("spoil", [bad_subcluster_header, no_header])
def test_fault_f10_a_refusal_does_not_tell_our_path(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """A refusal that passes on the words of a reader leaves out the name of the file in our folder."""
    path = tmp_path / "upload-key"
    spoil(path)
    with pytest.raises(ImportRefused, match="the file") as refusal:
        inspect_image(path, "qcow2", LIMIT)
    assert "upload-key" not in str(refusal.value)


@pytest.mark.fault("FAULT-F10")
def test_fault_f10_a_file_of_the_bytes_of_its_disk_is_whole(tmp_path: Path) -> None:
    """A writer need not fill the last cluster behind the end of the disk."""
    path = qcow2(tmp_path / "tight.qcow2", CONTENT[: 6 * MIB - 60 * KIB])
    cut(path, 60 * KIB)
    assert inspect_image(path, "qcow2", LIMIT).virtual_size_bytes == 6 * MIB - 60 * KIB
    assert imported(path, tmp_path) == CONTENT[: 6 * MIB - 60 * KIB]


@pytest.mark.fault("FAULT-F11")
@pytest.mark.parametrize("missing", [100, 1, 511, 513, 6 * MIB - 5])
def test_fault_f11_a_size_in_the_header_is_rounded_up(tmp_path: Path, missing: int) -> None:
    """A qcow2 of no whole sectors becomes a disk with every byte of it, and zeros to the next sector."""
    path = qcow2(tmp_path / "odd.qcow2", CONTENT)
    size_bytes = 6 * MIB - missing
    put_words(path, 24, size_bytes)
    rounded = -(-size_bytes // 512) * 512
    assert inspect_image(path, "qcow2", LIMIT).virtual_size_bytes == rounded
    assert imported(path, tmp_path) == CONTENT[:size_bytes].ljust(rounded, b"\0")


@pytest.mark.fault("FAULT-F11")
def test_fault_f11_a_compressed_odd_size_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    """QEMU would lose the last bytes of a compressed disk: it is refused, and the named command mends it."""
    content = b"".join(CONTENT[i : i + KIB] * 2 for i in range(0, 3 * MIB, KIB))
    path = qcow2(tmp_path / "odd.qcow2", content, "-c")
    put_words(path, 24, 6 * MIB - 100)
    with pytest.raises(SizeNeedsSectors, match="qemu-img resize -f qcow2 FILE 6291456"):
        inspect_image(path, "qcow2", LIMIT)
    qemu_img("resize", "-f", "qcow2", path, "6291456")
    inspect_image(path, "qcow2", LIMIT)
    assert imported(path, tmp_path)[:-512] == content[:-512]


def dirty(path: Path) -> None:
    """A writer with lazy reference counts was killed: the counts are of before, and the header says so."""
    put_words(path, 72, 1)
    wrong_counts(path)


def wrong_counts(path: Path) -> None:
    """Half of the reference counts are zero, as if their writes had been lost."""
    block = word(path, word(path, 48))
    patch(path, block + 20, bytes(80))


def leaked(path: Path) -> None:
    """A cluster is counted that nothing names."""
    block = word(path, word(path, 48))
    patch(path, block + 2 * 500, struct.pack(">H", 1))


def copied_flags_missing(path: Path) -> None:
    """The flag that spares a writer a reading of the counts is not set."""
    table = l2_table(path)
    put_words(path, table, *(word(path, table + 8 * i) & OFFSET for i in range(8)))


def reserved_bits(path: Path) -> None:
    """A bit of an entry is set that has no meaning."""
    table = l2_table(path)
    put_words(path, table, word(path, table) | 1 << 58)


def long_l1(path: Path) -> None:
    """The L1 table has room for a larger disk, and names a table beyond this one that was lost."""
    patch(path, 36, struct.pack(">I", 8))
    put_words(path, l1_table(path) + 5 * 8, 1 << 40)


@pytest.mark.fault("FAULT-F11")
@pytest.mark.parametrize("spoil", [dirty, wrong_counts, leaked, copied_flags_missing, reserved_bits, long_l1])
def test_fault_f11_an_unclean_file_that_is_whole_is_taken(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """What no content depends on is not held against a file: QEMU reads it without loss, and so do we."""
    path = qcow2(tmp_path / "unclean.qcow2", CONTENT)
    spoil(path)
    seen = tmp_path / "seen.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, seen)
    assert seen.read_bytes() == CONTENT
    inspect_image(path, "qcow2", LIMIT)
    assert imported(path, tmp_path) == CONTENT


@pytest.mark.fault("FAULT-F11")
def test_fault_f11_a_file_marked_as_corrupt_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    """QEMU marks a file in which it has overwritten a table; the refusal names the command for it."""
    path = qcow2(tmp_path / "corrupt.qcow2", CONTENT)
    put_words(path, 72, 2)
    with pytest.raises(IsDamaged, match="qemu-img check -f qcow2 -r all FILE"):
        inspect_image(path, "qcow2", LIMIT)
    qemu_img("check", "-f", "qcow2", "-r", "all", path)
    inspect_image(path, "qcow2", LIMIT)


def on_a_backing_file(folder: Path) -> Path:
    """A layer on another file."""
    qcow2(folder / "base.qcow2", CONTENT)
    qemu_img("create", "-f", "qcow2", "-b", folder / "base.qcow2", "-F", "qcow2", folder / "whole.qcow2")
    return folder / "whole.qcow2"


def with_a_snapshot(folder: Path) -> Path:
    """A file with two states."""
    path = qcow2(folder / "whole.qcow2", CONTENT)
    qemu_img("snapshot", "-c", "before", path)
    return path


def with_a_data_file(folder: Path) -> Path:
    """A file without the data."""
    return qcow2(folder / "whole.qcow2", CONTENT, "-o", f"data_file={folder / 'data'}")


@pytest.mark.fault("FAULT-F11")
@pytest.mark.parametrize("make", [on_a_backing_file, with_a_snapshot, with_a_data_file])
def test_fault_f11_a_refusal_has_the_command_that_mends_the_file(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """A file that is whole for its sender is refused with a command, after which it is taken."""
    path = make(tmp_path)
    with pytest.raises(ImportRefused, match="qemu-img convert -f qcow2 -O qcow2 OLD NEW"):
        inspect_image(path, "qcow2", LIMIT)
    mended = tmp_path / "mended.qcow2"
    qemu_img("convert", "-f", "qcow2", "-O", "qcow2", path, mended)
    inspect_image(mended, "qcow2", LIMIT)
    assert imported(mended, tmp_path) == CONTENT


GUESTS = [
    (0, b"LUKS\xba\xbe\0\2", "luks2"),
    (0, b"LUKS\xba\xbe\0\1", "luks1"),
    (0, b"\xebX\x90-FVE-FS-", "bitlocker"),
    (0, b"\xeb<\x90mkfs.fat", "fat"),
    (512, b"LABELONE", "lvm"),
    (0x8001, b"CD001", "iso"),
    (-512, b"conectix", "vhd in the last sector"),
    (-512, b"koly", "dmg in the last sector"),
    (0, b"#!/bin/sh\nexit 0\n", "script"),
    (0, b"# version=1\n", "comment"),
    (0, b"XFSB", "xfs"),
]


@pytest.mark.fault("FAULT-F12")
@pytest.mark.parametrize(("position", "magic"), [case[:2] for case in GUESTS], ids=[c[2] for c in GUESTS])
def test_fault_f12_a_guests_own_bytes_are_no_container(tmp_path: Path, position: int, magic: bytes) -> None:
    """A raw disk is opened as raw wherever it is read: what a guest writes to it is the guest's."""
    path = tmp_path / "guest.raw"
    path.write_bytes(CONTENT)
    patch(path, position % len(CONTENT), magic)
    inspect_image(path, "raw", LIMIT)
    assert imported(path, tmp_path, "raw") == path.read_bytes()


DESCRIPTOR = (
    b'version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/shadow" 0\n'
)
CONTAINERS = [
    (b"# a comment\n" + DESCRIPTOR, "vmdk"),
    (b"#\r\n" + DESCRIPTOR.replace(b"\n", b"\r\n"), "vmdk"),
    (DESCRIPTOR, "vmdk"),
    (b"   \n# a\n  \n" + DESCRIPTOR.replace(b"=1", b"=3"), "vmdk"),
    (b"#" * 4000 + b"\n" + DESCRIPTOR, "vmdk"),
    (b"# Disk DescriptorFile\n", "vmdk"),
    (b"COWD", "vmdk"),
    (b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0") + b"Growing", "bochs"),
    (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n", "cloop"),
    (b"QFI\xfb\0\0\0\1", "qcow2"),
    (b"QED\0", "qed"),
]


@pytest.mark.fault("ATTACK-PROBES")
@pytest.mark.parametrize(("start", "name"), CONTAINERS)
def test_what_qemu_would_probe_as_another_format_is_refused(tmp_path: Path, start: bytes, name: str) -> None:
    """A raw file that a QEMU without an explicit format would take for a container is refused."""
    path = tmp_path / "claimed.raw"
    path.write_bytes(start.ljust(MIB, b"\0"))
    with pytest.raises(IsNotItsFormat, match=f"that of a {name} file"):
        inspect_image(path, "raw", LIMIT)
    with pytest.raises(ImportRefused):
        imported(path, tmp_path, "raw")
