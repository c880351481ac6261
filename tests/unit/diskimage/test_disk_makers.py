"""Two makers of the same disks: one slept while its work was taken over, and goes on after it."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from recast.diskimage import DiskBusy, DiskHost, NewDisk, SizeRefused

MIB = 1 << 20
STEPS = ("create.built", "create.durable", "create.named")
# Past four, the file system is synced instead of each of their files.
MANY = [NewDisk(f"d{number}", 2 * MIB, "letters" if number % 2 else None) for number in range(6)]
FEW = MANY[:2]


def disks_of(root) -> dict[str, list[str]]:
    """The files in each folder of disks."""
    return {name: os.listdir(root / "disks" / name) for name in os.listdir(root / "disks")}


def whole(new_disks: list[NewDisk]) -> dict[str, list[str]]:
    """The same, when all were made and nothing else is there."""
    return {new.disk_id: ["active.qcow2"] for new in new_disks}


@contextmanager
def asleep(root, new_disks: list[NewDisk], at: str):
    """A maker of the disks that sleeps at a step; it wakes at the end of the block, and gives its future."""
    reached, wake = threading.Event(), threading.Event()

    def sleep(step: str) -> None:
        if step == at and not reached.is_set():
            reached.set()
            wake.wait(60)

    with ThreadPoolExecutor(1) as pool:
        made: Future[None] = pool.submit(DiskHost(root, step=sleep).create_disks, new_disks)
        try:
            assert reached.wait(60)
            yield made
        finally:
            wake.set()


def made_with_retries(make: Callable[[], None]) -> None:
    """Makes them, and again after another maker was faster, as work does on a retryable refusal."""
    for _ in range(20):
        try:
            return make()
        except DiskBusy:
            continue
    raise AssertionError("busy for ever")


@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize("new_disks", [FEW, MANY], ids=["few", "many"])
def test_a_late_maker_finds_them_made(host, root, at, new_disks):
    """The maker that took over has made all; the late one changes nothing, and leaves nothing behind."""
    with asleep(root, new_disks, at) as sleeper:
        host.create_disks(new_disks)
        assert all(host.disk(new.disk_id).check() == [] for new in new_disks)
    assert sleeper.exception(60) is None or isinstance(sleeper.exception(), DiskBusy)
    assert disks_of(root) == whole(new_disks)
    assert all(host.disk(new.disk_id).check() == [] for new in new_disks)


@pytest.mark.parametrize("at", STEPS[:2])
def test_a_late_maker_brings_nothing_back(host, root, at):
    """Disks that were made and deleted meanwhile stay deleted: they would never be deleted again."""
    with asleep(root, FEW, at) as sleeper:
        host.create_disks(FEW)
        for new in FEW:
            host.disk(new.disk_id).delete()
    assert isinstance(sleeper.exception(60), DiskBusy)
    assert disks_of(root) == {}


def test_a_refusal_is_no_conflict_with_another_maker(host, root):
    """A refusal for one of several disks is not taken for a conflict about those not yet begun."""
    small = [NewDisk("a", 2 * MIB, "letters"), NewDisk("b", 512, "letters"), NewDisk("c", 2 * MIB, "letters")]
    with pytest.raises(SizeRefused):
        host.create_disks(small)
    assert disks_of(root) == {}


def test_a_folder_that_is_gone_is_no_busy_disk(host, root):
    """A missing folder is no conflict with another maker: the work would be retried for ever."""
    os.rmdir(root / "disks")
    with pytest.raises(FileNotFoundError):
        host.create_disks(FEW)


def test_two_at_once_make_each_disk_once(host, root):
    """At any interleaving both makers succeed, and each disk exists once."""
    # The second begins when the first has come to one of its steps, which goes on meanwhile.
    for number, after in enumerate(range(30)):
        new_disks = [NewDisk(f"r{number}-{new.disk_id}", new.size_bytes, new.base) for new in MANY]
        begin, steps = threading.Event(), itertools.count()

        def count(_step: str, at: int = after, go: threading.Event = begin, passed=steps) -> None:
            if next(passed) == at:
                go.set()

        def make(maker: DiskHost, wanted: list[NewDisk] = new_disks) -> None:
            made_with_retries(lambda: maker.create_disks(wanted))
            for new in wanted:
                assert os.listdir(root / "disks" / new.disk_id) == ["active.qcow2"]

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(make, DiskHost(root, step=count))
            first.add_done_callback(lambda _, go=begin: go.set())
            assert begin.wait(60)
            second = pool.submit(make, host)
            for each in (first, second):
                each.result(60)
        assert not [name for name in os.listdir(root / "disks") if name.startswith(".")]
