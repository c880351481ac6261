"""RestoreDisks: brings the contents into the cache, then replaces each disk by an overlay on its base.

The server is RESTORING meanwhile. All bases are in the cache before the first disk is replaced; after that
the restore is finished, not undone.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.domain.batch import base_name
from ecs.domain.server import ServerEvent
from ecs.storage import disks, servers
from ecs.storage.host import Host, disk_faults
from ecs.workflows.disk_progress import DiskProgress
from ecs.workflows.failing import DOMAIN
from recast.database import Database, Transaction
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work
from recast.rpc.status import status_from_refusal


class RestoreDisks:
    """The workflow."""

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        request = pb.RestoreDisksRequest.FromString(work.request)
        progress = DiskProgress(work)
        wanted = {base_name(content.index.digest) for content in request.content.disks}
        for content in request.content.disks:
            report = progress.of(content.id, content.size_bytes)
            with disk_faults(content.id):
                self._host.ensure_base(request.content.store, content, report, wanted)
        work.transact("begin", lambda _tx: None, decides=True)
        mapping = {each.content_disk: each.disk for each in request.mappings}
        bases = {mapping[content.id]: base_name(content.index.digest) for content in request.content.disks}
        for name, base in bases.items():
            work.step(f"write {name}", lambda name=name, base=base: self._replace(name, base))  # type: ignore[misc]
        event = ServerEvent.UP if request.power_on else ServerEvent.DOWN
        work.transact("end", lambda tx: self._end(tx, request.server, bases, event))
        with self._database.read() as session:
            return servers.current(session, request.server)

    def undo(self, work: Work, error: Refusal) -> None:
        """Leaves the server STOPPED if no disk was replaced; else in ERROR, partly restored."""
        server = pb.RestoreDisksRequest.FromString(work.request).server
        event = ServerEvent.FAILED if work.done("begin") else ServerEvent.DOWN
        work.transact("undo:end", lambda tx: self._end(tx, server, {}, event, error))

    def _replace(self, name: str, base: str) -> None:
        with self._database.read() as session:
            row = disks.load(session, name)
        with disk_faults(name):
            self._host.replace(row.folder, row.size_bytes, base)

    def _end(
        self,
        tx: Transaction,
        server: str,
        bases: dict[str, str],
        event: ServerEvent,
        error: Refusal | None = None,
    ) -> None:
        for name, base in bases.items():
            disk = disks.load(tx.session, name, lock=True)
            disk.base, disk.tracked_backup = base, ""
            disk.touch(self._now())
            tx.session.add(disk)
        row = servers.load(tx.session, server, lock=True)
        is_failed = error is not None and event is ServerEvent.FAILED
        row.error = status_from_refusal(error, DOMAIN).SerializeToString() if error and is_failed else None
        servers.move(tx, row, event, self._now())
