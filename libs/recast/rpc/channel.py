"""A channel to a service: adds token, deadline and retries to each call, and raises a status as a refusal.

Retries follow AIP-194, by gRPC's own service config: UNAVAILABLE, and calls that a server did not accept
before its shutdown. A request with a request id field always has an id, so that a retry has no second effect.
Deadlines are set by an interceptor, because the service config's timeout is not sent to the server.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import grpc
import structlog

from recast.faultpoints import reach
from recast.faults import Refusal, RemoteRefusal
from recast.rpc.status import refusal_from_rpc_error

DEADLINE_SECONDS = 20.0

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    # gRPC's servers answer CANCELLED to calls that were not accepted before shutdown.
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
)
_OPTIONS = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


@runtime_checkable
class TokensOfAService(Protocol):
    """Makes tokens for calls to peers. Not ServiceTokens itself: a client need not load its libraries."""

    def refusal(self, refusal: RemoteRefusal) -> Refusal:
        """The refusal of a call, as its caller must act on it."""
        ...


# The stubs call these generic, but grpcio's classes take no type arguments.
class _Outgoing(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
):
    """Adds token, request id and deadline to every call; turns a failed one into a refusal."""

    def __init__(self, token: Callable[[], str], deadline_seconds: float) -> None:
        self._token = token
        self._deadline = deadline_seconds

    def _details(self, details: Any) -> _Details:
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {self._token()}")]
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id:
            metadata.append(("x-request-id", request_id))
        timeout = details.timeout if details.timeout is not None else self._deadline
        return _Details(
            details.method,
            timeout,
            metadata,
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )

    def _refusal(self, error: grpc.RpcError) -> Refusal:
        refusal = refusal_from_rpc_error(error)
        return self._token.refusal(refusal) if isinstance(self._token, TokensOfAService) else refusal

    def _single(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        name = details.method.rpartition("/")[2]
        reach(f"call {name}")
        call = continuation(self._details(details), request)
        try:
            call.result()
        except grpc.RpcError as error:
            raise self._refusal(error) from None
        reach(f"answered {name}")
        return call

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """One request, one reply."""
        return self._single(continuation, client_call_details, _identified(request))

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Many requests, one reply."""
        return self._single(continuation, client_call_details, request_iterator)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """One request, many replies; an error in the stream is raised as a refusal too."""
        return self._stream(continuation, client_call_details, request)

    def _stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Iterator[Any]:
        try:
            yield from continuation(self._details(details), request)
        except grpc.RpcError as error:
            raise self._refusal(error) from None


def _identified(request: Any) -> Any:
    """The request, with an id if it has the field: gRPC retries it, which must have no second effect."""
    if "request_id" not in request.DESCRIPTOR.fields_by_name or request.request_id:
        return request
    identified = type(request)()
    identified.CopyFrom(request)
    identified.request_id = uuid.uuid4().hex
    return identified


def proxy_options(target: str) -> list[tuple[str, int]]:
    """Channel options by which a proxy of the environment is not used for this machine's own services.

    No proxy can reach them, though `http_proxy` is often set without `no_proxy`.
    """
    host = target.rpartition(":")[0].strip("[]")
    is_loopback = host in {"localhost", "::1"} or host.startswith("127.")
    return [("grpc.enable_http_proxy", 0)] if is_loopback else []


def connect(
    target: str,
    token: Callable[[], str],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    credentials: grpc.ChannelCredentials | None = None,
) -> grpc.Channel:
    """A channel to `target` (`host:port`). `token` is called before each call, so that it may be renewed."""
    options = [*_OPTIONS, *proxy_options(target)]
    channel = (
        grpc.secure_channel(target, credentials, options=options)
        if credentials
        else grpc.insecure_channel(target, options=options)
    )
    return grpc.intercept_channel(channel, _Outgoing(token, deadline_seconds))
