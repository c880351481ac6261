"""The edge of a service: what happens to every call before its handler sees it, and to every refusal after.

Token, role, field rules on the way in; on the way out a refusal becomes a google.rpc.Status, and anything
else a bug: logged with its traceback, shown as INTERNAL with the request id and no inner text.
"""

import contextvars
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import protovalidate
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram

from recast.faultpoints import within
from recast.faults import (
    FieldViolation,
    Internal,
    ProjectNotFound,
    Refusal,
    RequestInvalid,
    RoleNotAllowed,
    TokenInvalid,
)
from recast.rpc.identity import Caller, Verifier, acting_for
from recast.rpc.status import status_from_refusal

log = structlog.get_logger()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")

_CALLS = Counter("recast_rpc_calls_total", "Calls by method and status code.", ["method", "code"])
_SECONDS = Histogram("recast_rpc_seconds", "How long calls took, by method.", ["method"])

_FIELDS_IN_TEXT = 4
_MAX_REQUEST_ID = 64  # it is logged, and given back

# Open to everyone: they say nothing about anybody's resources.
_OPEN = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)


@dataclass(frozen=True)
class Access:
    """Who may call: one of `roles`, and, where `subjects` is not empty, one of those subjects if the role is
    `service`.
    """

    roles: frozenset[str]
    subjects: frozenset[str] = frozenset()

    def admits(self, caller: Caller) -> bool:
        """Whether the caller may."""
        return caller.role in self.roles and (caller.role != "service" or caller.subject in self.subjects)

    def __str__(self) -> str:
        services = f" ({', '.join(sorted(self.subjects))})" if self.subjects else ""
        return f"{' or '.join(sorted(self.roles))}{services}"


PEOPLE = Access(frozenset({"user", "operator"}))
OPERATORS = Access(frozenset({"operator"}))


def services(*subjects: str) -> Access:
    """For the named services alone."""
    return Access(frozenset({"service"}), frozenset(subjects))


def people_and(*subjects: str) -> Access:
    """For people and the named services."""
    return Access(PEOPLE.roles | {"service"}, frozenset(subjects))


def current_caller() -> Caller:
    """Who is making the call that this thread handles."""
    return _caller.get()


def enter_project(project: str) -> str:
    """Answers NOT_FOUND when the caller is not of this project (R61); gives the project otherwise."""
    if current_caller().project != project:
        raise ProjectNotFound(project=f"projects/{project}")
    return project


def check_message(message: Message) -> None:
    """Holds a request against the field rules of its contract; every broken one is named."""
    found = protovalidate.collect_violations(message)
    if found:
        fields = [FieldViolation(_path(each.proto.field), each.proto.message) for each in found]
        named = [f"{each.field}: {each.description}" for each in fields[:_FIELDS_IN_TEXT]]
        unnamed = [f"and {len(found) - len(named)} more"] if len(found) > len(named) else []
        raise RequestInvalid(problem="; ".join([*named, *unnamed]), fields=fields)


def _path(path: Any) -> str:
    parts = []
    for element in path.elements:
        index = getattr(element.subscript, "value", None) if element.subscript is not None else None
        parts.append(element.field_name + (f"[{index}]" if index is not None else ""))
    return ".".join(parts)


class Edge(grpc.ServerInterceptor):  # type: ignore[type-arg]  # grpcio's class takes no type arguments
    """The interceptor.

    `access` says who may call, by the full name of a service or of a method (which then wins).
    """

    def __init__(self, domain: str, verifier: Verifier, access: Mapping[str, Access]) -> None:
        self._domain = domain
        self._verifier = verifier
        self._access = access

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        """Wraps the handler, whichever of the four shapes it has. Health and reflection pass."""
        handler = continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler
        if handler.response_streaming:
            return self._streaming(handler, details.method)
        return self._single(handler, details.method)

    def _single(self, handler: Any, method: str) -> Any:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )

        def behave(request: Any, context: grpc.ServicerContext) -> Any:
            with self._around(method, context):
                return inner(_checked(request, handler.request_streaming), context)

        return make(behave, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, handler: Any, method: str) -> Any:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )

        def behave(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._around(method, context):
                # `yield from` inside the guard: an error raised while streaming must pass through it too.
                yield from inner(_checked(request, handler.request_streaming), context)

        return make(behave, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _around(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        given = dict(context.invocation_metadata())
        request_id = str(given.get("x-request-id", ""))[:_MAX_REQUEST_ID] or uuid.uuid4().hex
        begun, code = time.monotonic(), "OK"
        # Project and subject are empty until the caller is known: threads are used again, and the log of a
        # call without a token must not name the caller before it.
        bound = structlog.contextvars.bound_contextvars(
            request_id=request_id, method=method, project="", subject=""
        )
        with bound:
            try:
                caller = self._admit(method, given)
                with acting_for(caller.project), within(method.rpartition("/")[2]):
                    yield
            except Refusal as refusal:
                code = refusal.kind.name
                log.info("refused", reason=refusal.reason, text=refusal.text)
                context.abort_with_status(rpc_status.to_status(status_from_refusal(refusal, self._domain)))
            except grpc.RpcError:  # the client went away amid its stream: there is nobody to answer
                code = "CANCELLED"
                log.info("client went away")
                raise
            except Exception:  # a bug, whatever it is: the caller gets the request id and no inner text
                code = "INTERNAL"
                log.exception("bug")
                hidden = status_from_refusal(Internal(request_id=request_id), self._domain)
                context.abort_with_status(rpc_status.to_status(hidden))
            finally:
                _CALLS.labels(method, code).inc()
                _SECONDS.labels(method).observe(time.monotonic() - begun)

    def _admit(self, method: str, given: Mapping[str, Any]) -> Caller:
        scheme, _, token = str(given.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenInvalid(problem="the call has no token")
        caller = self._verifier.verify(token.strip())
        _, service, _ = method.split("/")
        access = self._access.get(method.lstrip("/")) or self._access.get(service)
        if access is None or not access.admits(caller):
            allowed = access or "nobody"
            raise RoleNotAllowed(
                method=method.lstrip("/"), allowed=allowed, caller=f"{caller.role} {caller.subject}"
            )
        _caller.set(caller)
        structlog.contextvars.bind_contextvars(project=caller.project, subject=caller.subject)
        return caller


def _checked(request: Any, streaming: bool) -> Any:
    if not streaming:
        check_message(request)
        return request
    return _checked_stream(request)


def _checked_stream(requests: Iterator[Message]) -> Iterator[Message]:
    for request in requests:
        check_message(request)
        yield request
