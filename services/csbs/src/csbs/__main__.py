"""`python -m csbs`: settings, app, serve until signalled."""

import uuid
from datetime import UTC, datetime

from csbs.app import App
from csbs.settings import Settings
from recast.rpc.process import configure_logs, read_settings, run


def main() -> None:
    """Runs CSBS in this process."""
    settings = read_settings("csbs", Settings)
    configure_logs(settings)
    run("csbs", settings, App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4())))


if __name__ == "__main__":
    main()
