"""How many statements and commits the whole of a piece of work costs, by service: counted, not timed.

The three services run on a PostgreSQL server that logs every statement. Between the request and the end of
its work each database's log is counted, less what as long a rest costs: workers look for work, too.

python -m tests.bench.load.statements
"""

import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
from google.longrunning import operations_pb2
from sqlalchemy import make_url

from recast.client import SERVICES, Recast, Service
from recast.csbs.v1 import backup_pb2, backup_service_pb2
from recast.ecs.v1 import server_pb2, server_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from recast.stack import LocalStack
from tests.bench import control_path
from tests.harness import disks
from tests.harness.postgresql import PostgresqlServer, running_postgresql

PROJECT = control_path.PROJECT
MIB = 1 << 20
# `@csbs@ LOG:  statement: COMMIT`, `@csbs@ LOG:  execute _pg3_0: SELECT ...`
_LINE = re.compile(r"@(\w+)@ LOG:  (?:statement|execute [^:]*): (\w+)")
_REST_SECONDS = 10.0


class Log:
    """What the server was asked, by database."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server

    def begin(self, url: str) -> None:
        """Has the server log every statement."""
        parts = make_url(url)
        where = f"host={parts.query['host']} port={parts.query['port']} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET log_statement = 'all'")
            connection.execute("ALTER SYSTEM SET log_line_prefix = '@%d@ '")
            connection.execute("SELECT pg_reload_conf()")

    def counted(self, act: Callable[[], object]) -> tuple[float, dict[str, Counter[str]]]:
        """How long it took, and the statements of that time by database and first word."""
        before, begun = len(self._server.log_text()), time.monotonic()
        act()
        seconds = time.monotonic() - begun
        found: dict[str, Counter[str]] = {service: Counter() for service in SERVICES}
        for database, word in _LINE.findall(self._server.log_text()[before:]):
            if database in found:
                found[database]["statements" if word not in {"BEGIN", "COMMIT", "ROLLBACK"} else word] += 1
        return seconds, found


def main() -> None:
    """Counts a backup, an image and a batch of ten servers; prints JSON."""
    with running_postgresql() as server, tempfile.TemporaryDirectory() as folder:
        urls = {service: server.created(service) for service in SERVICES}
        environment = {f"RECAST_{service.upper()}_DATABASE_URL": urls[service] for service in SERVICES}
        log = Log(server)
        log.begin(urls["csbs"])
        with (
            LocalStack(Path(folder) / "stack", environment=environment) as stack,
            stack.client("bench", "operator") as recast,
        ):
            print(json.dumps(_measure(recast, log, Path(folder)), indent=2))


def _measure(recast: Recast, log: Log, folder: Path) -> dict[str, object]:
    source = folder / "system.raw"
    disks.make_system_disk(source, 64 * MIB, 8 * MIB)
    control_path._import(recast, source)
    control_path._make_server(recast, "source", 256 * MIB)
    rest_seconds, rest = log.counted(lambda: time.sleep(_REST_SECONDS))  # what is measured is the rest itself
    report: dict[str, object] = {
        "rest, a second": {
            service: round(sum(rest[service].values()) / rest_seconds, 1) for service in SERVICES
        }
    }
    image = image_service_pb2.CreateImageRequest(
        parent=PROJECT,
        image_id="batch",
        image=image_pb2.Image(display_name="batch"),
        backup=f"{PROJECT}/backups/backup",
        disclaimer_accepted=True,
    )
    batch = server_service_pb2.CreateServersRequest(
        parent=PROJECT,
        server_id="ten",
        server=server_pb2.Server(display_name="ten"),
        count=10,
        image=f"{PROJECT}/images/batch",
    )
    backup = backup_service_pb2.CreateBackupRequest(
        parent=PROJECT, backup_id="backup", backup=backup_pb2.Backup(server=f"{PROJECT}/servers/source")
    )
    works: list[tuple[str, Service, Callable[[], operations_pb2.Operation]]] = [
        ("CreateBackup of one disk", "csbs", lambda: recast.backups.CreateBackup(backup).operation),
        ("CreateImage", "ims", lambda: recast.images.CreateImage(image).operation),
        ("CreateServers of ten", "ecs", lambda: recast.servers.CreateServers(batch).operation),
    ]
    for name, service, begin in works:
        seconds, found = log.counted(lambda s=service, b=begin: recast.wait(b(), s))  # type: ignore[misc]
        report[name] = {"seconds": round(seconds, 2)} | {
            each: {
                "statements": found[each]["statements"],
                "commits": found[each]["COMMIT"],
                "reads": found[each]["ROLLBACK"],
            }
            for each in SERVICES
        }
    return report


if __name__ == "__main__":
    main()
