"""Calls whose request is late, missing, doubled or too long; and the limit of them for a peer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.ims.v1 import image_service_pb2 as ims
from recast.rpc.event_loop import run_in_loop
from recast.rpc.identity import Caller
from recast.rpc.limits import Limits, PeerCalls
from recast.rpc.reflection import VERSIONS
from tests.harness.expectations import until
from tests.unit.rpc.conftest import Handlers, Service, make_server

ME = Caller("me", "demo", "user")
GET = csbs.GetBackupRequest(name="projects/demo/backups/nightly")
_SECONDS = 0.2
_MOST = 20


@pytest.fixture(scope="module")
def hasty(keys: Path) -> Iterator[Service]:
    """A server that waits shortly, and takes few calls of a peer."""
    limits = Limits(
        request_seconds=_SECONDS,
        message_seconds=_SECONDS,
        idle_stream_seconds=_SECONDS,
        calls_of_a_peer=_MOST,
    )
    handlers = Handlers()
    running = make_server(handlers, keys, limits=limits)
    running.start()
    yield Service(f"127.0.0.1:{running.port}", handlers, keys)
    running.stop(0)


class Call:
    """A call to a method whose requests are sent one by one, and ended only by `end`."""

    def __init__(self, service: Service, channel: grpc.Channel, method: str, token: str | None) -> None:
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        metadata = [("authorization", f"Bearer {token}")] if token else []
        self.call = channel.stream_unary(f"/{method}").future(
            iter(self._requests.get, None), metadata=metadata, timeout=20
        )

    def send(self, *requests: Any) -> "Call":
        """Sends requests."""
        for each in requests:
            self._requests.put(each.SerializeToString())
        return self

    def end(self) -> "Call":
        """Sends no more."""
        self._requests.put(None)
        return self

    def refusal(self) -> tuple[grpc.StatusCode, str]:
        """The code of the call's status, and its reason where it has one."""
        error = self.call.exception(20)
        self.end()
        status, info = rpc_status.from_call(self.call), error_details_pb2.ErrorInfo()
        if status is not None:
            status.details[0].Unpack(info)
        return error.code(), info.reason


@contextmanager
def calling(
    service: Service, method: str = "recast.csbs.v1.BackupService/GetBackup", token: str | None = ""
) -> Iterator[Call]:
    """A call; with a good token unless another, or none, is given."""
    with service.plain() as channel:
        call = Call(service, channel, method, service.token(ME) if token == "" else token)
        yield call
        call.end()


class TestRequests:
    """Methods of one request."""

    @pytest.mark.parametrize("sent", [[], [GET]], ids=["nothing", "no end"])
    def test_a_request_that_does_not_end_is_refused(self, hasty: Service, sent: list[Any]) -> None:
        """A verified call whose request is not whole in time is DEADLINE_EXCEEDED, and reaches no handler."""
        hasty.handlers.calls.clear()
        with calling(hasty) as call:
            assert call.send(*sent).refusal() == (grpc.StatusCode.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT")
        assert hasty.handlers.calls == []

    @pytest.mark.parametrize("token", [None, "x"])
    def test_a_bad_token_is_refused_before_the_request(self, service: Service, token: str | None) -> None:
        """A call without a good token is refused at once, though its request never arrives."""
        with calling(service, token=token) as call:
            assert call.refusal() == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")

    def test_a_role_is_refused_before_the_request(self, service: Service) -> None:
        """A call that its caller may not make is refused at once, though its request never arrives."""
        with calling(service, "recast.csbs.v1.BackupService/ListBackups") as call:
            assert call.refusal() == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")

    def test_an_unknown_method_is_refused_before_the_request(self, service: Service) -> None:
        """A method that is not there is UNIMPLEMENTED at once, though its request never arrives."""
        with calling(service, "recast.csbs.v1.BackupService/Nothing") as call:
            assert call.refusal() == (grpc.StatusCode.UNIMPLEMENTED, "")

    @pytest.mark.parametrize("sent", [[], [GET, GET]], ids=["none", "two"])
    def test_one_request_is_due(self, service: Service, sent: list[Any]) -> None:
        """No request, or two, where one is due are INVALID_ARGUMENT."""
        with calling(service) as call:
            call.send(*sent).end()
            assert call.refusal() == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
        assert service.handlers.calls == []

    def test_bytes_that_are_no_message_are_refused(self, service: Service) -> None:
        """Bytes that are no message of the method are INVALID_ARGUMENT, not a bug."""
        with service.plain() as channel:
            call = channel.unary_unary("/recast.csbs.v1.BackupService/GetBackup")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"\xff\xff", metadata=[("authorization", f"Bearer {service.token(ME)}")])
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    def test_a_request_of_more_than_4_mib_is_refused(self, service: Service) -> None:
        """A request of more than 4 MiB is RESOURCE_EXHAUSTED, and reaches no handler."""
        with calling(service) as call:
            call.send(csbs.GetBackupRequest(name="x" * (4 << 20))).end()
            assert call.refusal()[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert service.handlers.calls == []


class TestStreams:
    """Streams of requests."""

    def test_a_late_message_ends_an_upload(self, hasty: Service) -> None:
        """A stream whose next message is late is refused, and its handler gets an exception."""
        received: list[str] = []

        async def take(requests: AsyncIterator[ims.ImportImageRequest], _context: object) -> Any:
            try:
                async for request in requests:
                    received.append(request.WhichOneof("part"))
            finally:
                received.append("end")

        hasty.handlers.given["ImportImage"] = take
        piece = ims.ImportImageRequest(chunk=ims.ImportImageChunk(data=b"x"))
        with calling(hasty, "recast.ims.v1.ImageService/ImportImage") as call:
            assert call.send(piece).refusal() == (grpc.StatusCode.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT")
        assert received == ["chunk", "end"]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_an_idle_reflection_stream_ends(self, hasty: Service, version: str) -> None:
        """A reflection stream without requests is ended."""
        with calling(hasty, f"{version}/ServerReflectionInfo", None) as call:
            assert call.refusal() == (grpc.StatusCode.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT")


class TestPeers:
    """Calls that cost a peer nothing to hold open."""

    def test_one_call_too_many_ends_the_oldest(self, hasty: Service) -> None:
        """Of more watches than a peer may have the oldest is refused, and every new one is answered."""
        with hasty.plain() as channel, ExitStack() as stack:
            stub = health_pb2_grpc.HealthStub(channel)
            watches = []
            for _ in range(_MOST + 1):
                watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
                stack.callback(watch.cancel)
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
                watches.append(watch)
            with pytest.raises(grpc.RpcError) as refused:
                next(watches[0])
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert f"may have {_MOST} calls" in refused.value.details()
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            assert all(watch.is_active() for watch in watches[2:])

    def test_half_sent_calls_do_not_stop_others_of_their_address(self, hasty: Service) -> None:
        """While a peer sends many calls by half, another of its address has its calls answered."""
        stopped = threading.Event()

        def send_by_half() -> None:
            while not stopped.is_set():
                with hasty.plain() as channel:
                    calls = [
                        Call(hasty, channel, "recast.csbs.v1.BackupService/GetBackup", hasty.token(ME))
                        for _ in range(2 * _MOST)
                    ]
                    for each in calls:
                        each.refusal()

        sender = threading.Thread(target=send_by_half)
        sender.start()
        try:
            for _ in range(50):
                hasty.backups().GetBackup(GET)
        finally:
            stopped.set()
            sender.join()

    def test_nothing_is_left_of_calls_that_ended(self) -> None:
        """A peer whose calls have ended is forgotten."""
        calls = PeerCalls(1, "open")

        async def hold() -> None:
            async with calls.holding("a"), calls.holding("b"):
                pass

        run_in_loop(hold())
        assert vars(calls)["_calls"] == {}


def test_a_cancelled_call_leaves_no_task(hasty: Service) -> None:
    """Calls that a client cancels, or that are refused for being late, leave nothing in the event loop."""

    async def count() -> int:
        return len(asyncio.all_tasks())

    with calling(hasty) as call:
        call.refusal()
    before = run_in_loop(count())
    for _ in range(30):
        with calling(hasty) as cancelled:
            cancelled.call.cancel()
        with calling(hasty) as late:
            late.refusal()
    until(lambda: run_in_loop(count()) <= before, "the tasks to end")
