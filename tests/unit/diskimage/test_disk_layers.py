"""Freeze, thaw and growth: the content of a disk, proven byte by byte against a model."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from recast.diskimage import (
    BaseInUse,
    BaseNotFound,
    DiskBusy,
    DiskFolder,
    DiskFrozen,
    DiskHost,
    DiskNotFound,
    FreezeEnded,
    FreezeNotFound,
    NameRefused,
    NewDisk,
    SizeRefused,
)

MIB = 1 << 20
CLUSTER = 64 << 10


def test_new_disk_reads_as_its_base_then_zeros(guest, read_all, letters):
    """A new disk holds its base, and zeros beyond it."""
    assert read_all(guest.disk) == letters + bytes(MIB)
    assert guest.disk.base() == "letters"
    assert guest.disk.size_bytes() == 2 * MIB


def test_disk_without_base_is_empty(host, read_all):
    """A disk without a base reads as zeros and holds no data extent."""
    disk = host.disk("empty")
    disk.create(MIB, None)
    assert disk.base() is None
    with disk.reader() as reader:
        assert list(reader.data_extents()) == []
        assert reader.pread(0, MIB) == bytes(MIB)


def test_overlay_from_template_is_what_qemu_img_makes(host, root):
    """Every overlay of one (base, size) has the same bytes."""
    host.create_disks([NewDisk(f"d{number}", 3 * MIB, "letters") for number in range(6)])
    digests = {
        hashlib.sha256(host.disk(disk_id).active_path.read_bytes()).digest() for disk_id in host.disk_ids()
    }
    assert len(digests) == 1
    assert host.disk("d3").check() == []


def test_rounds_of_freeze_and_thaw_keep_every_byte(guest, read_all):
    """Over several rounds each freeze reads as its instant, and the disk as its last write."""
    for round_number in range(4):
        freeze_id = f"f{round_number}"
        guest.write(round_number * 3 * CLUSTER, 2 * CLUSTER, 100 + round_number)
        guest.write(MIB + round_number * CLUSTER, CLUSTER // 2, 200 + round_number)
        instant = bytes(guest.model)
        guest.disk.freeze(freeze_id)
        guest.write(0, CLUSTER, 10 + round_number)
        guest.discard(4 * CLUSTER, CLUSTER)
        assert read_all(guest.disk, freeze_id) == instant
        assert guest.disk.unmerged_freeze() == freeze_id
        guest.disk.thaw(freeze_id)
        assert guest.disk.unmerged_freeze() is None
        assert read_all(guest.disk) == guest.model
        assert sorted(os.listdir(guest.disk.path)) == ["active.qcow2", f"layer-{freeze_id}.qcow2"]
        assert guest.disk.check() == []


def test_changed_extents_are_those_written_since_the_freeze_before(guest):
    """Written, zeroed and discarded clusters are changed; all others are not."""
    guest.write(0, CLUSTER, 1)
    guest.disk.freeze("first")
    assert guest.disk.changed_extents("first") == [(0, CLUSTER)]
    guest.disk.thaw("first")
    guest.write(2 * CLUSTER, CLUSTER, 2)
    guest.zero(3 * CLUSTER, CLUSTER)
    guest.discard(8 * CLUSTER, 2 * CLUSTER)
    guest.write(MIB + CLUSTER, 512, 3)
    guest.disk.freeze("second")
    guest.write(5 * CLUSTER, CLUSTER, 4)
    assert guest.disk.changed_extents("second") == [
        (2 * CLUSTER, 2 * CLUSTER),
        (8 * CLUSTER, 2 * CLUSTER),
        (MIB + CLUSTER, CLUSTER),
    ]


def test_discarded_cluster_reads_as_zeros_and_not_as_the_base(guest, read_all):
    """Clusters that a frozen layer discarded are zeros in it, and no data."""
    guest.discard(CLUSTER, CLUSTER)
    guest.disk.freeze("f")
    assert read_all(guest.disk, "f")[CLUSTER : 2 * CLUSTER] == bytes(CLUSTER)
    with guest.disk.frozen_reader("f") as reader:
        assert list(reader.data_extents()) == [(0, CLUSTER), (2 * CLUSTER, MIB - 2 * CLUSTER)]
    guest.disk.thaw("f")
    assert read_all(guest.disk) == guest.model


def test_layer_that_is_read_is_not_merged_into(guest, read_all):
    """While a reader of an old freeze is open, no later freeze is merged into its layers."""
    guest.write(0, 4 * CLUSTER, 1)
    guest.disk.freeze("f1")
    instant = bytes(guest.model)
    with guest.disk.frozen_reader("f1") as reader:
        guest.write(0, MIB, 2)
        guest.disk.thaw("f1")
        guest.disk.freeze("f2")
        with pytest.raises(DiskBusy, match="in use"):
            guest.disk.thaw("f2")
        assert reader.pread(0, reader.size_bytes) == instant
    guest.disk.thaw("f2")
    assert read_all(guest.disk) == guest.model


def test_disks_of_one_base_share_it_and_stay_apart(host, guest_of, read_all, root, letters):
    """Writes to one disk change neither the other disk nor the base."""
    base_file = root / "bases" / "letters.raw"
    before = hashlib.sha256(base_file.read_bytes()).digest()
    guests = []
    for number in (1, 2):
        disk = host.disk(f"d{number}")
        disk.create(MIB, "letters")
        guests.append(guest_of(disk, letters))
    for number, guest in enumerate(guests):
        for round_number in range(2):
            guest.write(number * CLUSTER, 3 * CLUSTER, 7 + number + round_number)
            guest.disk.freeze(f"f{round_number}")
            guest.disk.thaw(f"f{round_number}")
    for guest in guests:
        assert read_all(guest.disk) == guest.model
    assert hashlib.sha256(base_file.read_bytes()).digest() == before
    assert base_file.stat().st_mode & 0o777 == 0o444


def test_second_freeze_names_the_one_in_the_way(guest):
    """A disk has one unmerged freeze, which the refusal names."""
    guest.disk.freeze("f1")
    with pytest.raises(DiskFrozen, match="frozen by f1") as refusal:
        guest.disk.freeze("f2")
    assert refusal.value.freeze_id == "f1"
    with pytest.raises(DiskFrozen):
        guest.disk.replace(2 * MIB, None)


def test_thawed_freeze_is_not_frozen_again(guest):
    """A late repeat of a thawed freeze is refused: its instant is past."""
    guest.disk.freeze("f1")
    guest.disk.freeze("f1")
    guest.disk.thaw("f1")
    with pytest.raises(FreezeEnded):
        guest.disk.freeze("f1")
    guest.disk.freeze("f2")
    with pytest.raises(DiskFrozen):
        guest.disk.freeze("f1")


def test_thaw_of_an_unknown_freeze_does_nothing(guest):
    """Thawing an unknown freeze leaves the existing one."""
    guest.disk.freeze("f1")
    guest.disk.thaw("other")
    assert guest.disk.unmerged_freeze() == "f1"


def test_thawed_freeze_cannot_be_read(guest):
    """After its thaw a freeze is not found, though its layer's name lives on."""
    guest.disk.freeze("f1")
    guest.disk.thaw("f1")
    with pytest.raises(FreezeNotFound):
        guest.disk.frozen_reader("f1")
    with pytest.raises(FreezeNotFound):
        guest.disk.changed_extents("f1")


def test_disk_grows_while_frozen(guest, read_all):
    """Growth belongs to the active layer: the freeze retains its size, and the thaw carries the new one."""
    guest.write(0, CLUSTER, 1)
    guest.disk.freeze("f1")
    guest.resize(3 * MIB)
    guest.write(3 * MIB - 512, 512, 9)
    assert len(read_all(guest.disk, "f1")) == 2 * MIB
    guest.disk.thaw("f1")
    guest.disk.freeze("f2")
    assert guest.disk.changed_extents("f2") == [(3 * MIB - CLUSTER, CLUSTER)]
    assert len(read_all(guest.disk, "f2")) == 3 * MIB
    guest.disk.thaw("f2")
    assert read_all(guest.disk) == guest.model
    assert guest.disk.check() == []


def test_disk_never_shrinks(guest):
    """A smaller size is refused, the same size is nothing to do."""
    guest.disk.resize(2 * MIB)
    with pytest.raises(SizeRefused, match="cannot shrink"):
        guest.disk.resize(MIB)


def test_replace_starts_over_on_another_base(guest, host, read_all):
    """Replacing drops all layers and reads as the new base."""
    guest.write(0, MIB, 1)
    guest.disk.freeze("f1")
    guest.disk.thaw("f1")
    host.new_base("other", MIB, lambda fd: os.pwrite(fd, b"z" * MIB, 0))
    guest.disk.replace(4 * MIB, "other")
    assert read_all(guest.disk) == b"z" * MIB + bytes(3 * MIB)
    assert os.listdir(guest.disk.path) == ["active.qcow2"]
    guest.disk.replace(MIB, None)
    assert read_all(guest.disk) == bytes(MIB)
    guest.disk.freeze("f1")
    assert guest.disk.unmerged_freeze() == "f1"


def test_damaged_disk_can_be_replaced(guest, read_all, letters):
    """A restore repairs a disk with unreadable files."""
    guest.disk.freeze("f1")
    guest.disk.thaw("f1")
    guest.disk.active_path.write_bytes(b"torn")
    assert guest.disk.check() == ["active.qcow2 does not begin as a qcow2 file does"]
    guest.disk.replace(MIB, "letters")
    assert read_all(guest.disk) == letters
    assert guest.disk.check() == []


def test_data_folder_may_be_moved(guest, root, read_all, tmp_path):
    """Backing names are relative: a moved folder reads the same, whole and frozen."""
    guest.write(0, CLUSTER, 1)
    guest.disk.freeze("f1")
    guest.disk.thaw("f1")
    guest.write(CLUSTER, CLUSTER, 2)
    guest.disk.freeze("f2")
    shutil.copytree(root, tmp_path / "elsewhere" / "deep")  # without hard links, and with new times
    shutil.rmtree(root)
    moved = DiskHost(tmp_path / "elsewhere" / "deep").disk("d1")
    assert moved.unmerged_freeze() == "f2"
    assert read_all(moved, "f2") == guest.model
    assert moved.changed_extents("f2") == [(CLUSTER, CLUSTER)]
    moved.thaw("f2")
    assert read_all(moved) == guest.model


def test_deleted_disk_is_gone_and_its_id_free(guest, host, read_all, root):
    """A deleted disk leaves no file; deleting again is nothing to do; a new disk may have the id."""
    guest.write(0, MIB, 1)
    guest.disk.delete()
    guest.disk.delete()
    assert os.listdir(root / "disks") == []
    assert not guest.disk.exists()
    with pytest.raises(DiskNotFound):
        guest.disk.freeze("f")
    with pytest.raises(DiskNotFound):
        guest.disk.size_bytes()
    guest.disk.create(MIB, None)
    assert read_all(guest.disk) == bytes(MIB)


def test_create_leaves_an_existing_disk_as_it_is(guest, read_all):
    """A repeat of create, even a late one, loses nothing."""
    guest.write(0, CLUSTER, 1)
    guest.disk.create(2 * MIB, "letters")
    assert read_all(guest.disk) == guest.model


@pytest.mark.parametrize("size_bytes", [0, -512, 511, MIB + 1])
def test_size_that_no_disk_has_is_refused(host, size_bytes):
    """Sizes are positive multiples of 512."""
    with pytest.raises(SizeRefused, match=str(size_bytes)):
        host.disk("d").create(size_bytes, None)
    with pytest.raises(SizeRefused):
        host.new_base("b", size_bytes, lambda _: None)
    assert host.disk_ids() == []


def test_disk_smaller_than_its_base_is_refused(host, root):
    """An overlay hides no part of its base; a refused creation leaves nothing behind."""
    with pytest.raises(SizeRefused, match="cannot hold base letters"):
        host.create_disks([NewDisk("c", MIB, "letters"), NewDisk("d", MIB // 2, "letters")])
    assert os.listdir(root / "disks") == []


def test_unknown_base_is_refused(host, root):
    """A disk on a base that is not there is not made."""
    with pytest.raises(BaseNotFound):
        host.disk("d").create(MIB, "absent")
    assert os.listdir(root / "disks") == []


def test_names_that_are_no_file_names_are_refused(host, guest):
    """No id escapes its folder, is hidden, or reads as a protocol or an option."""
    for name in ["", ".", "..", ".x", "a/b", "nbd:x", "-x", "a" * 101, "a\n"]:
        for use in (host.disk, host.has_base, host.delete_base, guest.disk.freeze, guest.disk.thaw):
            with pytest.raises(NameRefused):
                use(name)


def test_base_in_use_is_not_deleted(host, guest):
    """A base is not deleted while a disk stands on it, under any layers; the refusal names the disks."""
    guest.disk.freeze("f")
    with pytest.raises(BaseInUse, match="d1") as refusal:
        host.delete_base("letters")
    assert refusal.value.disk_ids == ("d1",)
    guest.disk.delete()
    host.delete_base("letters")
    host.delete_base("letters")
    assert host.base_names() == []


def test_chain_is_followed_to_no_foreign_file(guest, root, tmp_path):
    """A layer whose header names any other file is refused, not opened."""
    header = bytearray(guest.disk.active_path.read_bytes())
    at = header.index(b"../../bases/letters.raw")
    header[at : at + 23] = b"../../../../etc/passwd/"
    Path(guest.disk.active_path).write_bytes(header)
    assert "neither a layer of this disk nor a base" in guest.disk.check()[0]


def test_check_names_each_problem(guest, root):
    """The check reports left over files, foreign files, a writable base and a missing one."""
    (guest.disk.path / "layer-lost.qcow2").touch()
    (guest.disk.path / "notes").touch()
    base_file = root / "bases" / "letters.raw"
    base_file.chmod(0o644)
    assert guest.disk.check() == [
        "disk d1: layer-lost.qcow2 is left over by a killed action",
        "disk d1: notes does not belong here",
        "disk d1: its base letters is not read-only",
    ]
    base_file.rename(root / "letters.raw")
    assert "disk d1: its base letters is missing" in guest.disk.check()


def test_check_finds_a_damaged_layer(guest):
    """A layer whose tables are overwritten is reported with its name."""
    guest.write(0, CLUSTER, 1)
    with guest.disk.active_path.open("r+b") as file:
        file.seek(2 * CLUSTER)
        file.write(b"\0" * CLUSTER)  # the refcounts
    problems = guest.disk.check()
    assert len(problems) == 1
    assert problems[0].startswith("disk d1: active.qcow2: ")


class GoneAfterTheCheck(DiskFolder):
    """A disk that is removed right after `exists`."""

    def exists(self) -> bool:
        """True, and the disk is removed."""
        found = super().exists()
        self.delete()
        return found


def test_a_disk_that_is_removed_while_it_is_measured_takes_nothing(guest):
    """The size of a disk that is removed concurrently is 0."""
    disk = GoneAfterTheCheck(guest.disk.path, guest.disk._bases, lambda _point: None)
    assert disk.allocated_bytes() == 0


def test_allocated_bytes_leave_the_base_out(guest, host):
    """A disk's own files are counted, the shared base apart."""
    before = guest.disk.allocated_bytes()
    assert before < MIB
    guest.write(0, MIB, 1)
    assert guest.disk.allocated_bytes() >= before + MIB
    assert host.base_bytes("letters") == MIB
