"""A service's database from SQLite to PostgreSQL, whole or not at all.

The source is held exclusively and only read. The target is written in one transaction: its tables, the
rows, and reading them back; so an interrupted move leaves the target empty. Rows stream: memory does not
grow with them.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Table,
    cast,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from recast.database import Database, DatabaseUnusable
from recast.database.sqlite import CLOCK
from recast.migrations.migrate import (
    check_revision,
    lock_migrations,
    metadata,
    newest,
    one_line,
    run_within,
)

_BATCH = 1000
_REPORT_EVERY = 5000
_DIGEST_BYTES = 16
_MODULUS = 1 << (8 * _DIGEST_BYTES)
_SOURCE = "the source must be a SQLite file: --from sqlite:////absolute/path.db"


class MoveRefused(Exception):
    """Nothing was moved; the reason is one line, for people."""


@dataclass(frozen=True)
class MovedTable:
    """A table as read back: the number of its rows, and their digest in any order, in hexadecimal."""

    name: str
    rows: int
    digest: str


Progress = Callable[[str, int, int], None]
"""Called with a table's name, its rows so far, and its rows in all."""


def move(
    source_url: str, target_url: str, location: str, tables: Iterable[Any], progress: Progress
) -> Sequence[MovedTable]:
    """Copies every row of a service, given its `tables` and migrations (at `location`).

    MoveRefused when the source is in use, is not at the newest revision, or has work under a live lease; when
    the target is not empty; or when the rows read back differ from those written.
    """
    own = metadata(tables)
    try:
        with _source(source_url) as source, _target(target_url) as target:
            _check_revision(source, location)
            _check_leases(source)
            lock_migrations(target)
            _check_empty(target)
            run_within(target, location)
            moved = [_move_table(source, target, table, progress) for table in own.sorted_tables]
            target.commit()  # until here the target is unchanged
    except DBAPIError as problem:
        raise _refusal(problem) from problem
    return moved


def _refusal(problem: DBAPIError) -> MoveRefused:
    if not isinstance(problem.orig, sqlite3.Error):
        return MoveRefused(f"the target cannot be used: {one_line(problem)}")
    if "locked" in str(problem.orig):
        return MoveRefused("the source is in use: stop the service first")
    return MoveRefused(f"the source cannot be read: {one_line(problem)}")


@contextmanager
def _source(url: str) -> Iterator[Connection]:
    """The file, held exclusively: no other process has it open now, or opens it until the end."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise MoveRefused(_SOURCE) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise MoveRefused(_SOURCE)
    if not Path(parsed.database).is_file():
        raise MoveRefused(f"the source {parsed.database} is not there")
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": 0})

    @event.listens_for(engine, "connect")
    def hold(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # as in Database: the driver itself begins no transactions
        # A running service has the file open, with a lock that conflicts with this one.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")

    with engine.connect() as connection:
        yield connection


@contextmanager
def _target(url: str) -> Iterator[Connection]:
    try:
        database = Database(url)
    except DatabaseUnusable as problem:
        raise MoveRefused(f"the target cannot be used: {problem}") from problem
    if database.is_sqlite:
        raise MoveRefused("the target must be PostgreSQL: --to postgresql+psycopg://user:password@host/name")
    try:
        with database.engine.execution_options(is_write=True).connect() as connection:
            yield connection
    finally:
        database.close()


def _check_revision(source: Connection, location: str) -> None:
    if not inspect(source).has_table("alembic_version"):
        raise MoveRefused("the source is no database of a service: it has no table alembic_version")
    found = source.execute(text("SELECT version_num FROM alembic_version")).scalar()
    try:
        check_revision(found, location)
    except DatabaseUnusable as newer:
        raise MoveRefused(f"the source cannot be moved: {newer}") from newer
    if found != newest(location):
        raise MoveRefused(
            f"the source is at revision {found}, and this version's is {newest(location)}: start the service"
            " on it once, which brings it there, and stop it"
        )


def _check_empty(target: Connection) -> None:
    found = inspect(target).get_table_names()
    if found:
        raise MoveRefused(f"the target is not empty, it has the table {min(found)}: give it a new database")


def _check_leases(source: Connection) -> None:
    """No process here has the file open, but a worker elsewhere, or one just killed, may hold a lease."""
    seconds = f"lease_until - {CLOCK}"
    query = f"SELECT verb, target, {seconds} FROM operation WHERE NOT ended AND {seconds} > 0"
    found = source.execute(text(query)).first()
    if found is not None:
        verb, target, left = found
        raise MoveRefused(
            f"a worker has {verb} of {target} for another {left:.1f} s: stop it, or wait until then"
        )


def _move_table(source: Connection, target: Connection, table: Table, progress: Progress) -> MovedTable:
    total = source.execute(select(func.count()).select_from(table)).scalar_one()
    written = _Digest()
    columns = [_writer(column.type, target) for column in table.columns]
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    progress(table.name, 0, total)
    driver: Any = target.connection.driver_connection
    rows = select(*(_read(column) for column in table.columns))
    with driver.cursor() as cursor:
        try:
            with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
                for row in source.execution_options(yield_per=_BATCH).execute(rows):
                    written.add(row)
                    copy.write_row([write(cell) for write, cell in zip(columns, row, strict=True)])
                    if written.rows % _REPORT_EVERY == 0:
                        progress(table.name, written.rows, total)
        except driver.Error as problem:
            raise MoveRefused(f"table {table.name}: {' '.join(str(problem).split())}") from problem
    read = _Digest()
    for row in target.execution_options(yield_per=_BATCH, stream_results=True).execute(select(table)):
        read.add(row)
    if (read.rows, read.value) != (written.rows, written.value):
        raise MoveRefused(
            f"table {table.name}: {written.rows} rows were written, and {read.rows} read back, which differ"
        )
    progress(table.name, total, total)
    return MovedTable(table.name, read.rows, read.value)


def _writer(kind: Any, target: Connection) -> Callable[[Any], Any]:
    """Converts a value of the column's own type for the driver."""
    return kind.dialect_impl(target.dialect).bind_processor(target.dialect) or (lambda value: value)


def _read(column: Any) -> ColumnElement[Any]:
    """A column of the source. Bytes that a migration added have its default, `''`, as a text there."""
    return cast(column, column.type).label(column.name) if isinstance(column.type, LargeBinary) else column


class _Digest:
    """The digest of rows in any order, which differs between the engines: the sum of the rows' digests."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, row: Any) -> None:
        """Adds a row of Python values, which are equal on both engines."""
        self.rows += 1
        digest = hashlib.blake2b(repr(tuple(row)).encode(), digest_size=_DIGEST_BYTES).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS

    @property
    def value(self) -> str:
        """The digest in hexadecimal."""
        return f"{self._sum:0{2 * _DIGEST_BYTES}x}"
