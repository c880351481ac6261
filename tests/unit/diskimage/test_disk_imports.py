"""Untrusted files: their refusals and messages, before any program opens them."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from recast.diskimage import (
    HasSnapshots,
    ImportedImage,
    IsDamaged,
    IsEmpty,
    IsEncrypted,
    IsNotItsFormat,
    IsTooLarge,
    NamesBackingFile,
    NamesDataFile,
    QemuImgMissing,
    UsesUnknownFeature,
    inspect_image,
    open_imported,
)
from recast.diskimage.qemu_img import convert_to_raw

KIB = 1 << 10
MIB = 1 << 20
LIMIT = 1 << 30
EXTENSIONS_AT = 112  # where qemu-img's headers end


def qemu_img(*arguments: str | Path) -> None:
    """Run qemu-img as a stranger would."""
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A harmless qcow2 of 1 MiB with one cluster of data."""
    path = tmp_path / "plain.qcow2"
    qemu_img("create", "-f", "qcow2", path, "1M")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 65 64k 64k", path], check=True, capture_output=True
    )
    return path


def patch(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_plain_qcow2_is_accepted_and_read(plain, tmp_path):
    """A qcow2 that stands alone is accepted with its size, and read byte by byte."""
    assert inspect_image(plain, "qcow2", LIMIT) == ImportedImage("qcow2", MIB)
    with open_imported(plain, "qcow2", tmp_path) as reader:
        assert reader.size_bytes == MIB
        assert list(reader.data_extents()) == [(64 * KIB, 64 * KIB)]
        assert reader.pread(0, MIB) == bytes(64 * KIB) + b"A" * 64 * KIB + bytes(MIB - 128 * KIB)


@pytest.mark.parametrize(
    "options", ["compat=0.10", "cluster_size=512", "extended_l2=on", "lazy_refcounts=on"]
)
def test_every_kind_of_qcow2_is_accepted(tmp_path, options):
    """Old versions and rare options of the format are accepted and read."""
    path = tmp_path / "kind.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", options, path, "1M")
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 66 4k 8k", path], check=True, capture_output=True
    )
    assert inspect_image(path, "qcow2", LIMIT).virtual_size_bytes == MIB
    with open_imported(path, "qcow2", tmp_path) as reader:
        assert reader.pread(0, 16 * KIB) == bytes(4 * KIB) + b"B" * 8 * KIB + bytes(4 * KIB)


def test_compressed_qcow2_is_read(plain, tmp_path):
    """Compressed clusters are unpacked into the scratch folder, which is left empty."""
    packed, scratch = tmp_path / "packed.qcow2", tmp_path / "scratch"
    scratch.mkdir()
    qemu_img("convert", "-c", "-f", "qcow2", "-O", "qcow2", plain, packed)
    inspect_image(packed, "qcow2", LIMIT)
    with open_imported(packed, "qcow2", scratch) as reader:
        assert list(scratch.iterdir()) == []
        assert list(reader.data_extents())[-1] == (64 * KIB, 64 * KIB)
        assert reader.pread(0, MIB) == bytes(64 * KIB) + b"A" * 64 * KIB + bytes(MIB - 128 * KIB)


def test_raw_file_is_rounded_up_to_sectors(tmp_path):
    """A raw file of any length becomes a disk of whole sectors, zeros at the end, with its holes."""
    path = tmp_path / "odd.raw"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.seek(MIB)
        file.write(b"y" * 100)
    assert inspect_image(path, "raw", LIMIT) == ImportedImage("raw", MIB + 512)
    with open_imported(path, "raw", tmp_path) as reader:
        assert list(reader.data_extents()) == [(0, 4096), (MIB, 100)]
        assert reader.pread(MIB, 512) == b"y" * 100 + bytes(412)
        assert reader.pread(4000, 200) == b"x" * 96 + bytes(104)


def test_backing_file_is_refused(plain, tmp_path):
    """A qcow2 on a backing file is refused by name, without QEMU having seen it."""
    path = tmp_path / "overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", plain, "-F", "qcow2", path)
    with pytest.raises(NamesBackingFile, match=r"plain\.qcow2"):
        inspect_image(path, "qcow2", LIMIT)
    with pytest.raises(NamesBackingFile):
        open_imported(path, "qcow2", tmp_path)


def test_json_backing_file_is_refused(plain):
    """A backing name that QEMU would read as an instruction is refused as any other."""
    name = b'json:{"driver":"nbd","host":"internal"}'
    patch(plain, 8, struct.pack(">QI", 512, len(name)))
    patch(plain, 512, name)
    with pytest.raises(NamesBackingFile, match="nbd"):
        inspect_image(plain, "qcow2", LIMIT)


def test_backing_format_alone_is_refused(plain):
    """A header that gives a backing format but no file is refused."""
    patch(plain, EXTENSIONS_AT, struct.pack(">II8sII", 0xE2792ACA, 3, b"raw", 0, 0))
    with pytest.raises(NamesBackingFile, match="without naming it"):
        inspect_image(plain, "qcow2", LIMIT)


def test_external_data_file_is_refused(tmp_path):
    """A qcow2 whose data lies in another file is refused."""
    path = tmp_path / "outside.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'secret'},data_file_raw=on", path, "1M")
    with pytest.raises(NamesDataFile, match="external data file"):
        inspect_image(path, "qcow2", LIMIT)


def test_data_file_name_alone_is_refused(plain):
    """A header that names a data file is refused even without the feature bit."""
    patch(plain, EXTENSIONS_AT, struct.pack(">II16sII", 0x44415441, 11, b"/etc/shadow", 0, 0))
    with pytest.raises(NamesDataFile):
        inspect_image(plain, "qcow2", LIMIT)


def test_encrypted_file_is_refused(plain):
    """Both kinds of encryption are refused."""
    for method in (1, 2):
        patch(plain, 32, struct.pack(">I", method))
        with pytest.raises(IsEncrypted, match="encrypted"):
            inspect_image(plain, "qcow2", LIMIT)


def test_internal_snapshots_are_refused(plain):
    """A qcow2 with snapshots inside is refused with their number."""
    qemu_img("snapshot", "-c", "before", plain)
    with pytest.raises(HasSnapshots, match="1 internal snapshots"):
        inspect_image(plain, "qcow2", LIMIT)


def test_unknown_feature_is_refused(plain):
    """A feature bit that is not known here is refused."""
    patch(plain, 72, struct.pack(">Q", 1 << 40))
    with pytest.raises(UsesUnknownFeature):
        inspect_image(plain, "qcow2", LIMIT)


def test_refusals_need_no_program(plain, monkeypatch, tmp_path):
    """A refusal that the header alone decides comes before QEMU is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuImgMissing):
        inspect_image(plain, "qcow2", LIMIT)
    patch(plain, 8, struct.pack(">QI", 512, 4))
    with pytest.raises(NamesBackingFile):
        inspect_image(plain, "qcow2", LIMIT)


@pytest.mark.parametrize(
    "content",
    [b"", b"QFI", b"KDMV" + bytes(4096), b"QFI\xfb" + bytes(20), b"QFI\xfb\x00\x00\x00\x09" + bytes(4096)],
    ids=["empty", "short", "vmdk", "cut", "version 9"],
)
def test_file_that_is_no_qcow2_is_refused(tmp_path, content):
    """A file without qcow2's magic is refused as no qcow2."""
    path = tmp_path / "claimed.qcow2"
    path.write_bytes(content)
    with pytest.raises(IsNotItsFormat, match="not what its format says"):
        inspect_image(path, "qcow2", LIMIT)


@pytest.mark.parametrize(
    ("position", "magic", "name"),
    [
        (0, b"QFI\xfb", "qcow2"),
        (0, b"KDMV", "vmdk"),
        (0, b"# Disk DescriptorFile\n", "vmdk"),
        (0, b"vhdxfile", "vhdx"),
        (0, b"conectix", "vhd"),
        (0, b"QED\x00", "qed"),
        (64, b"\x7f\x10\xda\xbe", "vdi"),
    ],
)
def test_raw_file_with_another_formats_magic_is_refused(tmp_path, position, magic, name):
    """A raw file that another format would claim is not raw."""
    path = tmp_path / "claimed.raw"
    path.write_bytes(bytes(8192))
    patch(path, position, magic)
    with pytest.raises(IsNotItsFormat, match=f"that of a {name} file"):
        inspect_image(path, "raw", LIMIT)
    with pytest.raises(IsNotItsFormat):
        open_imported(path, "raw", tmp_path)


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_disk_larger_than_allowed_is_refused_with_both_numbers(tmp_path, image_format):
    """A small file may hold a huge disk; its size and the limit stand in the message."""
    path = tmp_path / "huge"
    qemu_img("create", "-f", image_format, path, "2G")
    with pytest.raises(IsTooLarge, match="2147483648 bytes; at most 1073741824") as refusal:
        inspect_image(path, image_format, LIMIT)
    assert (refusal.value.virtual_bytes, refusal.value.most_bytes) == (2 << 30, LIMIT)


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_disk_without_size_is_refused(tmp_path, image_format):
    """A disk of no bytes is no disk."""
    path = tmp_path / "nothing"
    qemu_img("create", "-f", image_format, path, "0")
    with pytest.raises(IsEmpty):
        inspect_image(path, image_format, LIMIT)


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (72, struct.pack(">Q", 2)),
        (36, struct.pack(">I", 0x7FFFFFFF)),
        (56, struct.pack(">I", 0x7FFFFFFF)),
        (48, struct.pack(">Q", 0x10000000)),
        (3 * 64 * KIB, struct.pack(">Q", 1 << 63 | 0x7FFF0000)),
    ],
    ids=["marked corrupt", "l1 too large", "refcounts too large", "refcounts outside", "l2 outside"],
)
def test_damaged_qcow2_is_refused(plain, offset, content):
    """A file that contradicts itself is refused as damaged."""
    patch(plain, offset, content)
    with pytest.raises(IsDamaged, match="the file is damaged"):
        inspect_image(plain, "qcow2", LIMIT)


@pytest.mark.parametrize(
    ("offset", "content"),
    [(20, struct.pack(">I", 40)), (100, struct.pack(">I", 1 << 30)), (8, struct.pack(">QI", 1 << 40, 5))],
    ids=["cluster size", "header length", "backing name outside"],
)
def test_senseless_header_is_refused(plain, offset, content):
    """Sizes that qcow2 does not allow are refused before they are used."""
    patch(plain, offset, content)
    with pytest.raises(IsNotItsFormat):
        inspect_image(plain, "qcow2", LIMIT)


def test_converting_fits_into_a_small_address_space(tmp_path):
    """A compressed file is converted in 300 MiB of addresses, however many threads QEMU makes for it."""
    raw, packed = tmp_path / "raw", tmp_path / "packed.qcow2"
    raw.write_bytes(b"".join(bytes([65 + i % 26]) * MIB for i in range(48)))
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, packed)
    for attempt in range(4):
        plain = tmp_path / f"plain-{attempt}"
        convert_to_raw(packed, "qcow2", plain, 48 * MIB, address_space_bytes=300 * MIB)
        assert plain.read_bytes() == raw.read_bytes()


class GivenUp(Exception):
    """The caller has cancelled the run."""


def give_up():
    """A watch that cancels at once."""
    raise GivenUp


def take(path, scratch):
    """Inspect and open a file, under a watch that cancels at its first call."""
    inspect_image(path, "qcow2", LIMIT, give_up)
    open_imported(path, "qcow2", scratch, give_up)


@pytest.mark.parametrize("verb", ["info", "convert"])
def test_a_long_run_is_ended_by_its_watch(tmp_path, monkeypatch, verb):
    """The watch's exception is raised; no program is left running, and nothing in the scratch folder."""
    raw, packed, scratch = tmp_path / "raw", tmp_path / "packed.qcow2", tmp_path / "scratch"
    raw.write_bytes(b"a" * MIB)
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, packed)
    scratch.mkdir()
    slow = tmp_path / "bin" / "qemu-img"
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/sh\n[ "$1" = {verb} ] || exec {shutil.which("qemu-img")} "$@"\n'
        f"echo $$ > {tmp_path}/pid\nexec sleep 60\n"
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    with pytest.raises(GivenUp):
        take(packed, scratch)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert list(scratch.iterdir()) == []
