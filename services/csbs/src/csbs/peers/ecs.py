"""The servers of ECS and their disks: describe, freeze, export, thaw, restore."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from csbs.domain.refusals import ServerNotFound
from recast.content.v1 import content_pb2
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.ecs.v1 import backup_source_service_pb2_grpc as grpc_pb
from recast.ecs.v1 import server_pb2
from recast.faults import Kind, Refusal
from recast.operations import Work
from recast.operations.peer import await_end, follow


def state_of(server: server_pb2.Server) -> str:
    """The server's state, by its name without the prefix."""
    return server_pb2.ServerState.Name(server.state).removeprefix("SERVER_STATE_")


class Servers:
    """The servers of ECS.

    Every method that changes something takes the id of the calling work, and may be repeated.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._source = grpc_pb.BackupSourceServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)

    def describe(self, server: str) -> server_pb2.Server:
        """The server with its disks, or ServerNotFound."""
        try:
            return self._source.DescribeServer(pb.DescribeServerRequest(server=server)).server
        except Refusal as refusal:
            if refusal.kind is Kind.NOT_FOUND:
                raise ServerNotFound(server=server) from None
            raise

    def freeze(self, server: str, freeze_id: str, backup: str) -> tuple[datetime, list[pb.FrozenDisk]]:
        """Freezes every disk at one instant; gives the instant and the disks."""
        request = pb.FreezeServerRequest(server=server, freeze_id=freeze_id, backup=backup)
        answer = self._source.FreezeServer(request)
        return answer.freeze_time.ToDatetime(UTC), list(answer.disks)

    def export(
        self,
        work: Work,
        server: str,
        store: content_pb2.ContentStore,
        disks: Iterable[pb.ExportDisk],
    ) -> pb.ExportDisksResult:
        """Has the frozen disks written to the chunk store; the progress is reported as the work's own."""
        request = pb.ExportDisksRequest(
            server=server, freeze_id=work.id, store=store, disks=disks, request_id=f"{work.id}-export"
        )
        return self._follow(
            work, "export", lambda: self._source.ExportDisks(request).operation, pb.ExportDisksResult
        )

    def thaw(self, work: Work, server: str, sealed_backup: str) -> None:
        """Ends the freeze; a server that was deleted needs no thaw.

        Layers that could not be merged are no failure of the backup, which has its bytes: ECS has ended the
        freeze nevertheless, and its next backup reads everything.
        """
        request = pb.ThawServerRequest(
            server=server, freeze_id=work.id, sealed_backup=sealed_backup, request_id=f"{work.id}-thaw"
        )
        try:
            follow(work, self._operations, "thaw", lambda: self._source.ThawServer(request).operation)
        except Refusal as refusal:
            if refusal.kind is not Kind.NOT_FOUND and refusal.reason != "DISK_IO_FAILED":
                raise

    def restore(self, work: Work, request: pb.RestoreDisksRequest) -> None:
        """Has a content written to the disks of a server."""
        follow(work, self._operations, "restore", lambda: self._source.RestoreDisks(request).operation)

    def withdraw_restore(self, work: Work, request: pb.RestoreDisksRequest) -> bool:
        """Ends a restore, also one that ECS has not received yet. True when it was done nevertheless."""
        withdrawal = pb.RestoreDisksRequest()
        withdrawal.CopyFrom(request)
        withdrawal.withdraw = True
        answer = self._source.RestoreDisks(withdrawal)
        if not answer.HasField("operation"):
            return False
        return not await_end(work, self._operations, answer.operation.name).HasField("error")

    def _follow(
        self,
        work: Work,
        step: str,
        begin: Callable[[], operations_pb2.Operation],
        result: type[pb.ExportDisksResult],
    ) -> pb.ExportDisksResult:
        ended = follow(work, self._operations, step, begin)
        answer = result()
        ended.response.Unpack(answer)
        return answer
