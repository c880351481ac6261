"""Compare and set: what was decided by a look is written if the row that it rests on is still as it was seen.

On PostgreSQL nothing is held between the look and the write, which is one statement; who comes too late looks
and decides again. On SQLite it is two at most, in a write, before which nobody else comes: `Database.settle`.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Dialect, Insert, Select, TableClause, Update, bindparam, insert, literal_column, select

from recast.unitofwork.look import Change

_TAKEN = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)


class CompareAndSet:
    """A row that is changed where it is as it was seen, and a new one that comes with that; or one alone.

    What varies is a `bindparam` with a name, which of the new row is that of its column.
    """

    def __init__(self, *, changed: Update | None = None, added: TableClause | None = None) -> None:
        """`changed` finds at most one row: by its key, and by what was seen."""
        self._then: Change | None = None
        if added is None:
            assert changed is not None
            self._first = self._whole = Change(changed)
        elif changed is None:
            self._first = self._whole = Change(insert(added))
        else:
            seen = _row(added).select_from(changed.table).where(changed.whereclause)  # type: ignore[arg-type]
            self._first, self._then = Change(_inserted(added, seen)), Change(changed)
            done = changed.returning(literal_column("1")).cte("changed")
            self._whole = Change(_inserted(added, _row(added).select_from(done)))

    def run(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> bool:
        """Whether it is done, within a transaction; if not, nothing is written.

        Where it raises, who holds the transaction undoes it: on PostgreSQL also where the key of the new row
        is another's.
        """
        if dialect.name != "sqlite":
            return self.at_once(cursor, dialect, values)
        try:
            if self._first.run(cursor, dialect, values) != 1:
                return False
        except sqlite3.IntegrityError as problem:
            if problem.sqlite_errorcode in _TAKEN:
                return False
            raise
        if self._then is not None and self._then.run(cursor, dialect, values) != 1:
            raise RuntimeError("a row was changed between two statements of one transaction")
        return True

    def at_once(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> bool:
        """Whether it is done, by one statement: PostgreSQL."""
        return self._whole.run(cursor, dialect, values) == 1

    def statement(self, dialect: Dialect, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """The same, for who runs it with others: its text, and what belongs to it."""
        return self._whole.statement(dialect, values)


def _row(table: TableClause) -> Select[Any]:
    return select(*[bindparam(column.name, type_=column.type) for column in table.c])


def _inserted(table: TableClause, rows: Select[Any]) -> Insert:
    return insert(table).from_select(list(table.c), rows)
