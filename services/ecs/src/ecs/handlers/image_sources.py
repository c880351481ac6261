"""ImageSourceService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.domain.refusals import HoldEnded
from ecs.storage import servers
from ecs.storage.tables import EndedHoldRow, ImageHoldRow, ServerRow
from recast.database import Database
from recast.ecs.v1 import image_source_service_pb2 as pb
from recast.ecs.v1 import image_source_service_pb2_grpc as grpc_pb
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
            if tx.session.get(EndedHoldRow, (request.hold_id, row.name)) is not None:
                raise HoldEnded(server=row.name, image=request.image, hold=request.hold_id)
            hold = tx.session.get(ImageHoldRow, (row.name, request.image))
            if hold is None or hold.hold_id != request.hold_id:
                tx.session.merge(ImageHoldRow(server=row.name, image=request.image, hold_id=request.hold_id))
                row.touch(self.now())
                tx.session.add(row)
                tx.session.flush()
            response = pb.HoldServerResponse(server=servers.message(tx.session, row))
            tx.commit()
            return response

    def FreeServer(
        self, request: pb.FreeServerRequest, context: grpc.ServicerContext
    ) -> pb.FreeServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            row = lock_row(tx.session, ServerRow, request.server)
            hold = tx.session.get(ImageHoldRow, (request.server, request.image))
            if row is not None and hold is not None and hold.hold_id in {"", request.hold_id}:
                tx.session.delete(hold)
                row.touch(self.now())
                tx.session.add(row)
            if request.hold_id:
                ended = EndedHoldRow(hold_id=request.hold_id, server=request.server, create_time=self.now())
                tx.session.merge(ended)
            tx.commit()
            return pb.FreeServerResponse()
