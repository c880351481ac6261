"""`python -m ecs`: settings, app, serve until signalled."""

import uuid
from datetime import UTC, datetime

from ecs.app import App
from ecs.settings import Settings
from recast.rpc.process import configure_logs, read_settings, run


def main() -> None:
    """Runs ECS in this process."""
    settings = read_settings("ecs", Settings)
    configure_logs(settings)
    run("ecs", settings, App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4())))


if __name__ == "__main__":
    main()
