"""ProvisioningService, for ECS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ims.domain.image import ImageKind, decide_use
from ims.domain.refusals import PinReleased
from ims.peers.csbs import Backups
from ims.storage import images
from ims.storage.chunks import ImageChunks
from ims.storage.tables import EndedPinRow, ImagePinRow, ImageRow
from recast.content.v1 import content_pb2
from recast.contracts.times import put_time
from recast.database import Database
from recast.ims.v1 import provisioning_service_pb2 as pb
from recast.ims.v1 import provisioning_service_pb2_grpc as grpc_pb
from recast.reservations import Release, plan_release, take
from recast.resources import lock_row
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name


@dataclass(frozen=True)
class Provisioning(grpc_pb.ProvisioningServiceServicer):
    """What its RPCs need."""

    database: Database
    backups: Backups
    chunks: ImageChunks
    now: Callable[[], datetime]

    def ResolveImage(
        self, request: pb.ResolveImageRequest, context: grpc.ServicerContext
    ) -> pb.ResolveImageResponse:
        project = enter_project(parse_name(request.image, "images", "image").project)
        with self.database.read() as session:
            row = images.load(session, request.image)
            decide_use(images.value_from_row(session, row))
        if row.kind == ImageKind.FULL_SERVER:
            content = self.backups.content(row.source_backup, row.name, row.lock_token)
        else:
            content = content_pb2.Content.FromString(row.content or b"")
            content.store.CopyFrom(self.chunks.location(project))
        return pb.ResolveImageResponse(image=images.message_from_row(row), content=content)

    def PinImage(self, request: pb.PinImageRequest, context: grpc.ServicerContext) -> pb.PinImageResponse:
        enter_project(parse_name(request.image, "images", "image").project)
        with self.database.write() as tx:
            row = images.load(tx.session, request.image, lock=True)
            decide_use(images.value_from_row(tx.session, row))
            found = images.find_pin(tx.session, row.name, request.pin_id)
            if take(found, request.holder, PinReleased(image=row.name, pin=request.pin_id)) is None:
                tx.session.add(
                    ImagePinRow(
                        image=row.name, pin_id=request.pin_id, holder=request.holder, create_time=self.now()
                    )
                )
            pin = tx.session.get_one(ImagePinRow, (row.name, request.pin_id))
            message = pb.ImagePin(image=pin.image, pin_id=pin.pin_id, holder=pin.holder)
            put_time(message.create_time, pin.create_time)
            tx.commit()
            return pb.PinImageResponse(pin=message)

    def UnpinImage(
        self, request: pb.UnpinImageRequest, context: grpc.ServicerContext
    ) -> pb.UnpinImageResponse:
        enter_project(parse_name(request.image, "images", "image").project)
        with self.database.write() as tx:
            lock_row(tx.session, ImageRow, request.image)
            plan = plan_release(images.find_pin(tx.session, request.image, request.pin_id), None)
            if plan is Release.RELEASED:
                tx.session.delete(tx.session.get_one(ImagePinRow, (request.image, request.pin_id)))
            if plan is not Release.NOTHING:
                tx.session.add(
                    EndedPinRow(pin_id=request.pin_id, image=request.image, create_time=self.now())
                )
            tx.commit()
            return pb.UnpinImageResponse()
