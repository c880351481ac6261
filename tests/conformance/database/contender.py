"""One of several processes that want the same change of the same row: `contender.py URL WAY ROUNDS`.

In every round each of its threads tries to bring the row's count from `n` to `n + 1`. It prints, a line each,
the rounds that it won.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import text

from recast.database import Database

THREADS = 4


def by_guard(connection: Any, expected: int) -> bool:
    """Compares in the statement that sets."""
    change = text("UPDATE contended SET count = count + 1 WHERE name = 'a' AND count = :expected")
    return bool(connection.execute(change, {"expected": expected}).rowcount == 1)


def by_lock(connection: Any, expected: int) -> bool:
    """Reads for update, compares, sets. SQLite's write has the whole file to itself."""
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    if (
        connection.execute(text(f"SELECT count FROM contended WHERE name = 'a'{lock}")).scalar_one()
        != expected
    ):
        return False
    connection.execute(text("UPDATE contended SET count = :new"), {"new": expected + 1})
    return True


WAYS = {"guard": by_guard, "lock": by_lock}


def main(url: str, way: str, rounds: int) -> None:
    """Contends; begins when a line comes in."""
    database = Database(url)
    together = threading.Barrier(THREADS)

    def contend(_: int) -> list[int]:
        won = []
        for expected in range(rounds):
            together.wait()
            with database.write() as tx:
                if WAYS[way](tx.session.connection(), expected):
                    tx.commit()
                    won.append(expected)
        return won

    with database.read() as session:
        session.connection()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as pool:
        for won in pool.map(contend, range(THREADS)):
            sys.stdout.writelines(f"{each}\n" for each in won)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
