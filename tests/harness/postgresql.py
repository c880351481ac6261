"""A PostgreSQL server of a test run's own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

_PORT = 5432  # only names the socket's file
_GUARDED = "guarded"  # the role of users that must give a password
_SETTINGS = ("-c listen_addresses=''", "-c max_connections=200")
_FORGETFUL = (
    "-F",  # a test's data need not survive a power cut
    "-c synchronous_commit=off",
    "-c full_page_writes=off",
)


def _program(name: str) -> str:
    """A program of PostgreSQL; Debian installs them outside the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        pytest.fail(
            f"there is no `{name}`: these tests need a PostgreSQL server; install the package `postgresql`"
        )
    return found


class PostgresqlServer:
    """A server on a socket in a folder of its own. PostgreSQL refuses root, which then becomes `postgres`.

    `durable`: commits survive a power cut, as by PostgreSQL's default.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._settings = _SETTINGS if durable else (*_SETTINGS, *_FORGETFUL)
        self._user = "postgres" if os.geteuid() == 0 else None

    def _run(self, name: str, *arguments: str) -> None:
        program = [_program(name), *arguments]
        output = self._folder / "output"  # no pipe: the server would inherit it
        with output.open("wb") as written:
            done = subprocess.run(
                program,
                user=self._user,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            log = self._folder / "log"
            pytest.fail(f"{name} failed: {output.read_text()}{log.read_text() if log.exists() else ''}")

    def start(self) -> None:
        """Makes the server's files and starts it."""
        if self._user:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        # An order of texts that is not that of their bytes, as a server in use has it.
        locale = ("-E", "UTF8", "--no-locale", "--locale-provider=icu", "--icu-locale=en-US")
        self._run("initdb", "-D", data, "-N", "-U", "postgres", "-A", "trust", *locale)
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all +{_GUARDED} scram-sha-256\n{rules.read_text()}")
        self.start_again()
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(_GUARDED)))

    def start_again(self) -> None:
        """Starts it after `stop`, with its data."""
        data = str(self._folder / "data")
        options = " ".join((*self._settings, f"-k {self._folder}", f"-p {_PORT}"))
        self._run("pg_ctl", "start", "-w", "-D", data, "-l", str(self._folder / "log"), "-o", options)

    def log_text(self) -> str:
        """The server's log so far."""
        return (self._folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends it at once."""
        self._run("pg_ctl", "stop", "-m", "immediate", "-D", str(self._folder / "data"))

    def emptied(self) -> str:
        """The URL of the server's database, emptied: to make a new one for each test takes longer."""
        with self._connect() as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self._url("postgres")

    def created(self, name: str) -> str:
        """The URL of a new database."""
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def guarded(self, user: str, password: str) -> str:
        """The URL of a new database, for a new user that must give the password and owns nothing there."""
        with self._connect() as connection:
            role = "CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}"
            names = sql.Identifier(user), sql.Literal(password), sql.Identifier(_GUARDED)
            connection.execute(sql.SQL(role).format(*names))
        return self.created(f"of_{user}").replace("postgres@", f"{user}:{password}@")

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(f"host={self._folder} port={_PORT} user=postgres", autocommit=True)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}&port={_PORT}"


@contextmanager
def running_postgresql(*, durable: bool = False) -> Iterator[PostgresqlServer]:
    """A server of the caller's own."""
    # Not pytest's own folder: that one is closed to `postgres`, and too long for a socket's name.
    with tempfile.TemporaryDirectory(prefix="recast-postgresql-") as folder:
        server = PostgresqlServer(Path(folder), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop()
