"""Syncs that fail as on Linux: their bytes are lost, and the next sync succeeds."""

import math
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from recast.doctor import Installation, examine
from tests.faults.storage.faulty_io import Class, Fault, Mode, Record, inodes_below
from tests.faults.storage.io_rig import IoRig
from tests.faults.storage.power_cut import Disk, Loss, Rebuilt
from tests.harness.expectations import until

_POLL_SECONDS = 0.001
_WATCHED = ("store", "data/ecs")


class Losing:
    """Maintains a model of the durable state, and removes from the real files the bytes that a failed sync
    loses.

    A context manager; the rig has no work under way when it begins.
    """

    def __init__(self, rig: IoRig) -> None:
        self._rig = rig
        self._root = rig.root / "stack"
        self._done = 0
        self._ended = threading.Event()
        before = rig.root / "before"
        shutil.copytree(self._root, before)
        there = [found for name in _WATCHED for found in inodes_below(self._root / name)]
        self._disk = Disk(self._root, before, there)
        self._rebuilt = Rebuilt(rig.root / "durable", before / "keys")
        self._thread = threading.Thread(target=self._tend, name="losing")
        self.lost_bytes = self.lost_files = 0

    def __enter__(self) -> Self:
        self._rig.io.record()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._rig.io.let_go()
        self._rig.io.disarm()

    def arm(self, number: int, error: int) -> None:
        """Lets a sync fail, by its number from now."""
        self._rig.io.arm(Fault(Class.SYNC, number, error), Mode.FAULTS | Mode.RECORDS | Mode.LOSES)

    def disarm(self) -> None:
        """Lets every sync succeed."""
        self._rig.io.record()

    def problems(self) -> list[str]:
        """The checker's problems in the durable state, as after a power cut now, all work being over."""
        self._feed()
        left = self._disk.left(Loss.ALL)
        (self._rebuilt.root / "data").mkdir(exist_ok=True)
        self._rebuilt.build(
            self._disk, Loss.ALL, {path: token for path, token in left.items() if path != "data"}
        )
        for path in (self._root / "data").glob("*.db"):
            copy = self._rebuilt.root / "data" / path.name
            copy.unlink(missing_ok=True)
            # Not file by file: a service may merge its log meanwhile.
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        report = examine(Installation.local(self._rebuilt.root), at_rest=True, deep=True)
        return [str(problem) for problem in report.problems]

    def _tend(self) -> None:
        until(self._tends, "the end of the block", seconds=math.inf, pause=_POLL_SECONDS)

    def _tends(self) -> bool:
        """Removes the bytes that a sync that has just failed loses; whether the block has ended."""
        if self._rig.io.is_losing:
            sync = self._feed()
            assert sync is not None
            for path, content in self._disk.lose(sync):
                self._take(self._root / path, content)
            self._rig.io.let_go()
        return self._ended.is_set()

    def _take(self, path: Path, content: bytes) -> None:
        """Writes the remaining content over a file, in place: processes that have it open see that, too."""
        with path.open("r+b") as file:
            self.lost_files += 1
            self.lost_bytes += sum(a != b for a, b in zip(file.read(), content, strict=False))
            file.seek(0)
            file.write(content)
            file.truncate(len(content))

    def _feed(self) -> Record | None:
        """Brings the model up to now; gives the last record."""
        last = None
        with closing(self._rig.io.records(self._done)) as records:
            for last in records:
                self._disk.feed(last)
                self._done += last.bytes
        return last
