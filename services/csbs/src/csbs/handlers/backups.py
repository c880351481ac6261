"""BackupService."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from csbs.domain.backup import BackupEvent, BackupState, advance, check_texts, decide_backup, decide_deletion
from csbs.domain.refusals import BackupIdTaken, ServerBeingBackedUp
from csbs.domain.restore import TargetDisk, plan_restore
from csbs.peers.ecs import Servers, state_of
from csbs.storage import backups
from csbs.storage.tables import BackupRow
from csbs.workflows.create_backup import disk_id
from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as pb
from recast.csbs.v1 import backup_service_pb2_grpc as grpc_pb
from recast.database import Database, Transaction
from recast.ecs.v1 import server_pb2
from recast.operations import Operations
from recast.resources import commit_change, find_replay
from recast.rpc.call import enter_project
from recast.rpc.masks import masked
from recast.rpc.names import parse_name, parse_parent


@dataclass(frozen=True)
class Backups(grpc_pb.BackupServiceServicer):
    """The RPCs, and the collaborators that they need."""

    database: Database
    operations: Operations
    servers: Servers
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def CreateBackup(
        self, request: pb.CreateBackupRequest, context: grpc.ServicerContext
    ) -> pb.CreateBackupResponse:
        project = enter_project(parse_parent(request.parent))
        server = parse_name(request.backup.server, "servers", "backup.server")
        enter_project(server.project)
        display_name = request.backup.display_name or request.backup_id or f"manualbk_{self.new_id()[:4]}"
        check_texts(display_name, request.backup.description)
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.CreateBackupResponse):
                return answer
        described = self.servers.describe(str(server))
        decide_backup(described.name, state_of(described))
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, pb.CreateBackupResponse):
                return answer
            if other := backups.unfinished_backup_of(tx.session, project, described.name):
                raise ServerBeingBackedUp(server=described.name, backup=other)
            row = self._new_row(project, request, display_name, described)
            if tx.session.get(BackupRow, row.name) is not None:
                raise BackupIdTaken(backup=row.name)
            backups.save(tx, row)
            response = pb.CreateBackupResponse(
                backup=backups.message_from_row(row),
                operation=self._record(tx, "CreateBackup", row, request),
            )
            return commit_change(tx, project, request, response, self.now())

    def GetBackup(self, request: pb.GetBackupRequest, context: grpc.ServicerContext) -> pb.GetBackupResponse:
        enter_project(parse_name(request.name, "backups").project)
        with self.database.read() as session:
            return pb.GetBackupResponse(backup=backups.get(session, request.name))

    def ListBackups(
        self, request: pb.ListBackupsRequest, context: grpc.ServicerContext
    ) -> pb.ListBackupsResponse:
        project = enter_project(parse_parent(request.parent))
        with self.database.read() as session:
            return backups.page(session, request, project)

    def UpdateBackup(
        self, request: pb.UpdateBackupRequest, context: grpc.ServicerContext
    ) -> pb.UpdateBackupResponse:
        project = enter_project(parse_name(request.backup.name, "backups", "backup.name").project)
        changes = masked(request.backup, request.update_mask, ("display_name", "description"))
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.UpdateBackupResponse):
                return answer
            row = backups.load(tx.session, request.backup.name, lock=True)
            row.check_etag(request.backup.etag)
            check_texts(
                changes.get("display_name", row.display_name), changes.get("description", row.description)
            )
            for field, text in changes.items():
                setattr(row, field, text)
            backups.update(tx, row, self.now())
            response = pb.UpdateBackupResponse(backup=backups.message_from_row(row))
            return commit_change(tx, project, request, response, self.now())

    def DeleteBackup(
        self, request: pb.DeleteBackupRequest, context: grpc.ServicerContext
    ) -> pb.DeleteBackupResponse:
        project = enter_project(parse_name(request.name, "backups").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.DeleteBackupResponse):
                return answer
            row = backups.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            decide_deletion(backups.value_from_row(row))
            backups.move(tx, row, BackupEvent.DELETION_BEGUN, self.now())
            response = pb.DeleteBackupResponse(
                backup=backups.message_from_row(row),
                operation=self._record(tx, "DeleteBackup", row, request),
            )
            return commit_change(tx, project, request, response, self.now())

    def RestoreBackup(
        self, request: pb.RestoreBackupRequest, context: grpc.ServicerContext
    ) -> pb.RestoreBackupResponse:
        project = enter_project(parse_name(request.name, "backups").project)
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.RestoreBackupResponse):
                return answer
            row = backups.load(session, request.name)
            value = backups.value_from_row(row)
        advance(value, BackupEvent.RESTORE_BEGUN)
        server = parse_name(request.server or row.server, "servers", "server")
        enter_project(server.project)
        targets = _targets_from_server(self.servers.describe(str(server)))
        plan = plan_restore(
            row.name, value.disks, targets, {each.backup_disk: each.disk for each in request.mappings}
        )
        planned = pb.RestoreBackupRequest(name=row.name, server=str(server), power_on=request.power_on)
        for disk, target in plan.items():
            planned.mappings.add(backup_disk=disk, disk=target)
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, pb.RestoreBackupResponse):
                return answer
            row = backups.load(tx.session, request.name, lock=True)
            backups.move(tx, row, BackupEvent.RESTORE_BEGUN, self.now())
            response = pb.RestoreBackupResponse(
                backup=backups.message_from_row(row),
                operation=self._record(tx, "RestoreBackup", row, planned),
            )
            return commit_change(tx, project, request, response, self.now())

    def _record(
        self, tx: Transaction, verb: str, row: BackupRow, request: Message
    ) -> operations_pb2.Operation:
        return self.operations.record(tx, project=row.project, verb=verb, target=row.name, request=request)

    def _new_row(
        self, project: str, request: pb.CreateBackupRequest, display_name: str, server: server_pb2.Server
    ) -> BackupRow:
        """R03: the backup is CREATING from the answer to its request on."""
        now = self.now()
        described = backup_pb2.Backup()
        for disk in server.disks:
            described.disks.add(
                id=disk_id(disk.role, disk.position),
                disk=disk.disk,
                role=disk.role,
                position=disk.position,
                display_name=disk.display_name,
                size_bytes=disk.size_bytes,
                shared=disk.shared,
            )
        return BackupRow(
            name=f"projects/{project}/backups/{request.backup_id or self.new_id()}",
            project=project,
            display_name=display_name,
            description=request.backup.description,
            server=server.name,
            server_display_name=server.display_name,
            state=BackupState.CREATING,
            full=request.full,
            disks=described.SerializeToString(),
            size_bytes=sum(disk.size_bytes for disk in server.disks),
            create_time=now,
            update_time=now,
        )


def _targets_from_server(server: server_pb2.Server) -> list[TargetDisk]:
    return [
        TargetDisk(disk.disk, disk.role == content_pb2.DISK_ROLE_SYSTEM, disk.shared, disk.size_bytes)
        for disk in server.disks
    ]
