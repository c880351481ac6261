"""The limit of locks: the smallest durable compare-and-set, through the same driver and settings, by itself.

One transaction changes one row under its version. As in the services, one thread at a time writes to SQLite,
and every thread has its own connection to PostgreSQL. Prints JSON; see `callers.py`.

python bare_writes.py URL THREADS SECONDS FIRST
"""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import make_url

ROWS = 100_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000")


def connect(url: str) -> Any:
    """A connection as the services make it, transactions in the caller's hands."""
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite":
        connection = sqlite3.connect(parts.database or "", timeout=10, isolation_level=None)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection
    return psycopg.connect(
        host=str(parts.query["host"]),
        port=str(parts.query["port"]),
        user=parts.username,
        dbname=parts.database,
        autocommit=True,
    )


def create(url: str) -> None:
    """A table of rows that are only a name, a version and a state."""
    connection = connect(url)
    connection.execute("CREATE TABLE bare (name TEXT PRIMARY KEY, version INTEGER, state TEXT)")
    connection.execute("BEGIN")
    rows = [(f"projects/load/backups/b-{number:07}",) for number in range(ROWS)]
    mark = "?" if is_sqlite(url) else "%s"
    connection.cursor().executemany(f"INSERT INTO bare VALUES ({mark}, 1, 'FREE')", rows)
    connection.execute("COMMIT")
    connection.close()


def is_sqlite(url: str) -> bool:
    """Whether the URL is one of SQLite."""
    return url.startswith("sqlite")


def run(url: str, threads: int, seconds: float, first: int) -> dict[str, object]:
    """Changes rows from `first` on for so long, each thread its own."""
    latencies: list[list[int]] = [[] for _ in range(threads)]
    writer = threading.Lock()
    mark = "?" if is_sqlite(url) else "%s"
    begin = "BEGIN IMMEDIATE" if is_sqlite(url) else "BEGIN"
    change = f"UPDATE bare SET version = version + 1, state = 'HELD' WHERE name = {mark} AND version = {mark}"
    look = f"SELECT version FROM bare WHERE name = {mark}"

    def set_one(connection: Any, name: str) -> None:
        connection.execute(begin)
        version = connection.execute(look, (name,)).fetchone()[0]
        if connection.execute(change, (name, version)).rowcount != 1:
            raise RuntimeError(f"{name} was changed meanwhile")
        connection.execute("COMMIT")

    def locked(connection: Any, name: str) -> None:
        with writer:
            set_one(connection, name)

    act: Callable[[Any, str], None] = locked if is_sqlite(url) else set_one
    barrier = threading.Barrier(threads)
    ends = [0.0] * threads

    def work(number: int) -> None:
        connection = connect(url)
        barrier.wait()
        end = time.monotonic() + seconds
        row = first + number
        while time.monotonic() < end:
            begun = time.perf_counter_ns()
            act(connection, f"projects/load/backups/b-{row % ROWS:07}")
            latencies[number].append((time.perf_counter_ns() - begun) // 1000)
            row += threads
        ends[number] = time.monotonic() - end + seconds
        connection.close()

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    taken = [each for several in latencies for each in several]
    return {"calls": len(taken), "seconds": max(ends), "microseconds": taken}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))))
