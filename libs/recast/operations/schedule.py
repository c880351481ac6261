"""Recurring work: due times in the service's database, each run by one replica."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import bindparam, select, text, update

from recast.database import Database
from recast.operations.tables import ScheduleRow
from recast.operations.work import Interrupted

log = structlog.get_logger()
_TABLE: Any = ScheduleRow.__table__  # type: ignore[attr-defined]
_POLL_SECONDS = 60.0  # the longest delay of a run
_CLAIM = timedelta(hours=1)  # a run that has not ended after this was killed: it is due again


@dataclass(frozen=True)
class _Entry:
    interval: timedelta
    run: Callable[[], None]


class Schedule:
    """The recurring work of one process. `now` comes from the composition root.

    A due time is claimed by a compare-and-set that moves it an hour ahead; the end of the run moves it to the
    next. So replicas do not run the same due time twice, a run whose process was killed is made up after the
    hour, and due times that passed while no process ran are made up by one run. A run must be safe to
    repeat, and must end within the hour.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="schedule")

    def add(self, name: str, interval: timedelta, run: Callable[[], None]) -> None:
        """Adds work before `start`. A name new to the database is due after one interval."""
        self._entries[name] = _Entry(interval, run)

    def start(self) -> None:
        """Starts the thread that runs due work."""
        self._thread.start()

    def begin_to_stop(self) -> None:
        """Begins no further run; one that reads `is_stopping` ends early. Returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """Waits for the current run."""
        self.begin_to_stop()
        self._thread.join()

    def is_stopping(self) -> bool:
        """Whether a run must raise Interrupted: it is then due at once, for any process."""
        return self._stopping.is_set()

    def run_due(self) -> list[str]:
        """Runs due work, one after the other; returns the names that this process ran."""
        with self._database.read() as session:
            rows = {row.name: row for row in session.scalars(select(ScheduleRow))}
        ran = []
        for name, entry in self._entries.items():
            if self.is_stopping():
                break
            try:
                if self._claim_and_run(name, entry, rows.get(name)):
                    ran.append(name)
            except Exception:  # a bug, or an unreachable database, must not stop the others
                log.exception("scheduled run failed", schedule=name)
        return ran

    def _claim_and_run(self, name: str, entry: _Entry, row: ScheduleRow | None) -> bool:
        now = self._now()
        next_due = now + entry.interval
        if row is None:
            self._insert(name, entry, next_due)
            return False
        if row.interval_seconds != entry.interval.total_seconds():
            due = min(row.due_time, next_due)
            self._set(name, row.due_time, due_time=due, interval_seconds=entry.interval.total_seconds())
            return False
        # Written while the clock was ahead. A jump by one interval alone has work run later, not twice.
        if row.due_time > max(next_due + entry.interval, now + _CLAIM):
            self._set(name, row.due_time, due_time=next_due)
            return False
        if row.due_time > now or not self._set(name, row.due_time, due_time=now + _CLAIM):
            return False
        try:
            entry.run()
        except Interrupted:
            self._set(name, now + _CLAIM, due_time=now)
            return False
        except Exception:
            self._set(name, now + _CLAIM, due_time=next_due)
            raise
        self._set(name, now + _CLAIM, due_time=next_due, last_run_time=now)
        return True

    def _insert(self, name: str, entry: _Entry, due_time: datetime) -> None:
        due = bindparam("due_time", due_time, type_=_TABLE.c.due_time.type)
        statement = text(  # another replica may insert it at the same time
            "INSERT INTO schedule (name, due_time, interval_seconds) VALUES (:name, :due_time, :seconds)"
            " ON CONFLICT (name) DO NOTHING"
        ).bindparams(due, name=name, seconds=entry.interval.total_seconds())
        with self._database.write() as tx:
            tx.session.connection().execute(statement)
            tx.commit()

    def _set(self, name: str, known: datetime, **values: object) -> bool:
        """Writes to the row if its due time is still the known one."""
        with self._database.write() as tx:
            written = tx.session.connection().execute(
                update(_TABLE).where(_TABLE.c.name == name, _TABLE.c.due_time == known).values(**values)
            )
            tx.commit()
        return bool(written.rowcount == 1)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_due()
            except Exception:  # an unreachable database costs a round, not the thread
                log.warning("schedule not read", exc_info=True)
            self._stopping.wait(_POLL_SECONDS)
