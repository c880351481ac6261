"""Reads each service's database, in one snapshot, with its own statements."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar, get_type_hints
from urllib.parse import quote

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Float,
    LargeBinary,
    Select,
    String,
    TextClause,
    column,
    create_engine,
    func,
    not_,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from recast.doctor.installation import Installation, Unreadable
from recast.doctor.rows import (
    Attachment,
    Backup,
    Disk,
    EndedHold,
    EndedPin,
    Freeze,
    Hold,
    Host,
    Image,
    Lock,
    Operation,
    Pin,
    Server,
    Step,
    Use,
)
from recast.doctor.work import Work

R = TypeVar("R")
_WAIT_SECONDS = 10.0  # as long as the services wait for a locked SQLite file
_TYPES: Mapping[Any, Any] = {
    str: String(),
    int: BigInteger(),
    bool: Boolean(),
    float: Float(),
    bytes: LargeBinary(),
    bytes | None: LargeBinary(),
    datetime: DateTime(),
    datetime | None: DateTime(),
}


# A lock was released that has a token beyond the last one of its backup. A backup that was made anew counts
# its tokens from the beginning: older tombstones are of another one.
_HAS_AN_UNKNOWN_TOKEN = text(
    "state = 'RELEASED' AND EXISTS (SELECT 1 FROM backup WHERE backup.name = image_lock.backup"
    " AND backup.lock_sequence < image_lock.fencing_token AND backup.create_time <= image_lock.create_time)"
)


@dataclass(frozen=True)
class Csbs:
    """The rows of CSBS."""

    work: Work
    backups: Mapping[str, Backup]
    locks: list[Lock]
    released: list[Lock]
    """Tombstones of locks that were taken on a backup of today, with a token that it did not give."""


@dataclass(frozen=True)
class Ims:
    """The rows of IMS."""

    work: Work
    images: Mapping[str, Image]
    pins: list[Pin]
    ended_pins: list[EndedPin]
    """Tombstones under the ids of pins in force."""


@dataclass(frozen=True)
class Ecs:
    """The rows of ECS."""

    work: Work
    servers: Mapping[str, Server]
    disks: Mapping[str, Disk]
    attachments: list[Attachment]
    holds: list[Hold]
    freezes: list[Freeze]
    ended_holds: list[EndedHold]
    """Tombstones under the ids of holds in force."""
    hosts: list[Host]


@dataclass(frozen=True)
class Snapshots:
    """The three databases, each at its own instant."""

    csbs: Csbs
    ims: Ims
    ecs: Ecs


def read_databases(installation: Installation) -> Snapshots:
    """Reads all three. Unreadable when one is missing, or has an unknown schema."""
    return Snapshots(
        read_csbs(installation.csbs_database),
        read_ims(installation.ims_database),
        read_ecs(installation.ecs_database),
    )


def read_csbs(url: str) -> Csbs:
    """Reads the database of CSBS. Of the tombstones of locks only those with a wrong token are read."""
    with _reading("csbs", url) as connection:
        locks = _rows(connection, "image_lock", Lock, column("state") != "RELEASED")
        released = _rows(connection, "image_lock", Lock, _HAS_AN_UNKNOWN_TOKEN)
        return Csbs(_work(connection), _named(_rows(connection, "backup", Backup)), locks, released)


def read_ims(url: str) -> Ims:
    """Reads the database of IMS."""
    with _reading("ims", url) as connection:
        images = _named(_rows(connection, "image", Image))
        ended = column("pin_id").in_(select(column("pin_id")).select_from(table("image_pin")))
        return Ims(
            _work(connection),
            images,
            _rows(connection, "image_pin", Pin),
            _rows(connection, "ended_pin", EndedPin, ended),
        )


def read_ecs(url: str) -> Ecs:
    """Reads the database of ECS. Tombstones of freezes are read: they identify the freeze of a layer."""
    with _reading("ecs", url) as connection:
        ended = column("hold_id").in_(select(column("hold_id")).select_from(table("image_hold")))
        return Ecs(
            _work(connection),
            _named(_rows(connection, "server", Server)),
            _named(_rows(connection, "disk", Disk)),
            _rows(connection, "attachment", Attachment),
            _rows(connection, "image_hold", Hold),
            _rows(connection, "freeze", Freeze),
            _rows(connection, "ended_hold", EndedHold, ended),
            _rows(connection, "host", Host),
        )


@contextmanager
def _reading(service: str, url: str) -> Iterator[Connection]:
    """A connection in one read-only transaction."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        # Read-only by SQLite's own mode, which makes no missing file.
        uri = f"file:{quote(str(parsed.database))}?mode=ro"
        engine = create_engine(
            "sqlite://",
            poolclass=NullPool,
            creator=lambda: sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_WAIT_SECONDS),
        )
        snapshot = engine
    else:
        engine = create_engine(parsed, poolclass=NullPool)
        snapshot = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    try:
        with snapshot.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else each statement would have its own snapshot
            yield connection
    except SQLAlchemyError as problem:
        reason = str(getattr(problem, "orig", None) or problem).partition("\n")[0]
        raise Unreadable(f"the database of {service} ({parsed!r}) cannot be read: {reason}") from problem
    finally:
        engine.dispose()


def _work(connection: Connection) -> Work:
    """All operations that have not ended, inconsistent ended ones, and leftovers of deleted ones.

    An installation has many that succeeded; they are not read.
    """
    has_response, has_error = column("response").is_not(None), column("error").is_not(None)
    ended = column("ended", Boolean())
    odd = or_(
        not_(ended),
        column("state").not_in(("SUCCEEDED", "FAILED", "CANCELLED")),
        column("end_time").is_(None),
        has_response != (column("state") == "SUCCEEDED"),
        has_error == has_response,
        func.length(column("request")) > 0,
        column("lease_until") > 0,
    )
    filled = {"has_response": has_response, "has_error": has_error}
    operations = _rows(connection, "operation", Operation, odd, filled)
    live: Select[Any] = select(column("id")).select_from(table("operation")).where(not_(ended))
    known: Select[Any] = select(column("id")).select_from(table("operation"))
    owner = column("operation_id", String())
    return Work(
        operations,
        steps=_rows(connection, "operation_step", Step, owner.in_(live)),
        lost_steps=_rows(connection, "operation_step", Step, owner.not_in(known)),
        uses=_rows(connection, "operation_use", Use, owner.in_(live)),
        lost_uses=_rows(connection, "operation_use", Use, owner.not_in(live)),
    )


def _rows(
    connection: Connection,
    name: str,
    row: type[R],
    where: ColumnElement[bool] | TextClause | None = None,
    computed: Mapping[str, ColumnElement[Any]] | None = None,
) -> list[R]:
    """The rows of a table as values of a class of `rows`; `computed` are the fields without a column."""
    hints = get_type_hints(row)
    columns = [
        (computed or {}).get(each.name, column(each.name, _TYPES[hints[each.name]])).label(each.name)
        for each in fields(row)  # type: ignore[arg-type]  # a dataclass
    ]
    query = select(*columns).select_from(table(name))
    return [row(*found) for found in connection.execute(query if where is None else query.where(where))]


def _named(rows: list[R]) -> Mapping[str, R]:
    return {row.name: row for row in rows}  # type: ignore[attr-defined]
