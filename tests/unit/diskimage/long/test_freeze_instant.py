"""A freeze of several disks: all of them at one instant, whatever writes to them or kills it."""

import os
import subprocess
import threading
from contextlib import suppress

import pytest

from recast.diskimage import DiskBusy, DiskHost, NewDisk
from tests.harness.expectations import until

MIB = 1 << 20
CLUSTER = 64 << 10
pytestmark = [pytest.mark.rule("R65"), pytest.mark.fault("FAULT-W01")]


def qemu_write(host: DiskHost, disk_id: str, byte: int, offset: int = 0) -> bool:
    """Write a cluster as a hypervisor; false when QEMU's lock refuses it."""
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {byte} {offset} {CLUSTER}"]
    done = subprocess.run([*command, host.disk(disk_id).active_path], capture_output=True, check=False)
    return done.returncode == 0


def frozen_bytes(host: DiskHost, disk_ids: list[str], freeze_id: str, offset: int = 0) -> list[int]:
    """The byte at `offset` of each frozen disk."""
    found = []
    for disk_id in disk_ids:
        with host.disk(disk_id).frozen_reader(freeze_id) as reader:
            found.append(reader.pread(offset, 1)[0])
    return found


def make_disks(host: DiskHost, count: int) -> list[str]:
    """Disks of zeros with a layer beneath them."""
    ids = [f"d{number}" for number in range(count)]
    host.create_disks([NewDisk(disk_id, 2 * MIB) for disk_id in ids])
    host.freeze_disks(ids, "first")
    for disk_id in ids:
        host.disk(disk_id).thaw("first")
    return ids


def until_not_busy(action):
    """Repeat an action until no writer is in its way."""

    def is_done() -> bool:
        with suppress(DiskBusy):
            action()
            return True
        return False

    until(is_done)


@pytest.mark.parametrize("count", [2, 5])
def test_a_writer_across_disks_is_never_seen_out_of_order(host, count):
    """A writer puts n on one disk after the other: a freeze has n on the first ones and n - 1 on the rest."""
    ids = make_disks(host, count)
    stop = threading.Event()

    def write_rounds() -> None:
        for value in range(1, 250):
            for disk_id in ids:
                while not stop.is_set() and not qemu_write(host, disk_id, value):
                    pass
            if stop.is_set():
                return

    writer = threading.Thread(target=write_rounds)
    writer.start()
    try:
        for number in range(4):
            until_not_busy(lambda: host.freeze_disks(ids, f"f{number}"))  # noqa: B023  # called at once
            found: list[int] = []
            # A reader finds the disk busy too: a process that is being started has a copy of the lock.
            until_not_busy(lambda: found.extend(frozen_bytes(host, ids, f"f{number}")))  # noqa: B023
            assert found == sorted(found, reverse=True)
            assert found[0] - found[-1] <= 1
            for disk_id in ids:
                until_not_busy(lambda: host.disk(disk_id).thaw(f"f{number}"))  # noqa: B023
    finally:
        stop.set()
        writer.join()


def test_no_writer_begins_between_two_switches(host, root):
    """From before the first switch until after the last QEMU refuses to open any of the disks for writing."""
    ids = make_disks(host, 3)
    written = []

    def step(name: str) -> None:
        if name in {"freeze.durable", "freeze.switched"}:
            written.extend(qemu_write(host, disk_id, 9) for disk_id in ids if not name.endswith("switched"))

    DiskHost(root, step=step).freeze_disks(ids, "f")
    assert written == [False] * 9
    assert all(qemu_write(host, disk_id, 9) for disk_id in ids)


@pytest.mark.parametrize("busy", ["d0", "d1", "d2"])
def test_a_disk_in_use_leaves_all_disks_unfrozen(host, running_server, busy):
    """A hypervisor on one of the disks: DiskBusy names that disk without its path, and no disk is frozen."""
    ids = make_disks(host, 3)
    with running_server(host.disk(busy)), pytest.raises(DiskBusy) as refused:
        host.freeze_disks(ids, "f")
    assert refused.value.disk_id == busy
    assert "/" not in str(refused.value)
    assert [host.disk(disk_id).unmerged_freeze() for disk_id in ids] == [None] * 3


def killed_at_step(root, number, action):
    """Run an action in a process that dies after its step with this number; false when it had fewer."""
    pid = os.fork()
    if pid == 0:
        taken = 0

        def die(_name: str) -> None:
            nonlocal taken
            taken += 1
            if taken == number:
                os._exit(9)

        try:
            action(DiskHost(root, step=die))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.mark.parametrize("first", [True, False], ids=["first freeze", "later freeze"])
def test_killed_between_two_disks_and_repeated_has_one_instant(host, root, first):
    """A repeat freezes again what a killed attempt had frozen, with what was written in between, in order."""
    ids = make_disks(host, 3)
    freeze = lambda h: h.freeze_disks(ids, "f")  # noqa: E731
    if first:
        ids = ["e0", "e1", "e2"]
        host.create_disks([NewDisk(disk_id, 2 * MIB, "letters") for disk_id in ids])
    number, value = 0, 0
    while True:
        number += 1
        # The value of the round, on the last disk first: the order that a torn backup would show.
        value = value % 50 + 1
        if not killed_at_step(root, number, freeze):
            break
        for disk_id in reversed(ids):
            assert qemu_write(host, disk_id, value)
        if number % 2:  # kill the repeat, too
            killed_at_step(root, number, freeze)
    assert number > 12
    assert [host.disk(disk_id).unmerged_freeze() for disk_id in ids] == ["f"] * 3
    assert len(set(frozen_bytes(host, ids, "f"))) == 1
    for disk_id in ids:
        assert host.disk(disk_id).changed_extents("f") == [(0, CLUSTER)]
        assert host.disk(disk_id).check() == []


def test_a_repeat_has_what_was_written_after_the_killed_attempt(host, root):
    """The instant of the freeze is that of the attempt that froze the last disk."""
    ids = make_disks(host, 2)
    switched = 9  # linked, marked, overlay made, durable; twice; the first switch
    assert killed_at_step(root, switched, lambda h: h.freeze_disks(ids, "f"))
    assert [host.disk(disk_id).unmerged_freeze() for disk_id in ids] == ["f", None]
    assert qemu_write(host, "d0", 7)
    assert qemu_write(host, "d1", 7)
    host.freeze_disks(ids, "f")
    assert qemu_write(host, "d0", 8)
    assert frozen_bytes(host, ids, "f") == [7, 7]
    host.disk("d0").thaw("f")
    with host.disk("d0").reader() as reader:
        assert reader.pread(0, 1) == b"\x08"
