"""Two who make the same disks: one slept while his work was taken over, and goes on when he wakes."""

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
    """What lies in each folder of disks."""
    return {name: os.listdir(root / "disks" / name) for name in os.listdir(root / "disks")}


def whole(new_disks: list[NewDisk]) -> dict[str, list[str]]:
    """The same, when all were made and nothing else is there."""
    return {new.disk_id: ["active.qcow2"] for new in new_disks}


@contextmanager
def asleep(root, new_disks: list[NewDisk], at: str):
    """Somebody who makes the disks and sleeps at a step; he wakes at the end, and his future is told."""
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


def settled(make: Callable[[], None]) -> None:
    """Makes them, again after somebody else was faster; as work does that is told it may pass."""
    for _ in range(20):
        try:
            return make()
        except DiskBusy:
            continue
    raise AssertionError("busy for ever")


@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize("new_disks", [FEW, MANY], ids=["few", "many"])
def test_who_wakes_finds_them_made(host, root, at, new_disks):
    """Whoever took the work over has made all; the sleeper changes nothing, and leaves nothing behind."""
    with asleep(root, new_disks, at) as sleeper:
        host.create_disks(new_disks)
        assert all(host.disk(new.disk_id).check() == [] for new in new_disks)
    assert sleeper.exception(60) is None or isinstance(sleeper.exception(), DiskBusy)
    assert disks_of(root) == whole(new_disks)
    assert all(host.disk(new.disk_id).check() == [] for new in new_disks)


@pytest.mark.parametrize("at", STEPS[:2])
def test_who_wakes_brings_nothing_back(host, root, at):
    """What was made and deleted meanwhile stays deleted: nobody would delete it again."""
    with asleep(root, FEW, at) as sleeper:
        host.create_disks(FEW)
        for new in FEW:
            host.disk(new.disk_id).delete()
    assert isinstance(sleeper.exception(60), DiskBusy)
    assert disks_of(root) == {}


def test_what_is_refused_is_refused_beside_others(host, root):
    """Of several that are asked for, those that were not begun yet were not taken by anybody."""
    small = [NewDisk("a", 2 * MIB, "letters"), NewDisk("b", 512, "letters"), NewDisk("c", 2 * MIB, "letters")]
    with pytest.raises(SizeRefused):
        host.create_disks(small)
    assert disks_of(root) == {}


def test_a_folder_that_is_gone_is_no_busy_disk(host, root):
    """Nobody else is at work where there is nothing: it would be tried again for ever."""
    os.rmdir(root / "disks")
    with pytest.raises(FileNotFoundError):
        host.create_disks(FEW)


def test_two_at_once_make_each_disk_once(host, root):
    """However they meet: both are told that all is there, and it is."""
    # The second begins when the first has come to one of its steps, which goes on meanwhile.
    for number, after in enumerate(range(30)):
        new_disks = [NewDisk(f"r{number}-{new.disk_id}", new.size_bytes, new.base) for new in MANY]
        begin, steps = threading.Event(), itertools.count()

        def count(_step: str, at: int = after, go: threading.Event = begin, passed=steps) -> None:
            if next(passed) == at:
                go.set()

        def make(maker: DiskHost, wanted: list[NewDisk] = new_disks) -> None:
            settled(lambda: maker.create_disks(wanted))
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
