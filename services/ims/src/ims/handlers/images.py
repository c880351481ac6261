"""ImageService."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc

from ims.domain import disclaimer
from ims.domain.image import (
    ImageState,
    check_disclaimer,
    check_source,
    check_texts,
    decide_use,
    deletion_event,
)
from ims.domain.refusals import DeleteBackupUnsupported
from ims.handlers.uploads import Upload, UploadLimit
from ims.peers.csbs import Backups
from ims.peers.ecs import SourceServers
from ims.storage import images
from ims.storage.space import Space
from ims.storage.staging import Staging
from ims.storage.tables import ImageRow
from recast.database import Database
from recast.faults import FieldViolation, Kind, Refusal, RequestInvalid
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as pb
from recast.ims.v1 import image_service_pb2_grpc as grpc_pb
from recast.operations import OperationRow, Operations
from recast.resources import commit_change, find_replay, forget_replay, lock_row
from recast.rpc.call import Call, enter_project
from recast.rpc.masks import masked
from recast.rpc.names import parse_name, parse_parent


@dataclass(frozen=True)
class Images(grpc_pb.ImageServiceServicer):
    """The RPCs, and the collaborators that they need."""

    database: Database
    operations: Operations
    backups: Backups
    servers: SourceServers
    staging: Staging
    space: Space
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    uploads: UploadLimit = field(default_factory=UploadLimit)

    async def ImportImage(  # type: ignore[override]  # the context is our own
        self, requests: AsyncIterator[pb.ImportImageRequest], context: Call
    ) -> pb.ImportImageResponse:
        """Receives in the event loop, and writes each message in a thread: an idle upload holds none."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise _malformed("header", "the first message of an upload is its header")
        project = enter_project(parse_parent(first.header.parent, "header.parent"))
        upload = Upload(
            self.database, self.operations, self.staging, self.space, self.now, self.new_id, first.header
        )
        with self.uploads.running(project):
            try:
                if answer := await context.in_thread(upload.begin, project):
                    return answer
                async for request in requests:
                    if request.WhichOneof("part") != "chunk":
                        raise _malformed("chunk", "a header comes only once, as the first message")
                    await context.in_thread(upload.receive, request.chunk)
                return await context.in_thread(upload.finish)
            finally:
                await context.clean_up(upload.close)

    def CreateImage(
        self, request: pb.CreateImageRequest, context: grpc.ServicerContext
    ) -> pb.CreateImageResponse:
        answer = self._create(request)
        try:
            self.operations.reserve(answer.operation, self._reserve_source)
        except Refusal as refusal:
            is_transient = refusal.kind in {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED}
            if is_transient or self._withdraw(request, answer):
                raise
        return answer

    def _withdraw(self, request: pb.CreateImageRequest, answer: pb.CreateImageResponse) -> bool:
        """Has the work of a refused request remove its image; false when the work was faster, and made it."""
        with self.database.write() as tx:
            row = lock_row(tx.session, ImageRow, answer.image.name)
            if row is not None and row.create_time == answer.image.create_time.ToDatetime(UTC):
                if row.state == ImageState.ERROR:
                    tx.session.delete(row)
                elif row.state == ImageState.CREATING:
                    row.withdrawn = True
                    images.update(tx, row, self.now())
                    name = parse_name(answer.operation.name, "operations")
                    self.operations.request_cancel(
                        tx, self.operations.find(tx.session, name.project, name.id)
                    )
                else:
                    return False
            forget_replay(tx.session, parse_parent(request.parent), request)
            tx.commit()
        return True

    def _create(self, request: pb.CreateImageRequest) -> pb.CreateImageResponse:
        project = enter_project(parse_parent(request.parent))
        check_source(request.backup, request.server)
        check_disclaimer(request.disclaimer_accepted, request.disclaimer_version)
        check_texts(request.image.display_name, request.image.description)
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.CreateImageResponse):
                return answer
        server, is_finished = request.server, False
        if request.backup:
            enter_project(parse_name(request.backup, "backups", "backup").project)
            eligibility = self.backups.check(project, request.backup)
            server, is_finished = eligibility.server, eligibility.sealed
        enter_project(parse_name(server, "servers", "server").project)
        if request.server:
            self.backups.check_server(project, server)
        with self.database.write(takes_space=True) as tx:
            if answer := find_replay(tx.session, project, request, pb.CreateImageResponse):
                return answer
            row = images.new_row(
                project, request.image_id or self.new_id(), request.image, "FULL_SERVER", self.now()
            )
            row.source_backup, row.source_server = request.backup, server
            row.held_server = "" if is_finished else server
            images.add(tx, row)
            operation = self.operations.record(
                tx, project=project, verb="CreateImage", target=row.name, request=request
            )
            response = pb.CreateImageResponse(image=images.message_from_row(row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def _reserve_source(self, row: OperationRow) -> None:
        """Holds the server as it is, and locks the backup, as the work does (R23, R15).

        The backup of an image that is made straight from a server is made, and locked, by the work.
        """
        request = pb.CreateImageRequest.FromString(row.request)
        with self.database.read() as session:
            held_server = images.load(session, row.target).held_server
        if held_server:
            self.servers.hold(held_server, row.target, row.id)
        if request.backup:
            self.backups.lock(request.backup, row.target, row.id)

    def GetImage(self, request: pb.GetImageRequest, context: grpc.ServicerContext) -> pb.GetImageResponse:
        enter_project(parse_name(request.name, "images").project)
        with self.database.read() as session:
            return pb.GetImageResponse(image=images.get(session, request.name, self.staging.size_bytes))

    def ListImages(
        self, request: pb.ListImagesRequest, context: grpc.ServicerContext
    ) -> pb.ListImagesResponse:
        project = enter_project(parse_parent(request.parent))
        with self.database.read() as session:
            return images.page(session, request, project, self.staging.size_bytes)

    def UpdateImage(
        self, request: pb.UpdateImageRequest, context: grpc.ServicerContext
    ) -> pb.UpdateImageResponse:
        project = enter_project(parse_name(request.image.name, "images", "image.name").project)
        changes = masked(request.image, request.update_mask, ("display_name", "description"))
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.UpdateImageResponse):
                return answer
            row = images.load(tx.session, request.image.name, lock=True)
            row.check_etag(request.image.etag)
            check_texts(
                changes.get("display_name", row.display_name), changes.get("description", row.description)
            )
            for field, text in changes.items():
                setattr(row, field, text)
            images.update(tx, row, self.now())
            response = pb.UpdateImageResponse(image=self._message(row))
            return commit_change(tx, project, request, response, self.now())

    def DeleteImage(
        self, request: pb.DeleteImageRequest, context: grpc.ServicerContext
    ) -> pb.DeleteImageResponse:
        project = enter_project(parse_name(request.name, "images").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.DeleteImageResponse):
                return answer
            row = images.load(tx.session, request.name, lock=True)
            row.check_etag(request.etag)
            if request.delete_backup and not row.source_backup:
                raise DeleteBackupUnsupported(image=row.name)
            event = deletion_event(images.value_from_row(tx.session, row))
            images.move(tx, row, event, self.now())
            operation = self.operations.record(
                tx, project=project, verb="DeleteImage", target=row.name, request=request
            )
            response = pb.DeleteImageResponse(image=images.message_from_row(row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def GetProvisioningDefaults(
        self, request: pb.GetProvisioningDefaultsRequest, context: grpc.ServicerContext
    ) -> pb.GetProvisioningDefaultsResponse:
        """R39: the system disk and every data disk that a server made from the image gets."""
        enter_project(parse_name(request.name, "images").project)
        with self.database.read() as session:
            row = images.load(session, request.name)
            decide_use(images.value_from_row(session, row))
            return pb.GetProvisioningDefaultsResponse.FromString(row.defaults)

    def GetDisclaimer(
        self, request: pb.GetDisclaimerRequest, context: grpc.ServicerContext
    ) -> pb.GetDisclaimerResponse:
        enter_project(parse_parent(request.parent))
        return pb.GetDisclaimerResponse(version=disclaimer.VERSION, text=disclaimer.TEXT)

    def _message(self, row: ImageRow) -> image_pb2.Image:
        return images.message_from_row(row, self.staging.size_bytes(row.upload_key))


def _malformed(field: str, problem: str) -> RequestInvalid:
    return RequestInvalid(problem=problem, fields=[FieldViolation(field, problem)])
