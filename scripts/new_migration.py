"""Writes the next migration: `python scripts/new_migration.py csbs "what changes"`.

Compares the code's tables with those of the migrations so far, on an empty SQLite database.
"""

import importlib
import sys
import tempfile
from pathlib import Path

from alembic import command

from recast.database import Database
from recast.migrations.migrate import configuration, migrate


def main(service: str, message: str) -> None:
    """Writes the file, for the developer to read and correct."""
    location = f"{service}.storage:migrations"
    package = importlib.import_module(f"{service}.storage")
    versions = Path(package.__path__[0]) / "migrations" / "versions"
    versions.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        if any(versions.glob("*.py")):
            migrate(database, location)
        config = configuration(location)
        number = len(list(versions.glob("[0-9]*.py"))) + 1
        with database.engine.execution_options(is_write=True).connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")


if __name__ == "__main__":
    main(*sys.argv[1:])
