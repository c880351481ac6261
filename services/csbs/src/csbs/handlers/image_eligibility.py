"""ImageEligibilityService, for people and for IMS."""

from dataclasses import dataclass

import grpc
from google.rpc import status_pb2

from csbs.domain.backup import SEALED, image_obstacles, server_obstacles
from csbs.domain.refusals import BackupNotFound, ServerBeingBackedUp, ServerNotFound
from csbs.peers.ecs import Servers, state_of
from csbs.storage import backups
from csbs.storage.tables import BackupRow
from recast.database import Database
from recast.faults import FieldViolation, Refusal, RequestInvalid, all_of
from recast.imagelock.v1 import image_eligibility_service_pb2 as pb
from recast.imagelock.v1 import image_eligibility_service_pb2_grpc as grpc_pb
from recast.rpc.call import enter_project
from recast.rpc.names import parse_parent
from recast.rpc.status import status_from_refusal


@dataclass(frozen=True)
class ImageEligibility(grpc_pb.ImageEligibilityServiceServicer):
    """The RPC, and the collaborators that it needs. `require_available` is the strict reading of R06."""

    database: Database
    servers: Servers
    require_available: bool

    def CheckImageEligibility(
        self, request: pb.CheckImageEligibilityRequest, context: grpc.ServicerContext
    ) -> pb.CheckImageEligibilityResponse:
        project = enter_project(parse_parent(request.parent))
        if not request.backups and not request.servers:
            problem = "at least one backup or server is to be named"
            raise RequestInvalid(problem=problem, fields=[FieldViolation("backups", problem)])
        with self.database.read() as session:
            rows = backups.find(session, request.backups)
        results = [self._result(name, rows.get(name)) for name in request.backups]
        results += [self._server_result(project, name) for name in request.servers]
        return pb.CheckImageEligibilityResponse(results=results)

    def _result(self, name: str, row: BackupRow | None) -> pb.ImageEligibility:
        if row is None:
            return pb.ImageEligibility(backup=name, violations=_statuses([BackupNotFound(backup=name)]))
        obstacles = image_obstacles(backups.value_from_row(row), require_available=self.require_available)
        return pb.ImageEligibility(
            backup=name,
            eligible=not obstacles,
            violations=_statuses(obstacles),
            server=row.server,
            sealed=row.state in SEALED,
        )

    def _server_result(self, project: str, name: str) -> pb.ImageEligibility:
        """As of a backup of the server that would be made now."""
        try:
            described = self.servers.describe(name)
        except ServerNotFound as absent:
            return pb.ImageEligibility(violations=_statuses([absent]))
        shared = [disk.disk for disk in described.disks if disk.shared]
        obstacles = server_obstacles(name, state_of(described), shared)
        with self.database.read() as session:
            if other := backups.unfinished_backup_of(session, project, name):
                obstacles.append(ServerBeingBackedUp(server=name, backup=other))
        return pb.ImageEligibility(server=name, eligible=not obstacles, violations=_statuses(obstacles))


def _statuses(refusals: list[Refusal]) -> list[status_pb2.Status]:
    """The status of each refusal, with its violation as in the refusal of LockBackup."""
    return [status_from_refusal(all_of([refusal]), "csbs.recast") for refusal in refusals]
