"""Handles every call of a server: token, request, field rules, handler, in this order.

A coroutine owns each call from its headers on. It takes a thread only when the caller is verified and the
request is complete. So every method is registered with gRPC as one with a stream of requests: for unary
requests gRPC itself would await the request first. The bytes on the wire are the same.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc.aio import EOF  # type: ignore[attr-defined]  # grpcio's types lack it

from recast.faultpoints import within
from recast.faults import RequestInvalid, RequestTimeout
from recast.rpc.access import Access
from recast.rpc.bounded_log import BoundedLog
from recast.rpc.call import Call, Method, current_caller
from recast.rpc.field_rules import check_message, check_projects
from recast.rpc.identity import Verifier
from recast.rpc.limits import Limits, PeerCalls
from recast.rpc.threads import HandlerThreads

_END = object()
# Without a token: they expose no resources.
_OPEN = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)


class Endpoint:
    """A method of a servicer.

    A plain function runs in a thread. An `async def` runs in the event loop and holds no thread: for methods
    that wait. A method with a stream of requests must be one.
    """

    def __init__(self, method: Method, handler: Any, *, is_open: bool) -> None:
        self.method = method
        self.is_open = is_open
        self.takes_stream: bool = handler.request_streaming
        self.gives_stream: bool = handler.response_streaming
        shape = f"{'stream' if self.takes_stream else 'unary'}_{'stream' if self.gives_stream else 'unary'}"
        self.function = getattr(handler, shape)
        self._deserialize = handler.request_deserializer
        self._serialize = handler.response_serializer
        self.is_async = inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(
            self.function
        )
        if self.takes_stream and not self.is_async:
            raise TypeError(f"{method.name} takes a stream of requests: it must be an async function")

    def parse(self, raw: bytes) -> Message:
        """The request; RequestInvalid when it cannot be parsed, or breaks a field's rule.

        ProjectNotFound when it names a resource of another project than the caller's.
        """
        try:
            request: Message = self._deserialize(raw)
        except DecodeError as problem:
            raise RequestInvalid(problem=f"the request cannot be read: {problem}") from None
        check_message(request)
        if not self.is_open:
            check_projects(request, current_caller().project)
        return request

    def serialize(self, answer: Message | bytes) -> bytes:
        """The answer's bytes; serialized ones are unchanged."""
        return answer if isinstance(answer, bytes) else self._serialize(answer)

    def handle(self, raw: bytes, call: Call) -> bytes:
        """Parses the request, runs a plain handler, serializes the answer; all in the handler's thread."""
        request = self.parse(raw)
        with within(self.method.verb):
            return self.serialize(self.function(request, call))


class Incoming(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # grpcio's class takes no type arguments
    """The handler of every method of a server.

    It takes the handlers that generated code registers, like a grpc.Server. `access` has the allowed callers
    by the full name of a service or of a method (which takes precedence).
    """

    def __init__(
        self,
        domain: str,
        verifier: Verifier,
        access: Mapping[str, Access],
        threads: HandlerThreads,
        limits: Limits,
    ) -> None:
        self._domain = domain
        self._verifier = verifier
        self._access = access
        self._threads = threads
        self._limits = limits
        self._arriving = PeerCalls(limits.calls_of_a_peer, "whose request has not arrived")
        self._open_calls = PeerCalls(limits.calls_of_a_peer, "that need no token")
        self._unverified = BoundedLog()
        self._registered: list[Any] = []
        self._handlers: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Registers a servicer's methods; called by generated code."""
        self._registered.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """The same methods once more; called by generated code."""

    def service(self, details: Any) -> Any:
        """The method's handler, for gRPC; None when there is no such method."""
        known = self._handlers.get(details.method)
        if known is not None:
            return known
        found = next((found for each in self._registered if (found := each.service(details))), None)
        if found is None:
            return None  # not cached: callers can name any number of unknown methods
        adapted = self._handlers[details.method] = self._adapted(self._endpoint(details.method, found))
        return adapted

    async def wait_until_idle(self) -> None:
        """Returns when the coroutine of every call has ended: gRPC's own shutdown does not wait for them."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _endpoint(self, name: str, handler: Any) -> Endpoint:
        _, service, _ = name.split("/")
        access = self._access.get(name.lstrip("/")) or self._access.get(service)
        return Endpoint(Method(name, access), handler, is_open=service in _OPEN)

    def _adapted(self, endpoint: Endpoint) -> Any:
        async def respond(_requests: object, stream: grpc.aio.ServicerContext[Any, Any]) -> bytes | None:
            return await self._respond(endpoint, stream)

        # Without serializers: gRPC passes bytes.
        if endpoint.gives_stream:
            return grpc.stream_stream_rpc_method_handler(respond)
        return grpc.stream_unary_rpc_method_handler(respond)

    async def _respond(self, endpoint: Endpoint, stream: grpc.aio.ServicerContext[Any, Any]) -> bytes | None:
        call = Call(endpoint.method, stream, self._domain, self._threads, self._unverified)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if endpoint.is_open:
                async with self._open_calls.holding(call.peer()):
                    answer = await self._answer(endpoint, call)
            else:
                call.admit(self._verifier)
                answer = await self._answer(endpoint, call)
        except BaseException as problem:  # any: the call gets its status
            await call.fail(problem)
            raise
        else:
            call.count("OK")
            return answer
        finally:
            self._tasks.discard(task)

    async def _answer(self, endpoint: Endpoint, call: Call) -> bytes | None:
        """The answer; None when it was a stream, sent already."""
        request: Any
        if endpoint.takes_stream:
            limits = self._limits
            seconds = limits.idle_stream_seconds if endpoint.is_open else limits.message_seconds
            request = _requests(endpoint, call, seconds)
        else:
            async with self._arriving.holding(call.peer(), self._limits.request_seconds):
                raw = await _uncancelled(_only_message(call.stream))
            if not endpoint.is_async and not endpoint.gives_stream:
                return await call.in_thread(endpoint.handle, raw, call)
            request = endpoint.parse(raw)
        with within(endpoint.method.verb):
            if not endpoint.gives_stream:
                return endpoint.serialize(await endpoint.function(request, call))
            answers = endpoint.function if endpoint.is_async else _async_generator(endpoint.function)
            async for answer in answers(request, call):
                await call.stream.write(endpoint.serialize(answer))
            return None


async def _only_message(stream: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """The one request of a call, once the client has closed its stream."""
    raw = await stream.read()
    if raw is EOF:
        raise RequestInvalid(problem="the call ended without a request")
    if await stream.read() is not EOF:
        raise RequestInvalid(problem="the call has more than one request")
    assert isinstance(raw, bytes)
    return raw


async def _requests(endpoint: Endpoint, call: Call, seconds: float) -> AsyncIterator[Message]:
    """The requests of a stream as they arrive; RequestTimeout for the next one."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                raw = await _uncancelled(call.stream.read())
        except TimeoutError:
            raise RequestTimeout(part="the next message", seconds=seconds) from None
        if raw is EOF:
            return
        yield endpoint.parse(raw)


async def _uncancelled(read: Coroutine[Any, Any, Any]) -> Any:
    """Awaits a read without cancelling it: after a cancel of the caller the end of the call ends the read.

    A cancelled read leaks memory in grpc.aio (grpc issue 43360), and any client can cancel.
    """
    task = asyncio.ensure_future(read)
    task.add_done_callback(_retrieve_exception)
    return await asyncio.shield(task)


def _retrieve_exception(task: "asyncio.Future[Any]") -> None:
    """Retrieves the error of an abandoned read, which asyncio would log."""
    if not task.cancelled():
        task.exception()


def _async_generator(function: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Adapts a plain generator: a thread makes each answer, and no thread waits for its sending."""

    async def answers(request: Message, call: Call) -> AsyncIterator[Any]:
        iterator = await call.in_thread(function, request, call)
        try:
            while (answer := await call.in_thread(next, iterator, _END)) is not _END:
                yield answer
        finally:
            if close := getattr(iterator, "close", None):
                await call.clean_up(close)

    return answers
