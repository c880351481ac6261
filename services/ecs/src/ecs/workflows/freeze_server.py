"""FreezeServer: fixes the content of every disk of a server at one instant (R13).

The host of the disks does it: within the call if it received the call, else as work in its queue.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.domain.freeze import FreezeEvent, FreezeState
from ecs.domain.refusals import FreezeInTheWay, FreezeNotFound
from ecs.domain.server import decide_freeze
from ecs.storage import disks, freezes, servers
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from recast.contracts.times import put_time
from recast.database import Database
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work
from recast.reservations import take


class FreezeServer:
    """The workflow, for a call that was received by a process without the disks."""

    def __init__(self, database: Database, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._host = host
        self._now = now
        self.host = host.name
        """The name of the host of the disks."""

    def run(self, work: Work) -> Message:
        """See the module."""
        request = pb.FreezeServerRequest.FromString(work.request)
        return self.freeze(request, begin(self._database, request, self._now))

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: the caller thaws the server, also after a partial freeze."""

    def freeze(
        self, request: pb.FreezeServerRequest, begun: pb.FreezeServerResponse
    ) -> pb.FreezeServerResponse:
        """Freezes every disk of a recorded freeze, and marks the freeze as done."""
        if begun.HasField("freeze_time"):
            return begun
        answer = pb.FreezeServerResponse()
        answer.CopyFrom(begun)
        with self._database.read() as session:
            names = {disks.load(session, disk.disk).folder: disk.disk for disk in answer.disks}
        with disk_faults(request.server, names):
            self._host.freeze(list(names), request.freeze_id)
        put_time(answer.freeze_time, self._now())
        try:
            return self._end(request, answer)
        except FreezeNotFound:
            self._thaw_disks(answer, request.freeze_id)
            raise

    def _end(
        self, request: pb.FreezeServerRequest, answer: pb.FreezeServerResponse
    ) -> pb.FreezeServerResponse:
        """Marks the freeze as done and gives its answer; FreezeNotFound when it was thawed meanwhile."""
        with self._database.write() as tx:
            freeze = freezes.load(tx.session, request.server, request.freeze_id)
            if freeze.state == FreezeState.FROZEN:
                # By a concurrent duplicate of the request: its instant counts.
                return pb.FreezeServerResponse.FromString(freeze.answer)
            freezes.move(tx, freeze, FreezeEvent.FROZEN)
            freeze.answer = answer.SerializeToString()
            tx.commit()
        return answer

    def _thaw_disks(self, frozen: pb.FreezeServerResponse, freeze_id: str) -> None:
        """Thaws the disks after a concurrent thaw, which may have missed disks that were frozen after it."""
        for disk in frozen.disks:
            with self._database.read() as session:
                row = session.get(DiskRow, disk.disk)
            if row is not None:
                with disk_faults(disk.disk):
                    self._host.disk(row.folder).thaw(freeze_id)


def begin(
    database: Database, request: pb.FreezeServerRequest, now: Callable[[], datetime]
) -> pb.FreezeServerResponse:
    """Records the freeze, or finds it. Its answer has a time once every disk is frozen."""
    with database.write() as tx:
        row = servers.load(tx.session, request.server, lock=True)
        freeze = freezes.find(tx.session, row.name, request.freeze_id)
        thawed = FreezeNotFound(server=row.name, freeze=request.freeze_id)
        if freeze is not None and take(freezes.value_from_row(freeze), request.backup, thawed):
            return pb.FreezeServerResponse.FromString(freeze.answer)
        decide_freeze(servers.value_from_row(tx.session, row))
        if frozen := servers.frozen_with(tx.session, row.name):
            raise FreezeInTheWay(server=frozen.name, backup=frozen.frozen_for)
        answer = pb.FreezeServerResponse()
        for place, disk in disks.attached_to(tx.session, row.name):
            answer.disks.add(
                disk=disk.name,
                role=disks.role(disk),
                position=place.position,
                display_name=disk.display_name,
                size_bytes=disk.size_bytes,
                shared=disk.shared,
                tracked_backup=disk.tracked_backup,
            )
        freezes.add(tx, row.name, request.freeze_id, request.backup, answer, now())
        row.freeze_id, row.frozen_for = request.freeze_id, request.backup
        row.touch(now())
        tx.session.add(row)
        tx.commit()
        return answer
