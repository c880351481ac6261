"""A service's gRPC server: thread pool, edge, health, reflection, an end that drops no call."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from recast.contracts import descriptor_set
from recast.rpc.access import Access
from recast.rpc.edge import Edge
from recast.rpc.identity import Verifier
from recast.rpc.one_core import OneCore
from recast.rpc.reflection import VERSIONS, CommentedReflection

log = structlog.get_logger()

# A waiting call holds a thread: the pool is larger than the cap on waits, so that there is always room for
# other calls.
POOL_THREADS = 48
MAX_WAITS = 24
GRACE_SECONDS = 8.0


@dataclass(frozen=True)
class Registration:
    """A servicer, the generated function that adds it, its service's full name, and who may call it."""

    service: str
    add: Callable[..., None]
    servicer: object
    access: Access


class Server:
    """One service's server.

    `start`, then `stop`; `port` is the one that was bound (for an address ending in `:0`).
    """

    def __init__(
        self,
        name: str,
        address: str,
        verifier: Verifier,
        registrations: Sequence[Registration],
        credentials: grpc.ServerCredentials | None = None,
        methods: Mapping[str, Access] = MappingProxyType({}),
        serves: bool = True,
        one_core: bool = True,
    ) -> None:
        """`serves`: whether it answers calls; health is answered in any case. `one_core`: its threads stay
        together.
        """
        self._core = OneCore() if one_core else None
        if not serves:
            registrations = []
        access = {each.service: each.access for each in registrations} | dict(methods)
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix=f"{name}-rpc")
        self._server = grpc.server(
            self._pool,
            interceptors=[Edge(f"{name}.recast", verifier, access)],
            options=[
                ("grpc.so_reuseport", 0),  # two servers on one port by mistake must fail, not share
                ("grpc.max_receive_message_length", 4 << 20),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ],
        )
        for each in registrations:
            each.add(each.servicer, self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._services = [each.service for each in registrations]
        CommentedReflection(descriptor_set(), [*self._services, *VERSIONS, health.SERVICE_NAME]).register(
            self._server
        )
        bound = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self.port: int = bound

    def start(self) -> None:
        """Serves, and says so by the health service: for the whole, and for each service."""
        with self._core.holding() if self._core else nullcontext():
            self._server.start()
        for service in ("", *self._services):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Says NOT_SERVING, takes no new calls, lets those under way end within the grace."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_seconds).wait()
        if self._core:
            self._core.end()
        self._pool.shutdown(wait=False)  # gRPC leaves the threads to whoever made them
