"""An inspection in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recast.preparation import Inspector, Report, Verdict, inspect
from recast.preparation.inspection import inspect_here
from tests.harness.disks import SystemDisk

MakeDisk = Callable[..., SystemDisk]
MakeReader = Callable[[Any], Any]


class FailsThirdRead:
    """A reader that fails once, in the midst of an inspection."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._reads = 0
        self.size_bytes = reader.size_bytes

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        self._reads += 1
        if self._reads == 3:
            raise TimeoutError("the store does not answer")
        return bytes(self._reader.pread(offset, length))


@pytest.mark.parametrize("variant", ["prepared", "unprepared"])
def test_same_report(make_disk: MakeDisk, file_reader: MakeReader, variant: str) -> None:
    """The child's report is the one that this process would have made."""
    path = make_disk(variant=variant).path
    assert inspect(file_reader(path)) == inspect_here(file_reader(path))


def test_reader_fails(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """The reader's exception is raised to the caller, although a child requested the bytes."""
    with pytest.raises(TimeoutError, match="the store does not answer"):
        inspect(FailsThirdRead(file_reader(make_disk().path)))


def test_endless_file_system(
    make_disk: MakeDisk, file_reader: MakeReader, plant_extent_bush: Callable[[SystemDisk, str], None]
) -> None:
    """A file system made to be read for years is given up, with every check unknown."""
    disk = make_disk(table="none")
    plant_extent_bush(disk, "/etc")
    report = inspect(file_reader(disk.path), cpu_seconds=1)
    assert {finding.verdict for finding in report.findings} == {Verdict.UNKNOWN}
    assert "takes too long" in report.findings[0].detail


def test_from_threads(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """Inspections in several threads at once do not disturb one another."""
    path = make_disk().path
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda: reports.append(inspect(file_reader(path)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports == [inspect_here(file_reader(path))] * 4


class CrashesTheChild:
    """A reader that crashes its caller, as content might that The Sleuth Kit does not survive."""

    size_bytes = 1 << 20

    def pread(self, offset: int, length: int) -> bytes:
        """Crash the child of this thread that is an inspection."""
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        for child in children:
            if b"recast.preparation.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGSEGV)
        return bytes(length)


def test_child_crashes() -> None:
    """A child that ends without a report makes every check unknown, and the reason has its exit."""
    report = inspect(CrashesTheChild())
    assert {finding.verdict for finding in report.findings} == {Verdict.UNKNOWN}
    assert "ended with SIGSEGV" in report.findings[0].detail


def test_an_inspector_reports_as_inspect_does(make_disk: MakeDisk, file_reader: MakeReader) -> None:
    """An inspector with a waiting child reports the same, disk after disk, and leaves no child behind."""
    path = make_disk().path
    inspector = Inspector()
    inspector.prepare()
    reports = [inspector.inspect(file_reader(path)) for _ in range(3)]
    inspector.close()
    inspector.prepare()
    assert reports == [inspect(file_reader(path))] * 3
    assert inspector._ready is None
