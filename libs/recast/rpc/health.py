"""grpc.health.v1.Health, in the event loop: it answers even when all handlers' threads are busy."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from recast.rpc.call import Call

SERVICE = "grpc.health.v1.Health"


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """The state of the whole server, under the empty name, and of each of its services."""

    def __init__(self, services: Iterable[str]) -> None:
        self._states = dict.fromkeys(("", *services), HealthCheckResponse.NOT_SERVING)
        self._changed = asyncio.Event()

    async def set_all(self, state: int) -> None:
        """Sets the state of the server and of all its services."""
        self._states = dict.fromkeys(self._states, state)
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: HealthCheckRequest, context: Call) -> HealthCheckResponse:
        """The current state; NOT_FOUND for a service that this server does not have."""
        if request.service not in self._states:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service[:100]}")
        return HealthCheckResponse(status=self._states[request.service])

    async def Watch(self, request: HealthCheckRequest, context: Call) -> AsyncIterator[HealthCheckResponse]:
        """The current state, and each later one, without end."""
        sent = None
        while True:
            changed = self._changed
            state = self._states.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
            if state != sent:
                yield HealthCheckResponse(status=state)
                sent = state
            await changed.wait()
