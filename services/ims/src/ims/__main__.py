"""`python -m ims` runs the service; `python -m ims move-database` moves its database to PostgreSQL."""

import sys
import uuid
from datetime import UTC, datetime

from ims.app import App
from ims.settings import Settings
from ims.storage.tables import TABLES
from recast.database import DatabaseUnusable
from recast.migrations import move_command
from recast.rpc.process import configure_logs, read_settings, run


def main() -> None:
    """Runs IMS in this process, or moves its database."""
    if sys.argv[1:2] == [move_command.NAME]:
        sys.exit(move_command.run_command("ims", sys.argv[2:], TABLES))
    settings = read_settings("ims", Settings)
    configure_logs(settings)
    try:
        app = App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    except DatabaseUnusable as problem:
        sys.exit(f"ims: the database cannot be used: {problem}")
    run("ims", settings, app)


if __name__ == "__main__":
    main()
