"""Starts of a service whose database is wrong, unreachable or late."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text
from structlog.typing import EventDict

from recast.database import Database, DatabaseUnusable
from recast.migrations.migrate import migrate, newest
from recast.rpc.identity import create_keys
from tests.harness.postgresql import PostgresqlServer, running_postgresql

CSBS, IMS = "csbs.storage:migrations", "ims.storage:migrations"


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and sends nothing, as a server whose host froze."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The settings that CSBS needs to start, but for its database."""
    create_keys(tmp_path)
    (tmp_path / "store.key").write_bytes(bytes(32))
    own = {
        "ADDRESS": "127.0.0.1:0",
        "STORE_URL": (tmp_path / "store").as_uri(),
        "STORE_KEY_FILE": str(tmp_path / "store.key"),
        "TRUSTED_KEYS_FILE": str(tmp_path / "trusted.json"),
        "SIGNING_KEY_FILE": str(tmp_path / "csbs.pem"),
    }
    return dict(os.environ) | {f"RECAST_CSBS_{name}": value for name, value in own.items()}


def start(environment: dict[str, str], *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Starts CSBS, which is expected to end."""
    own = {f"RECAST_CSBS_{name}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, *(command or ("-m", "csbs"))],
        env=environment | own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense", "its URL cannot be read: write `sqlite:///"),
        ("postgresql+psycopg://u:secret@host:port/x", "its URL cannot be read: write `sqlite:///"),
        ("postgresql://u:secret@host/x", "`postgresql` is not known here: write `sqlite:///"),
        ("mysql://u:secret@host/x", "`mysql` is not known here: write `sqlite:///"),
        ("sqlite:////nowhere/x.db", "unable to open database file"),
    ],
)
def test_a_wrong_url_is_an_error_of_one_line(environment: dict[str, str], url: str, problem: str) -> None:
    """A service whose database's URL is wrong ends at once with one line, without the password in it."""
    ended = start(environment, DATABASE_URL=url)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"csbs: the database cannot be used: {problem}")
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")
    assert "secret" not in ended.stderr


def test_a_file_of_the_url_that_is_not_there_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    """Wrong settings are named one a line, without their values."""
    ended = start(environment, DATABASE_URL_FILE=str(tmp_path / "absent"), DATABASE_URL="secret")
    assert ended.returncode == 1
    assert "csbs: RECAST_CSBS_*: Value error, database_url_file cannot be read: " in ended.stderr
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")
    assert "secret" not in ended.stderr


def test_a_missing_driver_is_named(environment: dict[str, str]) -> None:
    """Without PostgreSQL's driver a service on PostgreSQL names the package to install."""
    without = (
        "import sys, runpy; sys.modules['psycopg'] = None; runpy.run_module('csbs', run_name='__main__')"
    )
    ended = start(environment, "-c", without, DATABASE_URL="postgresql+psycopg://u:secret@host/x")
    assert ended.returncode == 1
    wanted = (
        "csbs: the database cannot be used: PostgreSQL's driver is not there: install the package psycopg"
    )
    assert ended.stderr.startswith(wanted)
    assert ended.stderr.count("\n") == 1


def test_a_wrong_password_ends_the_start(environment: dict[str, str], postgresql: PostgresqlServer) -> None:
    """A password that is refused ends the start at once: waiting would not help."""
    url = postgresql.guarded("mallory", "right").replace(":right@", ":wrong@")
    ended = start(environment, DATABASE_URL=url)
    assert ended.returncode == 1
    assert 'password authentication failed for user "mallory"' in ended.stderr
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")
    assert "wrong" not in ended.stderr


def test_a_database_that_is_not_there_ends_the_start(
    postgresql: PostgresqlServer, opened: Callable[[str], Database]
) -> None:
    """A server that does not have the database is not waited for."""
    url = postgresql.emptied().replace("/postgres?", "/absent?")
    with pytest.raises(DatabaseUnusable, match=r'database "absent" does not exist$'):
        migrate(opened(url), CSBS)


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_an_unreachable_server_is_waited_for_within_a_bound(
    kind: str, silent: str, opened: Callable[[str], Database]
) -> None:
    """A server that refuses connections, or sends nothing, is tried again until the time is over."""
    where = silent if kind == "silent" else "127.0.0.1:1"
    database = opened(f"postgresql+psycopg://nobody@{where}/x?connect_timeout=2")
    begun = time.monotonic()
    with pytest.raises(DatabaseUnusable) as caught:
        migrate(database, CSBS, wait_seconds=1)
    assert time.monotonic() - begun < 20
    assert str(caught.value).startswith("it did not answer within 1 s: connection ")
    assert "\n" not in str(caught.value)


def test_a_database_that_is_still_coming_up_is_waited_for(
    opened: Callable[[str], Database], tmp_path: Path
) -> None:
    """A service that starts before its database begins as soon as that answers."""
    with running_postgresql() as server:
        url = server.created("late")
        server.stop()
        waiting = threading.Event()

        def noticed(_logger: object, _name: str, entry: EventDict) -> EventDict:
            if entry["event"] == "waiting for the database":
                waiting.set()
            raise structlog.DropEvent

        def start_late() -> None:
            assert waiting.wait(30)
            server.start_again()

        before = structlog.get_config()
        structlog.configure(processors=[noticed])
        late = threading.Thread(target=start_late)
        late.start()
        try:
            migrate(opened(url), CSBS, wait_seconds=60)
        finally:
            late.join()
            structlog.configure(**before)
        assert waiting.is_set()


def test_a_database_of_a_newer_version_is_refused(
    sqlite_database: Database, postgresql_database: Database
) -> None:
    """A service does not work on tables that it does not know."""
    for database in (sqlite_database, postgresql_database):
        migrate(database, CSBS)
        with database.write() as tx:
            tx.session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
            tx.commit()
        with pytest.raises(DatabaseUnusable, match=r"at revision 9999, .* run the newer version"):
            migrate(database, CSBS)


def test_another_service_s_database_is_refused(
    sqlite_database: Database, postgresql_database: Database
) -> None:
    """Two services do not share a database: revisions are numbers, and would pass for each other's."""
    for database in (sqlite_database, postgresql_database):
        migrate(database, IMS)
        with database.write() as tx:
            newer = text("UPDATE alembic_version SET version_num = :number")
            tx.session.connection().execute(newer, {"number": newest(CSBS)})
            tx.commit()
        with pytest.raises(DatabaseUnusable, match="backup"):
            migrate(database, CSBS)


def test_a_user_without_the_right_to_create_tables_is_refused(
    postgresql: PostgresqlServer, opened: Callable[[str], Database]
) -> None:
    """Since PostgreSQL 15 only a database's owner makes tables in it; any other user's start names that."""
    with pytest.raises(
        DatabaseUnusable, match=r"tables could not be made.*permission denied for schema public"
    ):
        migrate(opened(postgresql.guarded("guest", "right")), CSBS)


def test_a_file_that_is_no_database_is_refused(opened: Callable[[str], Database], tmp_path: Path) -> None:
    """A file of something else is left alone."""
    (tmp_path / "x.db").write_text("something else, and longer than a header" * 100)
    with pytest.raises(DatabaseUnusable, match="file is not a database"):
        migrate(opened(f"sqlite:///{tmp_path}/x.db"), CSBS)
