"""DiskService."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.domain.batch import check_data_kind, fitting_size
from ecs.domain.disk import DiskEvent, DiskState, decide_attachment, decide_deletion, decide_detachment
from ecs.domain.placement import place
from ecs.domain.refusals import DiskIdTaken, DiskOnOtherHost
from ecs.domain.server import check_changeable, check_texts
from ecs.peers.ims import Images
from ecs.storage import disks, hosts, servers
from ecs.storage.host import Host
from ecs.storage.tables import AttachmentRow, DiskRow
from ecs.workflows.image_pins import ImagePins
from recast.database import Database
from recast.diskimage import active_path
from recast.ecs.v1 import disk_service_pb2 as pb
from recast.ecs.v1 import disk_service_pb2_grpc as grpc_pb
from recast.operations import Operations
from recast.resources import commit_change, find_replay
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name, parse_parent


@dataclass(frozen=True)
class Disks(grpc_pb.DiskServiceServicer):
    """What its RPCs need. `host` is None where no disks are."""

    database: Database
    operations: Operations
    images: Images
    pins: ImagePins
    host: Host | None
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def CreateDisk(
        self, request: pb.CreateDiskRequest, context: grpc.ServicerContext
    ) -> pb.CreateDiskResponse:
        return self.pins.before_answer(self._create(request))

    def _create(self, request: pb.CreateDiskRequest) -> pb.CreateDiskResponse:
        project = enter_project(parse_parent(request.parent))
        display_name = request.disk.display_name or request.disk_id or f"disk-{self.new_id()[:8]}"
        check_texts(display_name, "", "disk")
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.CreateDiskResponse):
                return answer
        source = None
        if request.image:
            enter_project(parse_name(request.image, "images", "image").project)
            resolved = self.images.resolve(request.image)
            check_data_kind(request.image, resolved.kind, "image")
            source = resolved.disks()[0]
        image_bytes = source.size_bytes if source else 0
        size = fitting_size(request.disk.size_bytes, image_bytes, display_name, "disk.size_bytes")
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, pb.CreateDiskResponse):
                return answer
            now = self.now()
            (host,) = place(1, size, hosts.candidates(self.database, tx.session), request.host)
            row = DiskRow(
                name=f"projects/{project}/disks/{request.disk_id or self.new_id()}",
                project=project,
                display_name=display_name,
                role=disks.DATA,
                state=DiskState.CREATING,
                size_bytes=size,
                shared=request.disk.shared,
                folder=self.new_id(),
                base=source.base if source else "",
                source_image=request.image,
                source_image_disk=source.id if source else "",
                host=host,
                create_time=now,
                update_time=now,
            )
            if tx.session.get(DiskRow, row.name) is not None:
                raise DiskIdTaken(disk=row.name)
            tx.session.add(row)
            operation = self.operations.record(
                tx, project=project, verb="CreateDisk", target=row.name, request=request, queue=row.host
            )
            response = pb.CreateDiskResponse(
                disk=disks.message_from_row(tx.session, row), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def GetDisk(self, request: pb.GetDiskRequest, context: grpc.ServicerContext) -> pb.GetDiskResponse:
        enter_project(parse_name(request.name, "disks").project)
        with self.database.read() as session:
            row = disks.load(session, request.name)
            return pb.GetDiskResponse(disk=disks.message_from_row(session, row, self._allocated_bytes(row)))

    def ListDisks(self, request: pb.ListDisksRequest, context: grpc.ServicerContext) -> pb.ListDisksResponse:
        project = enter_project(parse_parent(request.parent))
        with self.database.read() as session:
            page = disks.LISTING.page(
                session,
                DiskRow.project == project,  # type: ignore[arg-type]
                scope=f"disks/{project}",
                filter_text=request.filter,
                order_by=request.order_by,
                page_size=request.page_size,
                page_token=request.page_token,
            )
            messages = disks.messages_from_rows(session, page.rows)
        for row, disk in zip(page.rows, messages, strict=True):
            disk.allocated_bytes = self._allocated_bytes(row)
        listed, token = page.answer(messages)
        return pb.ListDisksResponse(disks=listed, next_page_token=token)

    def DeleteDisk(
        self, request: pb.DeleteDiskRequest, context: grpc.ServicerContext
    ) -> pb.DeleteDiskResponse:
        project = enter_project(parse_name(request.name, "disks").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.DeleteDiskResponse):
                return answer
            row = disks.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            decide_deletion(disks.value_from_row(tx.session, row))
            disks.move(tx, row, DiskEvent.DELETION_BEGUN, self.now())
            operation = self.operations.record(
                tx, project=project, verb="DeleteDisk", target=row.name, request=request, queue=row.host
            )
            response = pb.DeleteDiskResponse(
                disk=disks.message_from_row(tx.session, row), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def AttachDisk(
        self, request: pb.AttachDiskRequest, context: grpc.ServicerContext
    ) -> pb.AttachDiskResponse:
        project = enter_project(parse_name(request.name, "disks").project)
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.AttachDiskResponse):
                return answer
            server = servers.load(tx.session, request.server, lock=True)
            check_changeable(servers.value_from_row(tx.session, server))
            row = disks.load(tx.session, request.name, lock=True)
            row.state = decide_attachment(disks.value_from_row(tx.session, row), server.name)
            if row.host != server.host:
                raise DiskOnOtherHost(disk=row.name, disk_host=row.host, server=server.name, host=server.host)
            taken = {place.position for place, _ in disks.attached_to(tx.session, server.name)}
            position = next(each for each in range(1, len(taken) + 2) if each not in taken)
            tx.session.add(AttachmentRow(server=server.name, disk=row.name, position=position))
            for each in (row, server):
                each.touch(self.now())
                tx.session.add(each)
            tx.session.flush()
            operation = self.operations.record(
                tx, project=project, verb="AttachDisk", target=row.name, request=request, queue=row.host
            )
            response = pb.AttachDiskResponse(
                disk=disks.message_from_row(tx.session, row), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def DetachDisk(
        self, request: pb.DetachDiskRequest, context: grpc.ServicerContext
    ) -> pb.DetachDiskResponse:
        project = enter_project(parse_name(request.name, "disks").project)
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.DetachDiskResponse):
                return answer
            server = servers.load(tx.session, request.server, lock=True)
            check_changeable(servers.value_from_row(tx.session, server))
            row = disks.load(tx.session, request.name, lock=True)
            row.state = decide_detachment(disks.value_from_row(tx.session, row), server.name)
            row.touch(self.now())
            tx.session.add(row)
            operation = self.operations.record(
                tx, project=project, verb="DetachDisk", target=row.name, request=request, queue=row.host
            )
            response = pb.DetachDiskResponse(
                disk=disks.message_from_row(tx.session, row), operation=operation
            )
            return commit_change(tx, project, request, response, self.now())

    def GetDiskConnection(
        self, request: pb.GetDiskConnectionRequest, context: grpc.ServicerContext
    ) -> pb.GetDiskConnectionResponse:
        enter_project(parse_name(request.name, "disks").project)
        with self.database.read() as session:
            row = disks.load(session, request.name)
            path = active_path(hosts.data_dir(session, row.host), row.folder)
        return pb.GetDiskConnectionResponse(
            connection=pb.DiskConnection(driver="file", format="qcow2", host=row.host, path=str(path))
        )

    def _allocated_bytes(self, row: DiskRow) -> int:
        """The bytes of the disk's files; 0 for a disk of another host."""
        if self.host is None or row.host != self.host.name:
            return 0
        return self.host.allocated_bytes(row.folder)
