"""The edge of a service: every call's token, role and fields, before its handler sees it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import protovalidate
from google.protobuf.message import Message

from recast.faultpoints import within
from recast.faults import FieldViolation, RequestInvalid
from recast.rpc.access import Access
from recast.rpc.call import Call, Method
from recast.rpc.identity import Verifier

_FIELDS_IN_TEXT = 4
# Open to everyone: they say nothing about anybody's resources.
_OPEN = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)


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

    def _method(self, name: str) -> Method:
        _, service, _ = name.split("/")
        return Method(name, self._access.get(name.lstrip("/")) or self._access.get(service))

    def _wrapped(self, handler: Any, method: Method) -> Any:
        check = _checked_stream if handler.request_streaming else _checked
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        inner = getattr(handler, kind)
        make = getattr(grpc, f"{kind}_rpc_method_handler")

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with Call(method, context, self._domain) as call:
                call.admit(self._verifier)
                with within(method.verb):
                    return inner(check(request), context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with Call(method, context, self._domain) as call:
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
