"""Hosts in the database: each tells of itself every few seconds; one that has not for a while is away."""

import os
import threading
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlmodel import Session

from ecs.domain.placement import Candidate
from ecs.domain.refusals import HostAway
from ecs.storage.tables import HostRow
from recast.database import Database

log = structlog.get_logger()
_REPORT_SECONDS = 5.0
_AWAY_SECONDS = 16.0  # three reports missed

# Both engines have it; processes of one host may report at once.
_REPORT = """
    INSERT INTO host (name, data_dir, capacity_bytes, free_bytes, seen)
    VALUES (:name, :data_dir, :capacity_bytes, :free_bytes, {now})
    ON CONFLICT (name) DO UPDATE SET data_dir = excluded.data_dir,
        capacity_bytes = excluded.capacity_bytes, free_bytes = excluded.free_bytes, seen = excluded.seen
"""


class Reporter:
    """Tells of this host: once when it is made, and then by a thread of its own."""

    def __init__(self, database: Database, name: str, folder: Path) -> None:
        self._database = database
        self._name = name
        self._folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ecs-host")
        self.report()

    def report(self) -> None:
        """Writes what the host has left, by the database's clock."""
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
        """Begins to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; the host counts as there for a while yet, so that a restart moves nothing elsewhere."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_REPORT_SECONDS):
            try:
                self.report()
            except Exception:  # a database that is away costs reports, not the thread
                log.warning("host not reported", exc_info=True)


def candidates(database: Database, session: Session) -> list[Candidate]:
    """All hosts that ever told of themselves."""
    query = text(f"SELECT name, free_bytes, seen > {database.now_sql()} - {_AWAY_SECONDS} FROM host")
    return [
        Candidate(name, free_bytes, bool(is_alive))
        for name, free_bytes, is_alive in session.connection().execute(query)
    ]


def data_dir(session: Session, name: str) -> Path:
    """Where a host keeps its disks. HostAway when it never told."""
    row = session.get(HostRow, name)
    if row is None:
        raise HostAway(host=name, hint="what is asked of its disks waits for it")
    return Path(row.data_dir)
