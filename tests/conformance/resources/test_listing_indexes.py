"""Lists of every service: each page is found by an index of its database."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text
from sqlmodel import Session

from csbs.storage import backups
from csbs.storage.tables import BackupRow
from csbs.workflows import create_backup
from ecs.storage import disks, servers
from ecs.storage.tables import DiskRow, ServerRow
from ims.storage import images
from ims.storage.tables import ImageRow
from recast.database import Database
from recast.ecs.v1 import backup_source_service_pb2
from recast.migrations.migrate import migrate

LISTS: dict[str, tuple[str, type[Any], Any]] = {
    "backups": ("csbs", BackupRow, backups.LISTING),
    "images": ("ims", ImageRow, images.LISTING),
    "servers": ("ecs", ServerRow, servers.LISTING),
    "disks": ("ecs", DiskRow, disks.LISTING),
}
ORDERS = {
    "backups": ["create_time desc", "create_time", "display_name", "display_name desc", "size_bytes"],
    "images": ["create_time desc", "display_name", "size_bytes desc"],
    "servers": ["create_time desc", "display_name"],
    "disks": ["create_time desc", "display_name", "size_bytes"],
}
FILTERS = {
    "backups": ['state = "AVAILABLE"', 'server = "projects/demo/servers/s"'],
    "images": ['state = "NORMAL"', 'kind = "FULL_SERVER"', 'source_backup = "projects/demo/backups/b"'],
    "servers": ['state = "RUNNING"', 'image = "projects/demo/images/i"'],
    "disks": ['state = "AVAILABLE"', 'role = "DATA"'],
}
STATES = {"backups": "AVAILABLE", "images": "NORMAL", "servers": "RUNNING", "disks": "AVAILABLE"}
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def rows(kind: str, table: type[Any]) -> Iterator[dict[str, object]]:
    """Twelve rows that are alike, but for their names."""
    fixed = {
        "project": "demo",
        "state": STATES[kind],
        "server": "projects/demo/servers/s",
        "kind": "FULL_SERVER",
        "source_backup": "projects/demo/backups/b",
        "image": "projects/demo/images/i",
        "role": "DATA",
        "display_name": "same",
        "size_bytes": 1,
        "version": 1,
        "create_time": BEGIN,
        "update_time": BEGIN,
    }
    for number in range(12):
        row = table.model_validate(
            {**fixed, "name": f"projects/demo/{kind}/{number:02}", "folder": f"folder-{number}"}
        )
        yield row.model_dump()


@pytest.fixture(params=LISTS)
def kind(request: pytest.FixtureRequest) -> str:
    """A list's name."""
    name: str = request.param
    return name


@pytest.fixture
def session(kind: str, tmp_path: Path) -> Iterator[Session]:
    """A service's own tables with rows of that kind."""
    service, table, _ = LISTS[kind]
    database = Database(f"sqlite:///{tmp_path}/{service}.db")
    migrate(database, f"{service}.storage:migrations")
    with database.write() as tx:
        if kind == "images":  # its rows are of one backup, to be alike
            tx.session.connection().execute(text("DROP INDEX image_of_backup"))
        tx.session.connection().execute(insert(table), list(rows(kind, table)))
        tx.commit()
    with database.read() as session:
        yield session
    database.close()


def pages(session: Session, kind: str, filter_text: str, order_by: str) -> tuple[list[str], list[str]]:
    """The names on all pages, and SQLite's plan of the query of the second page."""
    _, table, listing = LISTS[kind]
    query: list[tuple[str, Any]] = []

    def remember(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        query.append((statement, values))

    bind = session.connection()
    event.listen(bind, "before_cursor_execute", remember)
    names: list[str] = []
    token = ""
    for _ in range(4):
        page = listing.page(
            session,
            table.project == "demo",
            scope=kind,
            filter_text=filter_text,
            order_by=order_by,
            page_size=4,
            page_token=token,
        )
        names += [row.name for row in page.rows]
        token = page.next_token
        if not token:
            break
    event.remove(bind, "before_cursor_execute", remember)
    statement, values = query[1]
    plan = bind.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    return names, [row[3] for row in plan]


def test_every_order_goes_to_its_place_in_an_index(session: Session, kind: str) -> None:
    """A page of any order is found by its position, and nothing is sorted for it."""
    for order_by in ORDERS[kind]:
        names, plan = pages(session, kind, "", order_by)
        assert len(set(names)) == len(names) == 12
        assert len(plan) == 1
        assert f"({order_by.split(' ')[0]},name)" in plan[0]


def test_every_indexed_filter_goes_to_its_place_in_an_index(session: Session, kind: str) -> None:
    """A page of a filtered list is found by the filter and its position, and nothing is sorted for it."""
    for filter_text in FILTERS[kind]:
        names, plan = pages(session, kind, filter_text, "")
        assert len(set(names)) == len(names) == 12
        assert len(plan) == 1
        assert f"project=? AND {filter_text.split(' ')[0]}=? AND (create_time,name)<(?,?)" in plan[0]


@pytest.mark.parametrize("query", ["unfinished", "newest"])
def test_a_servers_backups_are_found_by_an_index(postgresql_database: Database, query: str) -> None:
    """The first queries of a new backup go to its server's backups, and do not read all backups.

    On PostgreSQL: an index of texts by their bytes is none to a comparison by the locale.
    """
    migrate(postgresql_database, "csbs.storage:migrations")
    statements: list[tuple[str, Any]] = []
    row = BackupRow(name="b", project="demo", server="s", state="CREATING", display_name="b")
    others = [
        {**alike, "name": f"{alike['name']}-{number}", "server": f"s{number}"}
        for number in range(200)
        for alike in rows("backups", BackupRow)
    ]
    with postgresql_database.write() as tx:
        tx.session.connection().execute(insert(BackupRow), others)
        tx.session.connection().exec_driver_sql("ANALYZE backup")
        tx.commit()
    disk = backup_source_service_pb2.FrozenDisk(disk="projects/demo/disks/d")
    with postgresql_database.read() as session:
        bind = session.connection()
        event.listen(bind, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
        if query == "unfinished":
            backups.unfinished_backup_of(session, "demo", "s")
        else:
            create_backup._parent(session, row, disk)
        statement, values = statements[-1]
        plan = [line for (line,) in bind.exec_driver_sql(f"EXPLAIN {statement}", values)]
    assert any("Index Cond" in line for line in plan), plan
    assert not any("Seq Scan" in line for line in plan), plan
