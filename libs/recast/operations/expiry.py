"""Expiry of old rows: request ids, ended operations, tombstones.

A tombstone refuses a late duplicate of a request whose reservation was released. Such an id belongs to an
operation, and only the operation's own worker sends it, again when a step was not recorded. A worker may
lose its lease while suspended, or its service may be down between the peer's answer and its record.
Tombstones therefore stay for 30 days: an operation that old has ended, and no request carries its id.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, literal, select, tuple_

from recast.database import Database
from recast.operations.schedule import Schedule
from recast.operations.tables import OperationRow
from recast.operations.work import Interrupted
from recast.resources import RequestReplay

_INTERVAL = timedelta(days=1)
_BATCH = 500  # rows a transaction: short enough that no caller waits for it
_OPERATION: Any = OperationRow.__table__  # type: ignore[attr-defined]
_REPLAY: Any = RequestReplay.__table__  # type: ignore[attr-defined]


class Expiries:
    """Deletes old rows by a schedule, each table once a day. Used by a service's composition root."""

    def __init__(self, schedule: Schedule, database: Database, now: Callable[[], datetime]) -> None:
        self._schedule = schedule
        self._database = database
        self._now = now

    def add(self, row: Any, time: str, age: timedelta, *conditions: ColumnElement[bool]) -> None:
        """Deletes a table's rows that meet the conditions and whose column `time` is older than `age`."""
        table = row.__table__
        self._schedule_deletion(table, lambda before: [table.c[time] < before, *conditions], age)

    def add_request_ids(
        self, age: timedelta, work_requests: Sequence[str] = (), work_age: timedelta = timedelta(0)
    ) -> None:
        """Deletes the answers to request ids.

        `work_requests` are the full names of messages that a peer's operations send. They stay for `work_age`
        if that is longer, like tombstones: a late repeat of an expired id would have a second effect.
        """

        def conditions(before: datetime) -> list[ColumnElement[bool]]:
            before_work = before + age - max(age, work_age)
            is_work = _REPLAY.c.method.in_([literal(name) for name in work_requests])
            return [_REPLAY.c.create_time < before, ~is_work | (_REPLAY.c.create_time < before_work)]

        self._schedule_deletion(_REPLAY, conditions, age)

    def add_operations(self, age: timedelta) -> None:
        """Deletes ended operations, with their steps and children. A child stays as long as its parent."""
        self._schedule_deletion(
            _OPERATION,
            lambda before: [
                _OPERATION.c.create_time < before,  # has an index, and is before the end
                _OPERATION.c.end_time < before,
                _OPERATION.c.ended.is_(True),
                _OPERATION.c.parent == "",
            ],
            age,
            lambda connection, keys: connection.execute(
                delete(_OPERATION).where(_OPERATION.c.parent.in_([key[0] for key in keys]))
            ),
        )

    def _schedule_deletion(
        self,
        table: Any,
        conditions: Callable[[datetime], Sequence[ColumnElement[bool]]],
        age: timedelta,
        delete_dependents: Callable[[Connection, Sequence[Any]], object] = lambda _connection, _keys: None,
    ) -> None:
        def run() -> None:
            keys: Sequence[Any] = ()
            while True:
                if self._schedule.is_stopping():
                    raise Interrupted(table.name)
                keys = self._delete_batch(table, conditions(self._now() - age), keys, delete_dependents)
                if len(keys) < _BATCH:
                    return

        self._schedule.add(f"expire {table.name}", _INTERVAL, run)

    def _delete_batch(
        self,
        table: Any,
        conditions: Sequence[ColumnElement[bool]],
        last: Sequence[Any],
        delete_dependents: Callable[[Connection, Sequence[Any]], object],
    ) -> Sequence[Any]:
        """Deletes the next rows in the order of their keys, so that all batches read the table once."""
        key = tuple_(*table.primary_key.columns)
        query = select(*table.primary_key.columns).where(*conditions)
        if last:
            query = query.where(key > tuple_(*(literal(part) for part in last[-1])))
        with self._database.read() as session:
            found = session.connection().execute(query.order_by(*table.primary_key.columns).limit(_BATCH))
            keys = [tuple(row) for row in found]
        if keys:
            with self._database.write() as tx:
                connection = tx.session.connection()
                delete_dependents(connection, keys)
                connection.execute(delete(table).where(key.in_(keys), *conditions))
                tx.commit()
        return keys
