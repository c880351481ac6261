"""ImageSourceService, for IMS alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import grpc

from ecs.storage import servers
from ecs.storage.tables import ImageHoldRow
from recast.ecs.v1 import image_source_service_pb2 as pb
from recast.ecs.v1 import image_source_service_pb2_grpc as grpc_pb
from recast.rpc.edge import enter_project
from recast.rpc.names import parse_name
from recast.unitofwork import Database


@dataclass(frozen=True)
class ImageSources(grpc_pb.ImageSourceServiceServicer):
    """What its RPCs need."""

    database: Database
    now: Callable[[], datetime]

    def HoldServer(
        self, request: pb.HoldServerRequest, context: grpc.ServicerContext
    ) -> pb.HoldServerResponse:
        enter_project(parse_name(request.server, "servers", "server").project)
        with self.database.write() as tx:
            row = servers.load(tx.session, request.server, lock=True)
            if tx.session.get(ImageHoldRow, (row.name, request.image)) is None:
                tx.session.add(ImageHoldRow(server=row.name, image=request.image))
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
            hold = tx.session.get(ImageHoldRow, (request.server, request.image))
            if hold is not None:
                tx.session.delete(hold)
                row = servers.load(tx.session, request.server, lock=True)
                row.touch(self.now())
                tx.session.add(row)
                tx.commit()
            return pb.FreeServerResponse()
