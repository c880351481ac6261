"""ImageSourceService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.domain.refusals import HoldReleased
from ecs.storage import servers
from ecs.storage.tables import EndedHoldRow, ImageHoldRow, ServerRow
from recast.database import Database
from recast.ecs.v1 import image_source_service_pb2 as pb
from recast.ecs.v1 import image_source_service_pb2_grpc as grpc_pb
from recast.reservations import Release, plan_release, take
from recast.resources import lock_row
from recast.rpc.call import enter_project
from recast.rpc.names import parse_name


@dataclass(frozen=True)
class ImageSources(grpc_pb.ImageSourceServiceServicer):
    """The RPCs, and the collaborators that they need."""

    database: Database
    now: Callable[[], datetime]

    def HoldServer(
        self, request: pb.HoldServerRequest, context: grpc.ServicerContext
    ) -> pb.HoldServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            row = servers.load(tx.session, request.server, lock=True)
            found = servers.find_hold(tx.session, row.name, request.image, request.hold_id)
            released = HoldReleased(server=row.name, image=request.image, hold=request.hold_id)
            if take(found, request.image, released) is None:
                tx.session.merge(ImageHoldRow(server=row.name, image=request.image, hold_id=request.hold_id))
                row.touch(self.now())
                tx.session.add(row)
                tx.session.flush()
            response = pb.HoldServerResponse(server=servers.message_from_row(tx.session, row))
            tx.commit()
            return response

    def FreeServer(
        self, request: pb.FreeServerRequest, context: grpc.ServicerContext
    ) -> pb.FreeServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            row = lock_row(tx.session, ServerRow, request.server)
            found = servers.find_hold(tx.session, request.server, request.image, request.hold_id)
            plan = plan_release(found, request.image)
            if plan is Release.RELEASED and row is not None:
                tx.session.delete(tx.session.get_one(ImageHoldRow, (row.name, request.image)))
                row.touch(self.now())
                tx.session.add(row)
            if plan is not Release.NOTHING and request.hold_id:
                tx.session.add(
                    EndedHoldRow(hold_id=request.hold_id, server=request.server, create_time=self.now())
                )
            tx.commit()
            return pb.FreeServerResponse()
