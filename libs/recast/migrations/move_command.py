"""`python -m csbs move-database --from sqlite:////... --to postgresql+psycopg://...`, in every service."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from recast.migrations.move import MoveRefused, move

NAME = "move-database"


def run_command(service: str, arguments: Sequence[str], tables: Iterable[Any]) -> int:
    """Moves the database of a service by the command line; returns the exit code."""
    given = _parse(service, arguments)
    variable = f"RECAST_{service.upper()}_DATABASE_URL"
    begun = time.monotonic()
    try:
        target = given.to or given.to_file.read_text().strip()
        moved = move(given.source, target, f"{service}.storage:migrations", tables, _Progress())
    except (MoveRefused, OSError) as refusal:
        sys.stderr.write(f"{service}: nothing was moved: {refusal}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{service}: interrupted, nothing was moved\n")
        return 130
    for table in moved:
        sys.stdout.write(f"{table.name:<16} {table.rows:>12,} rows  {table.digest}\n")
    rows, seconds = sum(table.rows for table in moved), time.monotonic() - begun
    sys.stdout.write(
        f"{rows:,} rows in {len(moved)} tables moved, read back and found equal, in {seconds:.1f} s.\n"
        f"The source is as it was. Set {variable} to the target, and start the service.\n"
    )
    return 0


def _parse(service: str, arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog=f"python -m {service} {NAME}",
        description="Moves the service's database from SQLite to PostgreSQL, whole or not at all."
        " The service must be stopped.",
    )
    parser.add_argument(
        "--from", dest="source", required=True, metavar="URL", help="sqlite:////absolute/path.db"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--to", metavar="URL", help="postgresql+psycopg://user:password@host/name; must be empty"
    )
    target.add_argument(
        "--to-file", type=Path, metavar="FILE", help="a file with that URL, for a password's sake"
    )
    return parser.parse_args(arguments)


class _Progress:
    """Prints progress on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, table: str, rows: int, total: int) -> None:
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{table}: {rows:,} of {total:,} rows")
            if rows == total:
                sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
