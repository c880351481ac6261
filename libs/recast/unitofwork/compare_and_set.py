"""Compare and set: a row is written if what the decision rests on is still so, by a condition of the write.

On PostgreSQL nothing is held before the write, which is one statement; who comes too late looks and decides
again. On SQLite it is two at most, in a write, before which nobody else comes: `Database.settle`.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Insert,
    Select,
    TableClause,
    Update,
    bindparam,
    insert,
    literal_column,
    select,
)

from recast.unitofwork.look import Change, Row

Columns = Mapping[str, ColumnElement[Any]]

_TAKEN = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)
_ONE: ColumnElement[Any] = literal_column("1")
_NONE: Columns = {}


class CompareAndSet:
    """A row that is changed where a condition holds, and what comes with that; or a new row alone.

    What varies is a `bindparam` with a name, which of the new row is that of its column.
    """

    def __init__(
        self,
        *,
        changed: Update | None = None,
        added: TableClause | None = None,
        counted: Columns = _NONE,
        beside: Update | None = None,
        given: Sequence[ColumnElement[Any]] = (),
    ) -> None:
        """`changed` finds at most one row, by its key and by what must be so; `given` is asked of it then.

        `added` is the table of the new row. Its columns in `counted` number it: each is one more than that
        column of the changed row, which is set to it. `beside` is another change, of as many rows as
        it finds, which happens when that of `changed` does.
        """
        assert added is None or beside is None
        assert changed is not None or not (counted or given or beside)
        self._added = self._changed = self._beside = None
        if changed is None:
            assert added is not None
            self._added, self._whole = Change(insert(added)), Change(insert(added).returning(_ONE))
            return
        change = changed.values({column: column + _ONE for column in counted.values()})
        done: Any = change.returning(*given or (_ONE,))
        if added is not None:
            seen = {name: (column + _ONE).label(name) for name, column in counted.items()}
            found = _row(added, seen).select_from(change.table).where(change.whereclause)  # type: ignore[arg-type]
            self._added = Change(_inserted(added, found))
            done = _with_it(change, added, counted, given)
        elif beside is not None:
            self._beside = Change(beside)
            done = _with_another(change, beside, given)
        self._changed = Change(change.returning(*given) if given else change)
        self._whole = Change(done)

    def run(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[Row]:
        """What is `given` of the row, within a transaction; no row if it is not done, and nothing is written.

        Where it raises, who holds the transaction undoes it: on PostgreSQL also where the key of the new row
        is another's.
        """
        if dialect.name != "sqlite":
            return self.at_once(cursor, dialect, values)
        if self._added is None:
            rows: list[Row] = [()]
        elif not (rows := _new(self._added, cursor, dialect, values)):  # first: nothing is to be undone yet
            return []
        if self._changed is not None:
            rows = self._changed.run(cursor, dialect, values)
            if self._added is not None and not rows:
                raise RuntimeError("a row was changed between two statements of one transaction")
        if self._beside is not None and rows:
            self._beside.run(cursor, dialect, values)
        return rows

    def at_once(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[Row]:
        """The same, by one statement: PostgreSQL."""
        return self._whole.run(cursor, dialect, values)

    def statement(self, dialect: Dialect, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """That one, for who runs it with others: its text, and what belongs to it."""
        return self._whole.statement(dialect, values)


def _new(added: Change, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[Row]:
    """The row; none where its key is taken."""
    try:
        return added.run(cursor, dialect, values)
    except sqlite3.IntegrityError as problem:
        if problem.sqlite_errorcode in _TAKEN:
            return []
        raise


def _with_it(
    change: Update, added: TableClause, counted: Columns, given: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """A change with the new row that comes of it, as one statement, which finds what is given."""
    numbers = [column.label(f"number_{name}") for name, column in counted.items()]
    told = [column.label(f"given_{place}") for place, column in enumerate(given or (_ONE,))]
    done = change.returning(*numbers, *told).cte("changed")
    row = _row(added, {name: done.c[f"number_{name}"] for name in counted}).select_from(done)
    return select(*(done.c[each.name] for each in told)).add_cte(_inserted(added, row).cte("added"))


def _with_another(change: Update, beside: Update, given: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """A change with another, as one statement, which finds what is given of the first."""
    told = [column.label(f"given_{place}") for place, column in enumerate(given)]
    done = change.returning(*told, _ONE.label("done")).cte("changed")
    # By a join, which the server may look at again where it waited for the other row; not by EXISTS.
    other = beside.where(done.c.done == _ONE).cte("beside")
    return select(*(done.c[each.name] for each in told), done.c.done).add_cte(other)


def _row(table: TableClause, known: Columns) -> Select[Any]:
    return select(*(known.get(each.name, bindparam(each.name, type_=each.type)) for each in table.c))


def _inserted(table: TableClause, rows: Select[Any]) -> Insert:
    return insert(table).from_select(list(table.c), rows)
