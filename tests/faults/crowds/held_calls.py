"""Calls that a client holds open: half-sent requests, idle streams, waits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recast.ims.v1 import image_service_pb2 as images_pb
from recast.rpc.event_loop import event_loop, run_in_loop

_CALLS_OF_A_CONNECTION = 250  # within the server's max_concurrent_streams
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)  # each channel is a connection of its own
Metadata = Sequence[tuple[str, str]]
Open = Callable[[grpc.aio.Channel], Any]
"""Begins a call on a channel, and gives it."""


def half_sent(method: str, metadata: Metadata = ()) -> Open:
    """A unary call of which only the headers are sent."""
    return lambda channel: channel.stream_unary(f"/{method}")(metadata=metadata)


def reflection() -> Open:
    """A reflection stream without a request."""
    method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    return lambda channel: channel.stream_stream(method)()


def watch() -> Open:
    """A health Watch, which never ends."""
    return lambda channel: health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())


def wait(operation: str, metadata: Metadata) -> Open:
    """A wait for work that does not end."""
    request = operations_pb2.WaitOperationRequest(name=operation, timeout=Duration(seconds=60))
    method = "/google.longrunning.Operations/WaitOperation"
    return lambda channel: channel.unary_unary(method)(request.SerializeToString(), metadata=metadata)


def upload(header: Callable[[], images_pb.ImportImageHeader], metadata: Metadata) -> Open:
    """An upload of which no byte follows the header."""

    def begin(channel: grpc.aio.Channel) -> Any:
        call = channel.stream_unary("/recast.ims.v1.ImageService/ImportImage")(metadata=metadata)
        request = images_pb.ImportImageRequest(header=header())
        call.sent = asyncio.ensure_future(call.write(request.SerializeToString()))  # type: ignore[attr-defined]
        return call

    return begin


@dataclass
class HeldCalls:
    """Holds `count` calls of each kind open, over as many connections as they need.

    A call that ends because its request is late is opened again; one that is refused is not. UNAVAILABLE is
    a stream that the connection refused: it was opened before the end of another was acknowledged.
    """

    target: str
    kinds: Sequence[Open]
    count: int
    open: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    _channels: list[grpc.aio.Channel] = field(default_factory=list)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def begin(self) -> None:
        """Returns when the server has received the headers of every call."""
        for kind in self.kinds:
            for number in range(self.count):
                if number % _CALLS_OF_A_CONNECTION == 0:
                    self._channels.append(grpc.aio.insecure_channel(self.target, options=_OPTIONS))
                channel = self._channels[-1]
                self._tasks.append(event_loop().create_task(self._hold(kind, channel, kind(channel))))
        for channel in self._channels:  # a connection carries the headers of calls in their order
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    async def _hold(self, kind: Open, channel: grpc.aio.Channel, call: Any) -> None:
        while True:
            self.open += 1
            try:
                code = await call.code()
            finally:
                self.open -= 1
                call.cancel()
            self.ended[code.name] += 1
            if code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return
            call = kind(channel)

    async def end(self) -> None:
        """Cancels every call and closes the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()


@contextmanager
def holding(target: str, kinds: Sequence[Open], count: int) -> Iterator[HeldCalls]:
    """Holds the calls open in the block."""
    held = HeldCalls(target, kinds, count)
    try:
        run_in_loop(held.begin())
        yield held
    finally:
        run_in_loop(held.end())
