"""ImageService."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import grpc

from ims.domain.image import (
    ImageState,
    check_disclaimer,
    check_texts,
    decide_use,
    deletion_event,
    importable_kind,
)
from ims.domain.refusals import (
    DeleteBackupUnsupported,
    ImageBusy,
    ImageIdTaken,
    ImageSourceInvalid,
    UploadIncomplete,
)
from ims.domain.upload import new_bytes
from ims.peers.csbs import Backups
from ims.storage import images
from ims.storage.chunks import storage_faults
from ims.storage.staging import StagedFile, Staging
from ims.storage.tables import ImageRow
from recast.csbs.v1 import backup_pb2
from recast.database import Database
from recast.faults import FieldViolation, RequestIdReused, RequestInvalid
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as pb
from recast.ims.v1 import image_service_pb2_grpc as grpc_pb
from recast.operations import Operations
from recast.resources import commit_change, find_replay
from recast.rpc.call import enter_project
from recast.rpc.masks import masked
from recast.rpc.names import parse_name, parse_parent


@dataclass(frozen=True)
class Images(grpc_pb.ImageServiceServicer):
    """What its RPCs need."""

    database: Database
    operations: Operations
    backups: Backups
    staging: Staging
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def ImportImage(
        self, requests: Iterator[pb.ImportImageRequest], context: grpc.ServicerContext
    ) -> pb.ImportImageResponse:
        first = next(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise _malformed("header", "the first message of an upload is its header")
        header = first.header
        project = enter_project(parse_parent(header.parent, "header.parent"))
        check_disclaimer(header.disclaimer_accepted)
        check_texts(header.image.display_name, header.image.description)
        name, answer = self._begin_upload(project, header)
        if answer:
            return answer
        with self.database.read() as session:
            row = images.load(session, name)
        try:
            return self._take_upload(row, header, requests)
        finally:
            self._forget_unwanted(row)

    def CreateImage(
        self, request: pb.CreateImageRequest, context: grpc.ServicerContext
    ) -> pb.CreateImageResponse:
        project = enter_project(parse_parent(request.parent))
        source = request.WhichOneof("source")
        if source is None:
            raise ImageSourceInvalid(fields=[FieldViolation("source", "set backup or server")])
        check_disclaimer(request.disclaimer_accepted)
        check_texts(request.image.display_name, request.image.description)
        with self.database.read() as session:
            if answer := find_replay(session, project, request, pb.CreateImageResponse):
                return answer
        server, is_finished = request.server, False
        if source == "backup":
            enter_project(parse_name(request.backup, "backups", "backup").project)
            checked = self.backups.check(request.backup)
            server, is_finished = checked.server, checked.state == backup_pb2.BACKUP_STATE_AVAILABLE
        enter_project(parse_name(server, "servers", "server").project)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, request, pb.CreateImageResponse):
                return answer
            row = self._new_row(project, request.image_id, request.image, "FULL_SERVER")
            row.source_backup, row.source_server = request.backup, server
            row.held_server = "" if is_finished else server
            if tx.session.get(ImageRow, row.name) is not None:
                raise ImageIdTaken(image=row.name)
            images.save(tx, row)
            operation = self.operations.record(
                tx, project=project, verb="CreateImage", target=row.name, request=request
            )
            response = pb.CreateImageResponse(image=images.message(row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

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
            event = deletion_event(images.value(tx.session, row))
            images.move(tx, row, event, self.now())
            operation = self.operations.record(
                tx, project=project, verb="DeleteImage", target=row.name, request=request
            )
            response = pb.DeleteImageResponse(image=images.message(row), operation=operation)
            return commit_change(tx, project, request, response, self.now())

    def GetProvisioningDefaults(
        self, request: pb.GetProvisioningDefaultsRequest, context: grpc.ServicerContext
    ) -> pb.GetProvisioningDefaultsResponse:
        """R39: the system disk and every data disk that a server made from the image gets."""
        enter_project(parse_name(request.name, "images").project)
        with self.database.read() as session:
            row = images.load(session, request.name)
            decide_use(images.value(session, row))
            return pb.GetProvisioningDefaultsResponse.FromString(row.defaults)

    def _message(self, row: ImageRow) -> image_pb2.Image:
        return images.message(row, self.staging.size_bytes(row.upload_key))

    def _begin_upload(
        self, project: str, header: pb.ImportImageHeader
    ) -> tuple[str, pb.ImportImageResponse | None]:
        """The name of the image that the header asks for or takes up again; with an answer when no bytes are
        wanted.
        """
        is_raw = header.disk_format == image_pb2.DISK_FORMAT_RAW
        kind = importable_kind(_kind_name(header.image.kind), is_raw)
        body = header.SerializeToString(deterministic=True)
        with self.database.write() as tx:
            if answer := find_replay(tx.session, project, header, pb.ImportImageResponse):
                return answer.image.name, answer  # also when the image was deleted since
            if found := images.find_upload(tx.session, project, header.request_id):
                if found.upload_header != body:
                    raise RequestIdReused(request_id=header.request_id)
                return found.name, None
            row = self._new_row(project, header.image_id, header.image, kind)
            if tx.session.get(ImageRow, row.name) is not None:
                raise ImageIdTaken(image=row.name)
            row.upload_key, row.upload_request_id, row.upload_header = self.new_id(), header.request_id, body
            if header.validate_only:
                return row.name, pb.ImportImageResponse(image=images.message(row))
            images.save(tx, row)
            tx.commit()
        return row.name, None

    def _take_upload(
        self, row: ImageRow, header: pb.ImportImageHeader, requests: Iterator[pb.ImportImageRequest]
    ) -> pb.ImportImageResponse:
        with storage_faults(row.name), self.staging.open(row.upload_key) as file:
            if file is None:
                raise ImageBusy(image=row.name, state="being uploaded by another stream")
            _receive(file, header.size_bytes, requests)
            file.make_durable()
            if file.size_bytes < header.size_bytes:
                raise UploadIncomplete(
                    image=row.name, received_bytes=file.size_bytes, size_bytes=header.size_bytes
                )
            return self._end_upload(row.name, header)

    def _forget_unwanted(self, uploaded: ImageRow) -> None:
        """Removes the file of an image that was deleted while it was uploaded: nobody else would."""
        with self.database.read() as session:
            row = session.get(ImageRow, uploaded.name)
        if row is None or row.upload_key != uploaded.upload_key or row.state != ImageState.CREATING:
            self.staging.remove(uploaded.upload_key)

    def _end_upload(self, name: str, header: pb.ImportImageHeader) -> pb.ImportImageResponse:
        with self.database.write() as tx:
            row = images.load(tx.session, name, lock=True)
            if answer := find_replay(tx.session, row.project, header, pb.ImportImageResponse):
                return answer
            if row.state != ImageState.CREATING:
                raise ImageBusy(image=name, state=row.state)
            row.upload_is_complete = True
            images.update(tx, row, self.now())
            operation = self.operations.record(
                tx,
                project=row.project,
                verb="ImportImage",
                target=name,
                request=pb.GetImageRequest(name=name),
            )
            response = pb.ImportImageResponse(image=self._message(row), operation=operation)
            return commit_change(tx, row.project, header, response, self.now())

    def _new_row(self, project: str, image_id: str, image: image_pb2.Image, kind: str) -> ImageRow:
        """R63: the image is there, CREATING, as soon as its request is answered."""
        now = self.now()
        return ImageRow(
            name=f"projects/{project}/images/{image_id or self.new_id()}",
            project=project,
            display_name=image.display_name,
            description=image.description,
            kind=kind,
            state=ImageState.CREATING,
            create_time=now,
            update_time=now,
        )


def _receive(file: StagedFile, size_bytes: int, requests: Iterator[pb.ImportImageRequest]) -> None:
    """Appends what is new of every piece; a repeat of what came already is passed over."""
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise _malformed("chunk", "a header comes only once, as the first message")
        piece = request.chunk
        new = new_bytes(file.size_bytes, size_bytes, piece.offset, len(piece.data))
        file.append(memoryview(piece.data)[new])


def _malformed(field: str, problem: str) -> RequestInvalid:
    return RequestInvalid(problem=problem, fields=[FieldViolation(field, problem)])


def _kind_name(kind: int) -> str:
    try:
        return image_pb2.ImageKind.Name(kind).removeprefix("IMAGE_KIND_")  # type: ignore[arg-type]
    except ValueError:  # proto3 lets numbers through that the enum does not have
        return str(kind)
