"""`python -m ims`: settings, app, serve until signalled."""

import sys
import uuid
from datetime import UTC, datetime

from pydantic import ValidationError

from ims.app import App
from ims.settings import Settings
from recast.rpc.process import configure_logs, run


def main() -> None:
    """Runs IMS in this process."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # the required ones come from the environment
    except ValidationError as problems:
        sys.exit(f"ims: settings (RECAST_IMS_*) are missing or wrong\n{problems}")
    configure_logs(settings)
    run("ims", settings, App(settings, lambda: datetime.now(UTC), lambda: str(uuid.uuid4())))


if __name__ == "__main__":
    main()
