"""One full and one incremental backup, recorded; and the possible states after a power cut amid them."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from recast.csbs.v1 import backup_pb2, backup_service_pb2
from tests.faults.kills.rig import PROJECT
from tests.faults.storage.faulty_io import Kind, Record, inodes_below
from tests.faults.storage.io_rig import IoRig
from tests.faults.storage.power_cut import Disk, Left, Loss, digest
from tests.harness.expectations import until

WATCHED = ("store", "data")
_NAMES = {Kind.MADE_FILE, Kind.MADE_FOLDER, Kind.RENAMED, Kind.LINKED, Kind.UNLINKED}
_SYNCS = {Kind.SYNCED, Kind.SYNCED_ALL}
# A write changes only parts that a later sync or name may persist by half: those states are taken there.
_PARTLY = (Loss.ZEROS, Loss.LATE, Loss.EARLY, Loss.NAMES)


@dataclass(frozen=True)
class Promise:
    """An answer to a client, which must still hold after a power cut."""

    backup: str
    event: str

    def finished(self) -> "Promise":
        """The promise after the end of all work: a requested backup is made."""
        return Promise(self.backup, "ended")

    def broken_in(self, root: Path) -> str | None:
        """Checks it against the database of CSBS; gives the problem."""
        # Read without a service: the state after the power cut must not be changed.
        with closing(sqlite3.connect(f"file:{root / 'data' / 'csbs.db'}?mode=ro", uri=True)) as connection:
            query = "SELECT state, image_ready FROM backup WHERE name = ?"
            row = connection.execute(query, (f"{PROJECT}/backups/{self.backup}",)).fetchone()
        if row is None:
            return f"{self.backup} was {self.event}, and is gone"
        state, image_ready = row
        if self.event == "image-ready" and not image_ready:
            return f"{self.backup} was answered as image-ready, and is not"
        if self.event == "ended" and state != "AVAILABLE":
            return f"{self.backup} had ended, and is {state}"
        return None


@dataclass(frozen=True)
class State:
    """The state after a power cut at one point, in one way."""

    number: int
    """Of the first records that were done."""
    loss: Loss
    left: Left
    promises: tuple[Promise, ...]

    def __str__(self) -> str:
        return f"after record {self.number}, {self.loss}"


class Recording:
    """The records, the folder as it was before, and as it was after."""

    def __init__(self, rig: IoRig) -> None:
        """Makes the backups."""
        self.root = rig.root / "stack"
        self.before, self.after = rig.root / "before", rig.root / "after"
        self._log = rig.io
        rig.wait_until_idle()
        rig.stack.stop()
        shutil.copytree(self.root, self.before, ignore=shutil.ignore_patterns("*-shm"))
        self._there = [found for name in WATCHED for found in inodes_below(self.root / name)]
        rig.io.record()
        rig.stack.start()
        for backup_id, full in (("cut-full", True), ("cut-incremental", False)):
            rig.wait_until_idle()  # the thaw comes after the seal, and excludes guests while it merges
            for disk in ("web-system", "web-data-1"):
                rig.write_news(disk)
            _watch(rig, backup_id, full=full)
        rig.wait_until_idle()
        rig.stack.stop()
        rig.io.disarm()
        # Requests under way name the location of the store: the copy must be started in the same place.
        self.root.rename(self.after)

    def records(self) -> Iterator[Record]:
        """The records, in their order."""
        return self._log.records()

    def disk(self) -> Disk:
        """The state before, to be fed with the records."""
        return Disk(self.root, self.before, self._there)

    def states(self, disk: Disk) -> Iterator[State]:
        """Every state that differs from all before it; the disk is fed meanwhile."""
        seen: set[bytes] = set()
        promises: tuple[Promise, ...] = ()
        for number, record in enumerate(self.records()):
            if record.kind in _SYNCS:  # before it much is written that is not durable
                yield from self._new(disk, number, _PARTLY, promises, seen)
            disk.feed(record)
            if record.kind is Kind.MARK:
                promises = (*promises, Promise(*record.path.split(" ")))
            elif record.kind in _SYNCS:
                yield from self._new(disk, number + 1, (Loss.ALL, Loss.BYTES), promises, seen)
            elif record.kind in _NAMES:
                yield from self._new(disk, number + 1, (Loss.BYTES,), promises, seen)

    def _new(
        self,
        disk: Disk,
        number: int,
        losses: tuple[Loss, ...],
        promises: tuple[Promise, ...],
        seen: set[bytes],
    ) -> Iterator[State]:
        for loss in losses:
            left = disk.left(loss)
            if (found := digest(left)) not in seen:
                seen.add(found)
                yield State(number, loss, left, promises)


def _watch(rig: IoRig, backup_id: str, *, full: bool) -> None:
    """Makes a backup, and marks each answer to the client in the records."""
    name = f"{PROJECT}/backups/{backup_id}"
    request = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT,
        backup_id=backup_id,
        full=full,
        backup=backup_pb2.Backup(server=f"{PROJECT}/servers/web"),
        request_id=backup_id,
    )
    rig.insist(lambda: rig.recast.backups.CreateBackup(request))
    rig.io.mark(f"{backup_id} answered")
    get = backup_service_pb2.GetBackupRequest(name=name)

    def seen() -> backup_pb2.Backup:
        return rig.recast.backups.GetBackup(get).backup

    until(lambda: seen().image_ready, f"the mark of {backup_id}", pause=0.005)
    rig.io.mark(f"{backup_id} image-ready")
    available = backup_pb2.BACKUP_STATE_AVAILABLE
    until(lambda: seen().state == available, f"the end of {backup_id}", pause=0.005)
    rig.io.mark(f"{backup_id} ended")
