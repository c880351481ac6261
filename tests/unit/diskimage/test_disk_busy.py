"""Actions while another process has the files: refused as retryable, and without effect."""

import os
import threading

import pytest

from recast.diskimage import DiskBusy, DiskHost, QemuImgMissing

MIB = 1 << 20
CLUSTER = 64 << 10

CHANGES = {
    "freeze": lambda disk: disk.freeze("f9"),
    "thaw": lambda disk: disk.thaw("f2"),
    "resize": lambda disk: disk.resize(8 * MIB),
    "replace": lambda disk: disk.replace(MIB, None),
    "delete": lambda disk: disk.delete(),
}
LASTING = [
    change for change in CHANGES if change != "delete"
]  # a disk loses its name at the first step of that


def bring_to(disk, change):
    """Give the disk a private layer, and for a thaw something to merge into it."""
    disk.freeze("f1")
    disk.thaw("f1")
    if change == "thaw":
        disk.freeze("f2")


@pytest.mark.parametrize("change", CHANGES)
def test_disk_that_a_server_writes_is_busy(guest, running_server, read_all, change):
    """While a hypervisor has the disk open every change is DiskBusy and changes nothing."""
    guest.write(0, CLUSTER, 1)
    bring_to(guest.disk, change)
    files = sorted(os.listdir(guest.disk.path))
    with running_server(guest.disk):
        with pytest.raises(DiskBusy):
            CHANGES[change](guest.disk)
        assert sorted(os.listdir(guest.disk.path)) == files
    assert read_all(guest.disk) == guest.model
    CHANGES[change](guest.disk)


def test_active_layer_that_a_server_writes_is_not_read(guest, running_server):
    """The present content of a running server's disk is not offered; its freeze is."""
    guest.disk.freeze("f")
    with running_server(guest.disk):
        with pytest.raises(DiskBusy):
            guest.disk.reader()
        with guest.disk.frozen_reader("f") as reader:
            assert reader.pread(0, 4) == b"AAAA"
        assert guest.disk.check() == []


@pytest.mark.parametrize("change", LASTING)
def test_actions_on_one_disk_do_not_overlap(guest, root, change):
    """While one action is at work on a disk another one is DiskBusy at once."""
    bring_to(guest.disk, change)
    refused: list[str] = []

    def intrude(step: str) -> None:
        with pytest.raises(DiskBusy):
            guest.disk.resize(16 * MIB)
        with pytest.raises(DiskBusy):
            guest.disk.reader()
        refused.append(step)

    CHANGES[change](DiskHost(root, step=intrude).disk("d1"))
    assert refused


def test_one_of_many_callers_fills_a_base(root):
    """Of several threads that make the same base one fills it, and all find it complete."""
    fills: list[int] = []
    together = threading.Barrier(6)

    def fill(fd: int) -> None:
        fills.append(fd)
        os.pwrite(fd, b"x" * MIB, 0)

    def make() -> None:
        host = DiskHost(root)
        together.wait()
        host.new_base("b", MIB, fill)
        assert host.base_bytes("b") == MIB

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fills) == 1
    assert os.listdir(root / "bases") == ["b.raw"]


def test_next_caller_fills_a_base_whose_maker_failed(root):
    """A base whose filling raised leaves nothing, and the next caller starts from zeros."""
    host = DiskHost(root)

    def fill_and_fail(fd: int) -> None:
        os.pwrite(fd, b"half", 0)
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="is gone"):
        host.new_base("b", MIB, fill_and_fail)
    assert os.listdir(root / "bases") == []
    host.new_base("b", MIB, lambda fd: os.pwrite(fd, b"x", MIB - 1))
    assert (root / "bases" / "b.raw").read_bytes() == bytes(MIB - 1) + b"x"


def test_existing_base_is_not_filled_again(host, letters, root):
    """A base is written once: making it again is nothing to do."""
    host.new_base("letters", 2 * MIB, lambda _: pytest.fail("filled again"))
    assert (root / "bases" / "letters.raw").read_bytes() == letters


def test_base_is_not_deleted_under_a_disk_being_made(host, root):
    """While a disk is put on a base the base is busy."""
    seen: list[str] = []

    def delete_base(step: str) -> None:
        if step == "create.built":
            with pytest.raises(DiskBusy):
                host.delete_base("letters")
            seen.append(step)

    DiskHost(root, step=delete_base).disk("d").create(MIB, "letters")
    assert seen


def test_base_being_filled_is_not_deleted(host):
    """A base that is being filled is busy, and is not removed."""

    def fill(fd: int) -> None:
        with pytest.raises(DiskBusy):
            host.delete_base("b")

    host.new_base("b", MIB, fill)
    assert host.has_base("b")


def test_missing_qemu_img_is_named_with_its_package(host, tmp_path, monkeypatch):
    """A host without qemu-img gets an error with the package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuImgMissing, match="qemu-utils") as missing:
        host.disk("d").create(MIB, None)
    assert missing.value.package == "qemu-utils"
