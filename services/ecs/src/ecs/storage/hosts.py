"""Hosts in the database: each reports every few seconds; one without a report for 16 s is unreachable."""

import os
import threading
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlmodel import Session

from ecs.domain.placement import Candidate
from ecs.domain.refusals import HostUnreachable
from ecs.storage.tables import HostRow
from recast.database import Database

log = structlog.get_logger()
_REPORT_SECONDS = 5.0
_UNREACHABLE_SECONDS = 16.0  # three reports missed

# Both engines have it; processes of one host may report at once.
_REPORT = """
    INSERT INTO host (name, data_dir, capacity_bytes, free_bytes, seen)
    VALUES (:name, :data_dir, :capacity_bytes, :free_bytes, {now})
    ON CONFLICT (name) DO UPDATE SET data_dir = excluded.data_dir,
        capacity_bytes = excluded.capacity_bytes, free_bytes = excluded.free_bytes, seen = excluded.seen
"""


class Reporter:
    """Reports this host: once when it is made, and then by a thread of its own."""

    def __init__(self, database: Database, name: str, folder: Path) -> None:
        self._database = database
        self._name = name
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ecs-host")
        self.report()

    def report(self) -> None:
        """Writes the capacity and the free bytes of the host, with the time of the database's clock."""
        room = os.statvfs(self._folder)
        values = {
            "name": self._name,
            "data_dir": str(self._folder.absolute()),
            "capacity_bytes": room.f_blocks * room.f_frsize,
            "free_bytes": room.f_bavail * room.f_frsize,
        }
        with self._database.write() as tx:
            tx.session.connection().execute(text(_REPORT.format(now=self._database.now_sql())), values)
            tx.commit()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stops the thread. The host is alive until its last report is 16 s old, longer than a restart."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_REPORT_SECONDS):
            try:
                self.report()
            except Exception:  # an unreachable database costs reports, not the thread
                log.warning("host not reported", exc_info=True)


def candidates(database: Database, session: Session) -> list[Candidate]:
    """All hosts that ever reported. A report of the future was written while the clock was ahead."""
    is_alive = f"abs(seen - {database.now_sql()}) < {_UNREACHABLE_SECONDS}"
    query = text(f"SELECT name, free_bytes, {is_alive} FROM host")
    return [
        Candidate(name, free_bytes, bool(is_alive))
        for name, free_bytes, is_alive in session.connection().execute(query)
    ]


def data_dir(session: Session, name: str) -> Path:
    """The folder of a host's disks. HostUnreachable when it never reported."""
    row = session.get(HostRow, name)
    if row is None:
        raise HostUnreachable(host=name, hint="requests for its disks wait for it")
    return Path(row.data_dir)
