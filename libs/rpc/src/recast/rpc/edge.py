"""The edge of a service: what happens to every call before its handler sees it, and to every refusal after.

Token, role, field rules on the way in; on the way out a refusal becomes a google.rpc.Status, and anything
else a bug: logged with its traceback, shown as INTERNAL with the request id and no inner text.
"""

import contextvars
import random
import time
from collections.abc import Callable, Iterator, Mapping
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
from recast.rpc.identity import Caller, Verifier, act_for
from recast.rpc.status import status_from_refusal

log = structlog.get_logger()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")

_CALLS = Counter("recast_rpc_calls_total", "Calls by method and status code.", ["method", "code"])
_SECONDS = Histogram("recast_rpc_seconds", "How long calls took, by method.", ["method"])

_FIELDS_IN_TEXT = 4
_NOBODY = Caller("", "", "")
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


class _Method:
    """A method, as it is known before its first call: who may, and where its calls are counted."""

    def __init__(self, name: str, access: Access | None) -> None:
        self.name = name
        self.verb = name.rpartition("/")[2]
        self._access = access
        self._seconds = _SECONDS.labels(name)
        self._calls: dict[str, Counter] = {}

    def admit(self, caller: Caller) -> None:
        """RoleNotAllowed, unless the caller may."""
        if self._access is None or not self._access.admits(caller):
            allowed, who = self._access or "nobody", f"{caller.role} {caller.subject}"
            raise RoleNotAllowed(method=self.name.lstrip("/"), allowed=allowed, caller=who)

    def count(self, code: str, seconds: float) -> None:
        """A call that ended with this status code."""
        if code not in self._calls:
            self._calls[code] = _CALLS.labels(self.name, code)
        self._calls[code].inc()
        self._seconds.observe(seconds)


class _Call:
    """A call, from its metadata to its count: `with` it around what answers it.

    What it binds to its thread (for the log, for the handler, for calls to peers) stays there: each call
    binds all of it anew, and the server's threads do nothing else.
    """

    __slots__ = ("_begun", "_context", "_domain", "_given", "_method", "_request_id")

    def __init__(self, method: _Method, context: grpc.ServicerContext, domain: str) -> None:
        self._begun = time.monotonic()
        self._method = method
        self._context = context
        self._domain = domain
        self._given = given = dict(context.invocation_metadata())
        self._request_id = str(given.get("x-request-id", ""))[:_MAX_REQUEST_ID] or _new_request_id()

    def admit(self, verifier: Verifier) -> None:
        """Finds out who calls, and whether they may."""
        caller = _NOBODY  # until more is known: the log must not name the caller before
        try:
            caller = verifier.verify(self._token())
        finally:
            _caller.set(caller)
            act_for(caller.project)
            structlog.contextvars.bind_contextvars(
                request_id=self._request_id,
                method=self._method.name,
                project=caller.project,
                subject=caller.subject,
            )
        self._method.admit(caller)

    def _token(self) -> str:
        scheme, _, token = str(self._given.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenInvalid(problem="the call has no token")
        return token.strip()

    def __enter__(self) -> "_Call":
        return self

    def __exit__(self, _kind: object, problem: BaseException | None, _traceback: object) -> None:
        """Answers what was raised, by raising what gRPC takes for it."""
        code, answer = "OK", None
        if isinstance(problem, Refusal):
            code, answer = problem.kind.name, problem
            log.info("refused", reason=problem.reason, text=problem.text)
        elif isinstance(problem, grpc.RpcError | GeneratorExit):  # amid its stream: there is nobody to answer
            code = "CANCELLED"
            log.info("client went away")
        elif isinstance(problem, Exception):  # a bug, whatever it is: the caller sees no inner text
            code, answer = "INTERNAL", Internal(request_id=self._request_id)
            log.error("bug", exc_info=problem)
        self._method.count(code, time.monotonic() - self._begun)
        if answer is not None:
            status = status_from_refusal(answer, self._domain)
            self._context.abort_with_status(rpc_status.to_status(status))


def _new_request_id() -> str:
    """It need not be secret, only another than all others."""
    return f"{random.getrandbits(128):032x}"


class Edge(grpc.ServerInterceptor):  # type: ignore[type-arg]  # grpcio's class takes no type arguments
    """The interceptor.

    `access` says who may call, by the full name of a service or of a method (which then wins).
    """

    def __init__(self, domain: str, verifier: Verifier, access: Mapping[str, Access]) -> None:
        self._domain = domain
        self._verifier = verifier
        self._access = access
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        """The method's handler, wrapped whichever of the four shapes it has; health and reflection pass."""
        known = self._handlers.get(details.method)
        if known is not None:
            return known
        handler = continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler  # none is kept: of methods that are not there, anybody can name any number
        wrapped = self._handlers[details.method] = self._wrapped(handler, self._method(details.method))
        return wrapped

    def _method(self, name: str) -> _Method:
        _, service, _ = name.split("/")
        return _Method(name, self._access.get(name.lstrip("/")) or self._access.get(service))

    def _wrapped(self, handler: Any, method: _Method) -> Any:
        check = _checked_stream if handler.request_streaming else _checked
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        inner = getattr(handler, kind)
        make = getattr(grpc, f"{kind}_rpc_method_handler")

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with _Call(method, context, self._domain) as call:
                call.admit(self._verifier)
                with within(method.verb):
                    return inner(check(request), context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _Call(method, context, self._domain) as call:
                call.admit(self._verifier)
                with within(method.verb):
                    # `yield from` inside the guard: an error raised while streaming must pass it too.
                    yield from inner(check(request), context)

        behave = stream if handler.response_streaming else answer
        return make(behave, handler.request_deserializer, _serializer(handler.response_serializer))


def _serializer(serialize: Callable[[Message], bytes]) -> Callable[[Message | bytes], bytes]:
    """An answer that was kept as bytes is given as it is."""
    return lambda answer: answer if isinstance(answer, bytes) else serialize(answer)


def _checked(request: Message) -> Message:
    check_message(request)
    return request


def _checked_stream(requests: Iterator[Message]) -> Iterator[Message]:
    for request in requests:
        check_message(request)
        yield request
