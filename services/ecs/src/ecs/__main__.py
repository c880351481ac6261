"""`python -m ecs`: settings, app, serve until signalled."""

import sys
import uuid
from datetime import UTC, datetime

from pydantic import ValidationError

from ecs.app import App
from ecs.settings import Settings
from recast.rpc.process import configure_logs, run


def main() -> None:
    """Runs ECS in this process."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # the required ones come from the environment
    except ValidationError as problems:
        sys.exit(f"ecs: settings (RECAST_ECS_*) are missing or wrong\n{problems}")
    configure_logs(settings)
    run("ecs", settings, App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4())))


if __name__ == "__main__":
    main()
