"""`python -m ecs` runs the service; `python -m ecs move-database` moves its database to PostgreSQL."""

import sys
import uuid
from datetime import UTC, datetime

from ecs.app import App
from ecs.settings import Settings
from ecs.storage.tables import TABLES
from recast.database import DatabaseUnusable
from recast.migrations import move_command
from recast.rpc.process import configure_logs, read_settings, run


def main() -> None:
    """Runs ECS in this process, or moves its database."""
    if sys.argv[1:2] == [move_command.NAME]:
        sys.exit(move_command.run_command("ecs", sys.argv[2:], TABLES))
    settings = read_settings("ecs", Settings)
    configure_logs(settings)
    try:
        app = App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    except DatabaseUnusable as problem:
        sys.exit(f"ecs: the database cannot be used: {problem}")
    run("ecs", settings, app)


if __name__ == "__main__":
    main()
