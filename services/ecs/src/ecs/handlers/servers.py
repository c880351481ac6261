"""ServerService."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from ecs.domain.batch import (
    ImageDisk,
    PlannedDisk,
    RequestedDisk,
    check_data_kind,
    check_kind,
    fitting_size,
    plan_disks,
    plan_names,
)
from ecs.domain.placement import place
from ecs.domain.refusals import ImageGone
from ecs.domain.server import (
    ServerEvent,
    advance,
    check_free,
    check_texts,
    check_thawed,
    decide_start,
)
from ecs.peers.ims import Images
from ecs.storage import disks, hosts, servers
from ecs.storage.new_rows import add_server, new_disk_row, new_server_row
from ecs.storage.tables import ServerRow
from ecs.workflows.change_os import new_disk_name
from ecs.workflows.image_pins import ImagePins
from recast.database import Database, Transaction
from recast.ecs.v1 import server_service_pb2 as pb
from recast.ecs.v1 import server_service_pb2_grpc as grpc_pb
from recast.faults import FieldViolation, Kind, Refusal, RequestInvalid
from recast.longrunning.v1.operation_metadata_pb2 import OperationPart
from recast.operations import Operations, part_id
from recast.resources import commit_change, find_replay
from recast.rpc.call import enter_project
from recast.rpc.masks import masked
from recast.rpc.names import parse_name, parse_parent

PowerRequest = TypeVar("PowerRequest", pb.StartServerRequest, pb.StopServerRequest, pb.RebootServerRequest)
PowerResponse = TypeVar(
    "PowerResponse", pb.StartServerResponse, pb.StopServerResponse, pb.RebootServerResponse
)
OsResponse = TypeVar("OsResponse", pb.ChangeServerOsResponse, pb.ReinstallServerOsResponse)


@dataclass(frozen=True)
class Servers(grpc_pb.ServerServiceServicer):
    """The RPCs, and the collaborators that they need."""

    database: Database
    operations: Operations
    images: Images
    pins: ImagePins
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def CreateServers(
        self, request: pb.CreateServersRequest, context: grpc.ServicerContext
    ) -> pb.CreateServersResponse:
        """R38: servers are made from an image; by default they get its disks."""
        return self.pins.before_answer(self._create(request))

    def _create(self, request: pb.CreateServersRequest) -> pb.CreateServersResponse:
        project = enter_project(parse_parent(request.parent))
        check_texts(request.server.display_name, request.server.description)
        titles = plan_names(request.server.display_name, request.count, "server.display_name")
        ids = plan_names(request.server_id, request.count, "server_id") if request.server_id else []
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.CreateServersResponse):
                return answer
        plan = self._plan(project, request)
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, pb.CreateServersResponse):
                return answer
            size = sum(disk.size_bytes for disk in plan)
            known = hosts.candidates(self.database, tx.session)
            placed = place(len(titles), size, known, request.host)
            rows = [
                add_server(
                    tx,
                    new_server_row(
                        project, request, ids[index] if ids else self.new_id(), title, host, self.now()
                    ),
                    plan,
                    self.new_id,
                )
                for index, (title, host) in enumerate(zip(titles, placed, strict=True))
            ]
            tx.session.flush()
            operation = self._record_creation(tx, project, rows)
            response = pb.CreateServersResponse(
                servers=servers.messages_from_rows(tx.session, rows), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def GetServer(self, request: pb.GetServerRequest, context: grpc.ServicerContext) -> pb.GetServerResponse:
        enter_project(parse_name(request.name, "servers").project)
        with self.database.read() as session:
            return pb.GetServerResponse(
                server=servers.message_from_row(session, servers.load(session, request.name))
            )

    def ListServers(
        self, request: pb.ListServersRequest, context: grpc.ServicerContext
    ) -> pb.ListServersResponse:
        project = enter_project(parse_parent(request.parent))
        with self.database.read() as session:
            page = servers.LISTING.page(
                session,
                ServerRow.project == project,  # type: ignore[arg-type]
                scope=f"servers/{project}",
                filter_text=request.filter,
                order_by=request.order_by,
                page_size=request.page_size,
                page_token=request.page_token,
            )
            listed, token = page.answer(servers.messages_from_rows(session, page.rows))
        return pb.ListServersResponse(servers=listed, next_page_token=token)

    def UpdateServer(
        self, request: pb.UpdateServerRequest, context: grpc.ServicerContext
    ) -> pb.UpdateServerResponse:
        project = enter_project(parse_name(request.server.name, "servers", "server.name").project)
        changes = masked(request.server, request.update_mask, ("display_name", "description"))
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.UpdateServerResponse):
                return answer
            row = servers.load(tx.session, request.server.name, lock=True)
            row.check_etag(request.server.etag)
            check_texts(
                changes.get("display_name", row.display_name), changes.get("description", row.description)
            )
            for field, text in changes.items():
                setattr(row, field, text)
            row.touch(self.now())
            tx.session.add(row)
            response = pb.UpdateServerResponse(server=servers.message_from_row(tx.session, row))
            return commit_change(tx, project, request, response, self.now())

    def DeleteServer(
        self, request: pb.DeleteServerRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerResponse:
        project = enter_project(parse_name(request.name, "servers").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.DeleteServerResponse):
                return answer
            row = servers.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            check_thawed(servers.value_from_row(tx.session, row))
            servers.move(tx, row, ServerEvent.DELETION_BEGUN, self.now())
            operation = self._record(tx, "DeleteServer", row, request)
            response = pb.DeleteServerResponse(
                server=servers.message_from_row(tx.session, row), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def StartServer(
        self, request: pb.StartServerRequest, context: grpc.ServicerContext
    ) -> pb.StartServerResponse:
        return self._power(request, pb.StartServerResponse, "StartServer", ServerEvent.START_BEGUN)

    def StopServer(
        self, request: pb.StopServerRequest, context: grpc.ServicerContext
    ) -> pb.StopServerResponse:
        return self._power(request, pb.StopServerResponse, "StopServer", ServerEvent.STOP_BEGUN)

    def RebootServer(
        self, request: pb.RebootServerRequest, context: grpc.ServicerContext
    ) -> pb.RebootServerResponse:
        return self._power(request, pb.RebootServerResponse, "RebootServer", ServerEvent.REBOOT_BEGUN)

    def ChangeServerOs(
        self, request: pb.ChangeServerOsRequest, context: grpc.ServicerContext
    ) -> pb.ChangeServerOsResponse:
        return self.pins.before_answer(
            self._change_os(request, request, pb.ChangeServerOsResponse, "ChangeServerOs")
        )

    def ReinstallServerOs(
        self, request: pb.ReinstallServerOsRequest, context: grpc.ServicerContext
    ) -> pb.ReinstallServerOsResponse:
        enter_project(parse_name(request.name, "servers").project)
        with self.database.read() as session:
            image = servers.load(session, request.name).image
        change = pb.ChangeServerOsRequest(
            name=request.name,
            image=image,
            system_disk_bytes=request.system_disk_bytes,
            power_on=request.power_on,
        )
        try:
            return self.pins.before_answer(
                self._change_os(request, change, pb.ReinstallServerOsResponse, "ReinstallServerOs")
            )
        except Refusal as refusal:
            if refusal.kind is Kind.NOT_FOUND and refusal.reason == "IMAGE_NOT_FOUND":
                raise ImageGone(server=request.name, image=image) from refusal
            raise

    def _power(
        self, request: PowerRequest, answer_type: type[PowerResponse], verb: str, event: ServerEvent
    ) -> PowerResponse:
        project = enter_project(parse_name(request.name, "servers").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, answer_type):
                return answer
            row = servers.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            if event is ServerEvent.START_BEGUN:
                decide_start(servers.value_from_row(tx.session, row))
            servers.move(tx, row, event, self.now())
            operation = self._record(tx, verb, row, request)
            response = answer_type(server=servers.message_from_row(tx.session, row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def _change_os(
        self,
        request: pb.ChangeServerOsRequest | pb.ReinstallServerOsRequest,
        change: pb.ChangeServerOsRequest,
        answer_type: type[OsResponse],
        verb: str,
    ) -> OsResponse:
        project = enter_project(parse_name(request.name, "servers").project)
        enter_project(parse_name(change.image, "images", "image").project)
        with self.database.read() as session:
            if answer := find_replay(session, project, request, answer_type):
                return answer
            value = servers.value_from_row(session, servers.load(session, request.name))
        # Before the image is resolved: the server's state is the more useful refusal.
        advance(value, ServerEvent.OS_CHANGE_BEGUN)
        resolved = self.images.resolve(change.image)
        check_kind(change.image, resolved.kind)
        source = resolved.system_disk()
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, answer_type):
                return answer
            row = servers.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            value = servers.value_from_row(tx.session, row)
            check_thawed(value)
            if request.power_on:
                check_free(value)
            servers.move(tx, row, ServerEvent.OS_CHANGE_BEGUN, self.now())
            old = next(
                disk for _, disk in disks.attached_to(tx.session, row.name) if disk.role == disks.SYSTEM
            )
            requested = change.system_disk_bytes or max(old.size_bytes, source.size_bytes)
            size = fitting_size(requested, source.size_bytes, "system disk", "system_disk_bytes")
            operation_id = self.new_id()
            plan = PlannedDisk(True, 0, size, False, old.display_name, source)
            name = new_disk_name(tx.session, row.name, operation_id)
            tx.session.add(new_disk_row(row, plan, name, self.new_id(), self.now()))
            operation = self.operations.record(
                tx,
                project=project,
                verb=verb,
                target=row.name,
                request=change,
                queue=row.host,
                operation_id=operation_id,
            )
            response = answer_type(server=servers.message_from_row(tx.session, row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def _record(
        self, tx: Transaction, verb: str, row: ServerRow, request: Message
    ) -> operations_pb2.Operation:
        return self.operations.record(
            tx, project=row.project, verb=verb, target=row.name, request=request, queue=row.host
        )

    def _record_creation(
        self, tx: Transaction, project: str, rows: Sequence[ServerRow]
    ) -> operations_pb2.Operation:
        """One operation for one host; for several hosts a parent operation with a child for each."""

        def record(
            outcomes: Sequence[pb.ServerOutcome], queue: str, operation_id: str = "", parent: str = ""
        ) -> operations_pb2.Operation:
            return self.operations.record(
                tx,
                project=project,
                verb="CreateServers",
                target=outcomes[0].server,
                request=pb.CreateServersResult(outcomes=outcomes),
                queue=queue,
                operation_id=operation_id,
                parent=parent,
                parts=[OperationPart(id=each.id, target=each.server) for each in outcomes],
            )

        batch_id = self.new_id()
        outcomes = [
            pb.ServerOutcome(id=part_id(batch_id, position), server=row.name, host=row.host)
            for position, row in enumerate(rows)
        ]
        by_host: dict[str, list[pb.ServerOutcome]] = {}
        for outcome in outcomes:
            by_host.setdefault(outcome.host, []).append(outcome)
        if len(by_host) == 1:
            return record(outcomes, rows[0].host, batch_id)
        batch = record(outcomes, "", batch_id)
        for host, on_host in by_host.items():
            record(on_host, host, parent=batch_id)
        return batch

    def _plan(self, project: str, request: pb.CreateServersRequest) -> Sequence[PlannedDisk]:
        """The disks of each new server, from the images that IMS resolves."""
        enter_project(parse_name(request.image, "images", "image").project)
        resolved = self.images.resolve(request.image)
        check_kind(request.image, resolved.kind)
        requested = [
            RequestedDisk(disk.image_disk, disk.image, disk.size_bytes, disk.shared, disk.display_name)
            for disk in request.data_disks
        ]
        for index, disk in enumerate(requested):
            if disk.display_name:
                _check_disk_name(disk.display_name, f"data_disks[{index}].display_name")
        data_images = self._data_images(requested)
        return plan_disks(resolved.disks(), request.system_disk.size_bytes, requested, data_images)

    def _data_images(self, requested: Sequence[RequestedDisk]) -> Mapping[str, ImageDisk]:
        found: dict[str, ImageDisk] = {}
        for index, disk in enumerate(requested):
            if disk.image and disk.image not in found:
                field = f"data_disks[{index}].image"
                enter_project(parse_name(disk.image, "images", field).project)
                resolved = self.images.resolve(disk.image)
                check_data_kind(disk.image, resolved.kind, field)
                found[disk.image] = resolved.disks()[0]
        return found


def _check_disk_name(display_name: str, field: str) -> None:
    try:
        check_texts(display_name, "", "disk")
    except RequestInvalid as refusal:
        problem = refusal.fields[0].description
        raise RequestInvalid(problem=f"{field} {problem}", fields=[FieldViolation(field, problem)]) from None
