"""A service's gRPC server: its port, its methods, health, reflection, and a shutdown that drops no call."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recast.contracts import descriptor_set
from recast.rpc import health
from recast.rpc.access import Access, access_by_method
from recast.rpc.event_loop import run_in_loop
from recast.rpc.health import Health
from recast.rpc.identity import Verifier
from recast.rpc.incoming import Incoming
from recast.rpc.limits import Limits
from recast.rpc.reflection import VERSIONS, CommentedReflection
from recast.rpc.threads import HandlerThreads

GRACE_SECONDS = 8.0
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # two servers on one port by mistake must fail, not share
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_concurrent_streams", 256),  # of one connection; the client queues the others
    # Calls that the loop has not accepted. Above the first number gRPC cancels random calls of any caller:
    # its default, 1,000, is less than a burst on four connections.
    ("grpc.server.max_pending_requests", 16_384),
    ("grpc.server.max_pending_requests_hard_limit", 32_768),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 300_000),
    # The grace lets one call of an upload end, which takes up to ten minutes.
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 660_000),
    # Closes the connection of a client that no longer answers.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
)


@dataclass(frozen=True)
class Registration:
    """A servicer, the generated function that adds it, and its service's full name.

    `people` may call every method of it; `peers` has, for each peer, the methods that it may call.
    """

    service: str
    add: Callable[..., None]
    servicer: object
    people: Access
    peers: Mapping[str, Collection[str]] = field(default_factory=dict)


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
        *,
        serves: bool = True,
        reflection: bool = True,
        limits: Limits = Limits(),  # noqa: B008  # it is frozen
    ) -> None:
        """`serves`: whether it answers calls beside health. `reflection`: whether it serves the contracts."""
        if not serves:
            registrations = []
        access = {
            name: allowed
            for each in registrations
            for name, allowed in access_by_method(each.service, each.people, each.peers)
        }
        access |= methods
        self._threads = HandlerThreads(name, limits)
        self._incoming = Incoming(f"{name}.recast", verifier, access, self._threads, limits)
        for each in registrations:
            each.add(each.servicer, self._incoming)
        services = [each.service for each in registrations]
        self._health = Health(services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._incoming)
        if reflection:
            listed = [*services, *VERSIONS, health.SERVICE]
            self._incoming.add_generic_rpc_handlers(CommentedReflection(descriptor_set(), listed).handlers())
        self._server, self.port = run_in_loop(self._bind(address, credentials))

    async def _bind(
        self, address: str, credentials: grpc.ServerCredentials | None
    ) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(handlers=[self._incoming], options=_OPTIONS)
        if credentials:
            return server, server.add_secure_port(address, credentials)
        return server, server.add_insecure_port(address)

    def start(self) -> None:
        """Serves, and sets health to SERVING: for the server, and for each service."""
        run_in_loop(self._server.start())
        run_in_loop(self._health.set_all(health_pb2.HealthCheckResponse.SERVING))

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Sets health to NOT_SERVING, accepts no new calls, lets running ones end within the grace.

        Waits also for handlers that run longer, though their calls are cancelled: afterwards no handler uses
        the database, and every answer to a client agrees with it.
        """
        run_in_loop(self._health.set_all(health_pb2.HealthCheckResponse.NOT_SERVING))
        run_in_loop(self._server.stop(grace_seconds))
        run_in_loop(self._incoming.wait_until_idle())
        self._threads.close()
