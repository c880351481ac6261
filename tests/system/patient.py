"""A copy of a whole installation that a test may damage, while no service runs on it."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast.doctor import Installation, Report, examine

DEMO = "projects/demo"
WEB, IDLE = f"{DEMO}/servers/web", f"{DEMO}/servers/idle"
NIGHTLY, SPARE = f"{DEMO}/backups/nightly", f"{DEMO}/backups/spare"
DEBIAN, SHOP_DATA, WEB_IMAGE = (f"{DEMO}/images/{name}" for name in ("debian", "shop-data", "web-image"))
WEB_SYSTEM, WEB_DATA = f"{DEMO}/disks/web-system", f"{DEMO}/disks/web-data-1"
IDLE_SYSTEM, IDLE_DATA = f"{DEMO}/disks/idle-system", f"{DEMO}/disks/idle-data-1"
LOAD = f"{DEMO}/backups/load-0"
"""The first backup of the server `idle`."""
LOOSE = f"{DEMO}/disks/loose"


@dataclass(frozen=True)
class Patient:
    """The copy under `root`. Its databases' constraints are off: a damage may be anything."""

    root: Path

    @classmethod
    def copy_of(cls, made: Path, root: Path) -> "Patient":
        """Copies an installation. Chunks and bases are linked: to change one, see `write`."""
        shutil.copytree(made / "store", root / "store", copy_function=os.link)
        shutil.copytree(made / "keys", root / "keys")
        shutil.copytree(made / "data", root / "data", copy_function=_link_or_copy)
        return cls(root)

    def examine(
        self, *, deep: bool = False, at_rest: bool = False, pause: Callable[[float], None] = lambda _: None
    ) -> Report:
        """The doctor's report; without a pause before the second check: nothing moves here by itself."""
        return examine(Installation.local(self.root), deep=deep, at_rest=at_rest, pause=pause)

    # Rows.

    def sql(self, service: str, statement: str, *values: Any) -> list[Any]:
        """Runs a statement on a service's database, and gives the rows."""
        with closing(sqlite3.connect(self.root / "data" / f"{service}.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def value(self, service: str, statement: str, *values: Any) -> Any:
        """The one value that a query gives."""
        [(value,)] = self.sql(service, statement, *values)
        return value

    def release_locks(self) -> None:
        """Has nothing hold any backup."""
        self.sql("csbs", "UPDATE image_lock SET state = 'RELEASED'")
        self.sql("csbs", "UPDATE backup SET image = ''")

    def forget_messages(self) -> None:
        """Has the messages of backups and images made of their rows, as before they were stored."""
        self.sql("csbs", "UPDATE backup SET serialized = x''")
        self.sql("ims", "UPDATE image SET serialized = x''")

    def copy_row(self, service: str, table: str, key: str, **changes: Any) -> None:
        """Adds a copy of the first row whose first column is `key`, with some columns changed."""
        columns = [row[1] for row in self.sql(service, f"PRAGMA table_info({table})")]
        found = self.sql(service, f"SELECT * FROM {table} WHERE {columns[0]} = ?", key)[0]
        row = dict(zip(columns, found, strict=True)) | changes
        marks = ", ".join("?" * len(columns))
        self.sql(service, f"INSERT INTO {table} VALUES ({marks})", *row.values())

    def add_work(
        self,
        service: str,
        verb: str,
        target: str,
        *,
        operation_id: str = "new-work",
        state: str = "RUNNING",
        request: bytes = b"",
        steps: dict[str, bytes] | None = None,
    ) -> None:
        """Adds an operation that has not ended, with the steps that it remembers."""
        ended = self.value(service, "SELECT id FROM operation LIMIT 1")
        open_end = {"ended": 0, "response": None, "error": None, "end_time": None}
        columns = {"id": operation_id, "verb": verb, "target": target, "state": state, "request": request}
        self.copy_row(service, "operation", ended, **columns, **open_end)
        for name, result in (steps or {}).items():
            self.sql(service, "INSERT INTO operation_step VALUES (?, ?, ?)", operation_id, name, result)

    # Files.

    @property
    def host(self) -> Path:
        """The data folder of ECS."""
        return self.root / "data" / "ecs"

    def folder(self, disk: str) -> Path:
        """The folder of a disk."""
        return self.host / "disks" / self.value("ecs", "SELECT folder FROM disk WHERE name = ?", disk)

    def layer(self, disk: str) -> Path:
        """The layer beneath a disk's active one."""
        [layer] = self.folder(disk).glob("layer-*")
        return layer

    def base(self, disk: str) -> Path:
        """The base that a disk stands on."""
        name = self.value("ecs", "SELECT base FROM disk WHERE name = ?", disk)
        return self.host / "bases" / f"{name}.raw"

    def index(self, backup: str) -> Path:
        """The index of a backup's system disk, which has a freeze's id in its name."""
        freeze = self.value("ecs", "SELECT freeze_id FROM freeze WHERE backup = ?", backup)
        return self.root / "store" / "csbs" / "demo" / "indexes" / f"{freeze}-system"

    def chunk(self, service: str) -> Path:
        """Some chunk."""
        return min((self.root / "store" / service / "demo" / "chunks").glob("*/*"))

    def flip(self, path: Path, offset: int = -1) -> None:
        """Flips the bits of one byte of a file, which becomes this copy's own."""
        content = bytearray(path.read_bytes())
        content[offset] ^= 0xFF
        self.write(path, bytes(content))

    def write(self, path: Path, content: bytes) -> None:
        """Gives a file other content; it becomes this copy's own, with the same mode."""
        mode = path.stat().st_mode
        path.unlink()
        path.write_bytes(content)
        path.chmod(mode)


def _link_or_copy(source: str, target: str) -> None:
    """Links bases: they are large, and are not written to."""
    if source.endswith(".raw"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)
