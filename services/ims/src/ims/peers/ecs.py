"""The servers of ECS: held while an image is made from them."""

import grpc

from recast.ecs.v1 import image_source_service_pb2 as pb
from recast.ecs.v1 import image_source_service_pb2_grpc as grpc_pb
from recast.faults import Kind, Refusal

_RELEASED = "HOLD_RELEASED"


class SourceServers:
    """The servers of ECS."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._source = grpc_pb.ImageSourceServiceStub(channel)

    def hold(self, server: str, image: str, hold_id: str) -> bool:
        """Keeps a stopped server stopped (R23).

        False when the server was deleted, or `hold_id` was freed already.
        """
        try:
            self._source.HoldServer(pb.HoldServerRequest(server=server, image=image, hold_id=hold_id))
        except Refusal as refusal:
            if refusal.kind is not Kind.NOT_FOUND and refusal.reason != _RELEASED:
                raise
            return False
        return True

    def free(self, server: str, image: str, hold_id: str) -> None:
        """Ends the hold; a later hold under the same id is refused."""
        self._source.FreeServer(pb.FreeServerRequest(server=server, image=image, hold_id=hold_id))
