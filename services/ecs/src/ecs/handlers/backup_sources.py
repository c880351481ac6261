"""BackupSourceService, for CSBS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.domain.freeze import FreezeEvent, check_frozen
from ecs.domain.refusals import DiskNotAttached, HostUnreachable
from ecs.domain.restore import FittingDisk, check_restore
from ecs.domain.server import ServerEvent, check_free, check_thawed
from ecs.storage import disks, freezes, hosts, servers
from ecs.storage.tables import DiskRow, ServerRow
from ecs.workflows.freeze_server import FreezeServer, begin
from recast.content.v1 import content_pb2
from recast.contentstore import PeerStores
from recast.database import Database, Transaction
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.ecs.v1 import backup_source_service_pb2_grpc as grpc_pb
from recast.operations import OperationRow, Operations, Waits, operation_from_row
from recast.resources import commit_change, find_replay
from recast.rpc.call import Call, enter_project
from recast.rpc.names import parse_name
from recast.rpc.status import refusal_from_status

# Well below the callers' deadline; they repeat the call.
_FREEZE_SECONDS = 4.0


@dataclass(frozen=True)
class BackupSources(grpc_pb.BackupSourceServiceServicer):
    """The RPCs, and the collaborators that they need.

    `freezing` freezes the disks of this process; None in a process without disks.
    """

    database: Database
    operations: Operations
    waits: Waits
    freezing: FreezeServer | None
    stores: PeerStores
    now: Callable[[], datetime]

    def DescribeServer(
        self, request: pb.DescribeServerRequest, context: grpc.ServicerContext
    ) -> pb.DescribeServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.read() as session:
            row = servers.load(session, request.server)
            return pb.DescribeServerResponse(server=servers.message_from_row(session, row))

    async def FreezeServer(  # type: ignore[override]  # the context is our own
        self, request: pb.FreezeServerRequest, context: Call
    ) -> pb.FreezeServerResponse:
        """R13: bytes written after this instant are not in the backup of the freeze, and in no image of it.

        The freeze is recorded, then done, then marked as done: after a crash at any point the same request
        finishes it, and a thaw ends it. The freeze of another host's server is work of that host; this call
        waits for its end.
        """
        answer = await context.in_thread(self._freeze, request)
        if answer is None:
            await self.waits.wait_until_ended(_freeze_operation_id(request), _FREEZE_SECONDS, context)
            answer = await context.in_thread(self._remote_freeze_result, request)
        return answer

    def ExportDisks(
        self, request: pb.ExportDisksRequest, context: grpc.ServicerContext
    ) -> pb.ExportDisksResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        self.stores.check(request.store)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.ExportDisksResponse):
                return answer
            row = servers.load(tx.session, request.server)
            check_frozen(freezes.value_from_row(freezes.load(tx.session, row.name, request.freeze_id)))
            frozen = freezes.frozen_disks(tx.session, row.name, request.freeze_id)
            for disk in request.disks:
                if disk.disk not in frozen:
                    raise DiskNotAttached(disk=disk.disk, server=row.name)
            operation = self.operations.record(
                tx, project=project, verb="ExportDisks", target=row.name, request=request, queue=row.host
            )
            response = pb.ExportDisksResponse(operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def ThawServer(
        self, request: pb.ThawServerRequest, context: grpc.ServicerContext
    ) -> pb.ThawServerResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.ThawServerResponse):
                return answer
            freeze = freezes.find(tx.session, request.server, request.freeze_id)
            if freeze is None:
                # A thaw that arrives before its own freeze leaves the tombstone that refuses the freeze.
                freeze = freezes.add(
                    tx, request.server, request.freeze_id, "", pb.FreezeServerResponse(), self.now()
                )
                freezes.move(tx, freeze, FreezeEvent.THAWED)
            operation = self.operations.record(
                tx,
                project=project,
                verb="ThawServer",
                target=request.server,
                request=request,
                queue=_host_of(tx, request),
            )
            response = pb.ThawServerResponse(operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def RestoreDisks(
        self, request: pb.RestoreDisksRequest, context: grpc.ServicerContext
    ) -> pb.RestoreDisksResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        if request.withdraw:
            return self._withdraw_restore(project, request)
        self.stores.check(request.content.store)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.RestoreDisksResponse):
                return answer
            row = servers.load(tx.session, request.server, lock=True)
            value = servers.value_from_row(tx.session, row)
            check_thawed(value)
            if request.power_on:
                check_free(value)
            mapping = {each.content_disk: each.disk for each in request.mappings}
            check_restore(_disks_from_content(request.content), _attached_disks(tx, row), mapping)
            servers.move(tx, row, ServerEvent.RESTORE_BEGUN, self.now())
            operation = self.operations.record(
                tx, project=project, verb="RestoreDisks", target=row.name, request=request, queue=row.host
            )
            response = pb.RestoreDisksResponse(operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def _freeze(self, request: pb.FreezeServerRequest) -> pb.FreezeServerResponse | None:
        """Freezes the server; None when that was recorded as work of another host."""
        enter_project(parse_name(request.server, "servers", "server").project)
        begun = begin(self.database, request, self.now)
        with self.database.read() as session:
            host = servers.load(session, request.server).host
        if self.freezing is not None and self.freezing.host == host:
            return self.freezing.freeze(request, begun)
        if begun.HasField("freeze_time"):
            return begun
        self._record_remote_freeze(request, host)
        return None

    def _record_remote_freeze(self, request: pb.FreezeServerRequest, host: str) -> None:
        """Records the freeze as work of the server's host; a repeated request finds the same work."""
        project, operation_id = parse_name(request.server, "servers").project, _freeze_operation_id(request)
        with self.database.write() as tx:
            known = hosts.candidates(self.database, tx.session)
            if not any(each.name == host and each.is_alive for each in known):
                raise HostUnreachable(host=host, hint=f"{request.server} waits for it")
            if tx.session.get(OperationRow, operation_id) is None:
                self.operations.record(
                    tx,
                    project=project,
                    verb="FreezeServer",
                    target=request.server,
                    request=request,
                    queue=host,
                    operation_id=operation_id,
                )
                tx.commit()

    def _remote_freeze_result(self, request: pb.FreezeServerRequest) -> pb.FreezeServerResponse:
        """The result of the freeze by the server's host; HostUnreachable when it has not ended."""
        project = parse_name(request.server, "servers").project
        with self.database.read() as session:
            row = self.operations.find(session, project, _freeze_operation_id(request))
            operation, host = operation_from_row(row), row.queue
        if not operation.done:
            raise HostUnreachable(host=host, hint=f"{request.server} waits for it")
        if operation.HasField("error"):
            raise refusal_from_status(operation.error)
        answer = pb.FreezeServerResponse()
        operation.response.Unpack(answer)
        return answer

    def _withdraw_restore(self, project: str, request: pb.RestoreDisksRequest) -> pb.RestoreDisksResponse:
        """Cancels a restore.

        A withdrawal that arrives before its restore records an answer without an operation, which the late
        restore replays.
        """
        withdrawn = pb.RestoreDisksRequest()
        withdrawn.CopyFrom(request)
        withdrawn.withdraw = False
        with self.database.write() as tx:
            answer = find_replay(tx.session, project, withdrawn, pb.RestoreDisksResponse)
            if answer is None:
                return commit_change(tx, project, withdrawn, pb.RestoreDisksResponse(), self.now())
            if answer.HasField("operation"):
                operation_id = parse_name(answer.operation.name, "operations").id
                self.operations.request_cancel(tx, self.operations.find(tx.session, project, operation_id))
                tx.commit()
        return answer


def _host_of(tx: Transaction, request: pb.ThawServerRequest) -> str:
    """The queue of the host that has the frozen disks; the common queue when none is left."""
    row = tx.session.get(ServerRow, request.server)
    if row is not None:
        return row.host
    names = freezes.frozen_disks(tx.session, request.server, request.freeze_id)
    return next((disk.host for name in names if (disk := tx.session.get(DiskRow, name))), "")


def _disks_from_content(content: content_pb2.Content) -> list[FittingDisk]:
    return [
        FittingDisk(disk.id, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.size_bytes)
        for disk in content.disks
    ]


def _attached_disks(tx: Transaction, row: ServerRow) -> list[FittingDisk]:
    return [
        FittingDisk(disk.name, disk.role == disks.SYSTEM, disk.size_bytes, disk.shared)
        for _, disk in disks.attached_to(tx.session, row.name)
    ]


def _freeze_operation_id(request: pb.FreezeServerRequest) -> str:
    """The id of the operation by which another host freezes the server."""
    return f"freeze-{request.freeze_id}"
