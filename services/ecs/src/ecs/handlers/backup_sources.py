"""BackupSourceService, for CSBS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.domain.refusals import DiskNotAttached, FreezeInTheWay, FreezeNotFound
from ecs.domain.restore import FittingDisk, check_restore
from ecs.domain.server import ServerEvent, check_free, check_thawed, decide_freeze
from ecs.storage import disks, freezes, servers
from ecs.storage.freezes import FreezeState
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow, ServerRow
from recast.content.v1 import content_pb2
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.ecs.v1 import backup_source_service_pb2_grpc as grpc_pb
from recast.operations import Operations
from recast.rpc.edge import enter_project
from recast.rpc.names import parse_name
from recast.unitofwork import Database, Transaction, find_replay, remember_replay


@dataclass(frozen=True)
class BackupSources(grpc_pb.BackupSourceServiceServicer):
    """What its RPCs need."""

    database: Database
    operations: Operations
    host: Host
    now: Callable[[], datetime]

    def DescribeServer(
        self, request: pb.DescribeServerRequest, context: grpc.ServicerContext
    ) -> pb.DescribeServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.read() as session:
            row = servers.load(session, request.server)
            return pb.DescribeServerResponse(server=servers.message(session, row))

    def FreezeServer(
        self, request: pb.FreezeServerRequest, context: grpc.ServicerContext
    ) -> pb.FreezeServerResponse:
        """R13: what is written after this instant is in no backup made of it, and in no image of that.

        Recorded, then done, then marked as done: killed anywhere, the same request finishes it, and a thaw
        ends it.
        """
        enter_project(parse_name(request.server, "servers", "server").project)
        answer = self._begin_freeze(request)
        if answer.HasField("freeze_time"):
            return answer
        for disk in answer.disks:
            with self.database.read() as session:
                folder = disks.load(session, disk.disk).folder
            with disk_faults(disk.disk):
                self.host.freeze(folder, request.freeze_id)
        answer.freeze_time.FromDatetime(self.now())
        if not self._end_freeze(request, answer):
            self._take_back(answer, request.freeze_id)
            raise FreezeNotFound(server=request.server, freeze=request.freeze_id)
        return answer

    def ExportDisks(
        self, request: pb.ExportDisksRequest, context: grpc.ServicerContext
    ) -> pb.ExportDisksResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.ExportDisksResponse):
                return answer
            row = servers.load(tx.session, request.server)
            if request.validate_only:
                return pb.ExportDisksResponse()
            freeze = freezes.find(tx.session, row.name, request.freeze_id)
            if freeze is None or freeze.state != FreezeState.FROZEN:
                raise FreezeNotFound(server=row.name, freeze=request.freeze_id)
            frozen = freezes.frozen_disks(tx.session, row.name, request.freeze_id)
            for disk in request.disks:
                if disk.disk not in frozen:
                    raise DiskNotAttached(disk=disk.disk, server=row.name)
            operation = self.operations.record(
                tx, project=project, verb="ExportDisks", target=row.name, request=request, queue=row.host
            )
            response = pb.ExportDisksResponse(operation=operation)
            remember_replay(tx, project, request, response, self.now())
            tx.commit()
            return response

    def ThawServer(
        self, request: pb.ThawServerRequest, context: grpc.ServicerContext
    ) -> pb.ThawServerResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.ThawServerResponse):
                return answer
            freeze = freezes.find(tx.session, request.server, request.freeze_id)
            if freeze is None:
                # A thaw that overtakes its own freeze leaves the tombstone that refuses it.
                freeze = freezes.add(
                    tx, request.server, request.freeze_id, "", pb.FreezeServerResponse(), self.now()
                )
                freeze.state = FreezeState.THAWED
            operation = self.operations.record(
                tx,
                project=project,
                verb="ThawServer",
                target=request.server,
                request=request,
                queue=self.host.name,
            )
            response = pb.ThawServerResponse(operation=operation)
            remember_replay(tx, project, request, response, self.now())
            tx.commit()
            return response

    def RestoreDisks(
        self, request: pb.RestoreDisksRequest, context: grpc.ServicerContext
    ) -> pb.RestoreDisksResponse:
        project = enter_project(parse_name(request.server, "servers", "server").project)
        if request.withdraw:
            return self._withdraw_restore(project, request)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.RestoreDisksResponse):
                return answer
            row = servers.load(tx.session, request.server, lock=True)
            value = servers.value(tx.session, row)
            check_thawed(value)
            if request.power_on:
                check_free(value)
            check_restore(_contents(request), _attached(tx, row), _mapping(request))
            servers.move(tx, row, ServerEvent.RESTORE_BEGUN, self.now())
            if request.validate_only:
                return pb.RestoreDisksResponse()
            operation = self.operations.record(
                tx, project=project, verb="RestoreDisks", target=row.name, request=request, queue=row.host
            )
            response = pb.RestoreDisksResponse(operation=operation)
            remember_replay(tx, project, request, response, self.now())
            tx.commit()
            return response

    def _withdraw_restore(self, project: str, request: pb.RestoreDisksRequest) -> pb.RestoreDisksResponse:
        """Cancels a restore. One that this overtook counts as answered, so that it begins nothing."""
        asked = pb.RestoreDisksRequest()
        asked.CopyFrom(request)
        asked.withdraw = False
        with self.database.write() as tx:
            answer = find_replay(tx.session, project, asked, pb.RestoreDisksResponse)
            if answer is None:
                answer = pb.RestoreDisksResponse()
                remember_replay(tx, project, asked, answer, self.now())
            elif answer.HasField("operation"):
                operation_id = parse_name(answer.operation.name, "operations").id
                self.operations.request_cancel(tx, self.operations.find(tx.session, project, operation_id))
            tx.commit()
        return answer

    def _end_freeze(self, request: pb.FreezeServerRequest, answer: pb.FreezeServerResponse) -> bool:
        """Marks the freeze as done; False when it was thawed meanwhile."""
        with self.database.write() as tx:
            freeze = freezes.find(tx.session, request.server, request.freeze_id)
            if freeze is None or freeze.state == FreezeState.THAWED:
                return False
            if freeze.state == FreezeState.FROZEN:
                # By the same request, sent twice at once: one instant counts.
                answer.CopyFrom(pb.FreezeServerResponse.FromString(freeze.answer))
                return True
            freeze.state, freeze.answer = FreezeState.FROZEN, answer.SerializeToString()
            tx.session.add(freeze)
            tx.commit()
        return True

    def _take_back(self, frozen: pb.FreezeServerResponse, freeze_id: str) -> None:
        """A thaw overtook this freeze, and may have passed disks that were frozen after it."""
        for disk in frozen.disks:
            with self.database.read() as session:
                row = session.get(DiskRow, disk.disk)
            if row is not None:
                with disk_faults(disk.disk):
                    self.host.disk(row.folder).thaw(freeze_id)

    def _begin_freeze(self, request: pb.FreezeServerRequest) -> pb.FreezeServerResponse:
        """The freeze as it is recorded: with its time once every disk is frozen."""
        with self.database.write() as tx:
            row = servers.load(tx.session, request.server, lock=True)
            freeze = freezes.find(tx.session, row.name, request.freeze_id)
            if freeze is not None:
                if freeze.state == FreezeState.THAWED:
                    raise FreezeNotFound(server=row.name, freeze=request.freeze_id)
                return pb.FreezeServerResponse.FromString(freeze.answer)
            decide_freeze(servers.value(tx.session, row))
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
            freezes.add(tx, row.name, request.freeze_id, request.backup, answer, self.now())
            row.freeze_id, row.frozen_for = request.freeze_id, request.backup
            row.touch(self.now())
            tx.session.add(row)
            tx.commit()
            return answer


def _contents(request: pb.RestoreDisksRequest) -> list[FittingDisk]:
    return [
        FittingDisk(disk.id, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.size_bytes)
        for disk in request.content.disks
    ]


def _attached(tx: Transaction, row: ServerRow) -> list[FittingDisk]:
    return [
        FittingDisk(disk.name, disk.role == disks.SYSTEM, disk.size_bytes, disk.shared)
        for _, disk in disks.attached_to(tx.session, row.name)
    ]


def _mapping(request: pb.RestoreDisksRequest) -> dict[str, str]:
    return {each.content_disk: each.disk for each in request.mappings}
