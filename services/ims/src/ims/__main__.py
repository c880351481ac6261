"""`python -m ims`: settings, app, serve until signalled."""

import uuid
from datetime import UTC, datetime

from ims.app import App
from ims.settings import Settings
from recast.rpc.process import configure_logs, read_settings, run


def main() -> None:
    """Runs IMS in this process."""
    settings = read_settings("ims", Settings)
    configure_logs(settings)
    run("ims", settings, App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4())))


if __name__ == "__main__":
    main()
