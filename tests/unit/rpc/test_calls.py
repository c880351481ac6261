"""A call besides its token: field rules, and the statuses of errors."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.csbs.v1 import backup_pb2
from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.ecs.v1 import server_pb2
from recast.ecs.v1 import server_service_pb2 as ecs
from recast.ecs.v1 import server_service_pb2_grpc as ecs_grpc
from recast.faults import Conflict, FieldViolation, Kind, RemoteRefusal, Unavailable, Violation
from recast.ims.v1 import image_service_pb2 as ims
from recast.ims.v1 import image_service_pb2_grpc as ims_grpc
from recast.rpc.call import Call
from recast.rpc.channel import connect
from recast.rpc.identity import Caller

ME = Caller("me", "demo", "user")
GET = csbs.GetBackupRequest(name="projects/demo/backups/nightly")


class TestFieldRules:
    """The contract's field rules."""

    def test_each_broken_field_is_named_by_its_path(self, service: Any) -> None:
        """A request that breaks rules is INVALID_ARGUMENT with the path of each field, indexes included."""
        disks = [ecs.DataDiskSpec(size_bytes=-1), ecs.DataDiskSpec(), ecs.DataDiskSpec(size_bytes=-1)]
        request = ecs.CreateServersRequest(
            parent="projects/Demo", server_id="web", server=server_pb2.Server(), data_disks=disks, count=-1
        )
        with pytest.raises(RemoteRefusal) as refused:
            ecs_grpc.ServerServiceStub(service.channel()).CreateServers(request)
        assert (refused.value.kind, refused.value.reason) == (Kind.INVALID_ARGUMENT, "REQUEST_INVALID")
        paths = {field.field for field in refused.value.fields}
        assert {"parent", "count", "data_disks[0].size_bytes", "data_disks[2].size_bytes"} <= paths
        assert not any(path.startswith("data_disks[1]") for path in paths)
        assert all(field.description for field in refused.value.fields)
        assert service.handlers.calls == []

    def test_very_many_broken_fields_arrive_as_a_refusal(self, service: Any) -> None:
        """A request that breaks more rules than fit into a call's trailers is refused as any other."""
        disks = [ecs.DataDiskSpec(size_bytes=-1, image="X" * 900, display_name="X" * 200) for _ in range(59)]
        request = ecs.CreateServersRequest(parent="projects/demo", data_disks=disks)
        with pytest.raises(grpc.RpcError) as refused:
            ecs_grpc.ServerServiceStub(service.plain()).CreateServers(
                request, metadata=[("authorization", f"Bearer {service.token(ME)}")]
            )
        details = rpc_status.from_call(refused.value).details
        assert details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(refused.value.details()) < 1000

    def test_a_request_within_a_stream_is_checked(self, service: Any) -> None:
        """Every request of a stream is held against its rules when it comes."""
        taken: list[str] = []

        async def take(requests: AsyncIterator[ims.ImportImageRequest], _context: object) -> Any:
            async for request in requests:
                taken.append(request.WhichOneof("part"))
            return ims.ImportImageResponse()

        service.handlers.given["ImportImage"] = take
        bad = ims.ImportImageRequest(header=ims.ImportImageHeader(parent="nowhere"))
        good = ims.ImportImageRequest(chunk=ims.ImportImageChunk(data=b"x"))
        with pytest.raises(RemoteRefusal) as refused:
            ims_grpc.ImageServiceStub(service.channel()).ImportImage(iter([good, bad]))
        assert "header.parent" in {field.field for field in refused.value.fields}
        assert taken == ["chunk"]


class TestErrors:
    """Refusals and bugs on their way out."""

    def test_a_refusal_arrives_whole(self, service: Any) -> None:
        """A refusal that a handler raises arrives at the client as it was, with the service's domain."""

        def refuse(*_: object) -> csbs.GetBackupResponse:
            raise Conflict(
                resource=GET.name,
                violations=[Violation("CONFLICT", GET.name, "changed"), Violation("OTHER", "x", "too")],
                fields=[FieldViolation("name", "is not the one")],
            )

        service.handlers.given["GetBackup"] = refuse
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET)
        arrived = refused.value
        assert (arrived.kind, arrived.reason, arrived.domain) == (Kind.ABORTED, "CONFLICT", "test.recast")
        assert arrived.text == f"{GET.name} was changed by another call at the same time; try again"
        assert arrived.facts == {"resource": GET.name}
        assert arrived.violations[1] == Violation("OTHER", "x", "too")
        assert arrived.fields == (FieldViolation("name", "is not the one"),)
        assert arrived.retry_seconds == 0.1

    def test_a_peer_s_refusal_is_passed_on(self, service: Any) -> None:
        """A refusal that a handler got from a peer reaches the client as the peer's, domain and all."""

        def refuse(*_: object) -> csbs.GetBackupResponse:
            facts = {"server": "s", "vendor_code": "Ecs.0114"}
            raise RemoteRefusal(Kind.NOT_FOUND, "SERVER_NOT_FOUND", "no", domain="ecs.recast", metadata=facts)

        service.handlers.given["GetBackup"] = refuse
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET)
        assert (refused.value.reason, refused.value.domain) == ("SERVER_NOT_FOUND", "ecs.recast")
        assert refused.value.facts == {"server": "s", "vendor_code": "Ecs.0114"}

    def test_the_answer_to_a_bug_has_only_its_request_id(self, service: Any, logs: list[Any]) -> None:
        """A bug is INTERNAL with the request's id and without its own text; the log has it by that id."""

        def stumble(*_: object) -> csbs.GetBackupResponse:
            raise ZeroDivisionError("inner text")

        service.handlers.given["GetBackup"] = stumble
        stub = csbs_grpc.BackupServiceStub(service.plain())
        metadata = [("authorization", f"Bearer {service.token(ME)}"), ("x-request-id", "request-7" * 20)]
        with pytest.raises(grpc.RpcError) as error:
            stub.GetBackup(GET, metadata=metadata)
        status = rpc_status.from_call(error.value)
        assert error.value.code() is grpc.StatusCode.INTERNAL
        assert b"inner text" not in status.SerializeToString()
        assert "request-7" in status.message
        assert len(status.message) < 200
        [logged] = [entry for entry in logs if entry["event"] == "bug"]
        assert logged["exc_info"]
        assert logged["request_id"] in status.message
        assert (logged["subject"], logged["project"]) == ("me", "demo")
        assert logged["method"] == "/recast.csbs.v1.BackupService/GetBackup"

    @pytest.mark.parametrize(
        ("raised", "reason"), [(Conflict(resource="x"), "CONFLICT"), (KeyError("x"), "INTERNAL")]
    )
    def test_an_error_within_an_answered_stream(self, service: Any, raised: Exception, reason: str) -> None:
        """An error after the first answer of a stream arrives as a refusal, after that answer."""

        def stream(*_: object) -> Iterator[StringValue]:
            yield StringValue(value="first")
            raise raised

        service.handlers.given["Stream"] = stream
        call = service.channel().unary_stream(
            "/test.Streams/Stream",
            request_serializer=Empty.SerializeToString,
            response_deserializer=StringValue.FromString,
        )
        answers = iter(call(Empty()))
        assert next(answers).value == "first"
        with pytest.raises(RemoteRefusal) as refused:
            next(answers)
        assert refused.value.reason == reason

    @pytest.mark.parametrize(
        ("raised", "reason"), [(Conflict(resource="x"), "CONFLICT"), (KeyError("x"), "INTERNAL")]
    )
    def test_an_error_within_a_sent_stream(self, service: Any, raised: Exception, reason: str) -> None:
        """An error while requests still come arrives as a refusal."""

        async def take(requests: AsyncIterator[ims.ImportImageRequest], _context: object) -> Any:
            async for _ in requests:
                raise raised
            return ims.ImportImageResponse()

        service.handlers.given["ImportImage"] = take
        piece = ims.ImportImageRequest(chunk=ims.ImportImageChunk(data=b"x"))
        with pytest.raises(RemoteRefusal) as refused:
            ims_grpc.ImageServiceStub(service.channel()).ImportImage(piece for _ in range(100))
        assert refused.value.reason == reason

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(text=st.text(max_size=100), value=st.text(max_size=100))
    def test_any_text_travels(self, service: Any, text: str, value: str) -> None:
        """Any characters of a refusal's text and facts arrive unchanged."""

        def refuse(*_: object) -> csbs.GetBackupResponse:
            raise RemoteRefusal(Kind.ABORTED, "REASON", text, metadata={"value": value})

        service.handlers.given["GetBackup"] = refuse
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET)
        assert (refused.value.text, refused.value.facts) == (text, {"value": value})

    def test_a_very_long_refusal_arrives(self, service: Any) -> None:
        """A refusal with more violations than a call's trailers hold arrives with the first of them."""
        text = "it is there " * 9
        violations = [Violation("IN_THE_WAY", f"projects/demo/servers/{n:03}", text) for n in range(200)]

        def refuse(*_: object) -> csbs.GetBackupResponse:
            raise Conflict(resource="x" * 5000, violations=violations)

        service.handlers.given["GetBackup"] = refuse
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET)
        assert refused.value.reason == "CONFLICT"
        assert refused.value.violations == tuple(violations[: len(refused.value.violations)])
        assert len(refused.value.violations) >= 16


class TestClient:
    """The additions of a channel."""

    def test_an_unavailable_call_is_tried_again(self, service: Any) -> None:
        """A call that is UNAVAILABLE is made again by the channel itself, up to four times in all."""

        def handle(*_: object) -> csbs.GetBackupResponse:
            if len(service.handlers.calls) < 3:
                raise Unavailable(problem="starting")
            return csbs.GetBackupResponse(backup=backup_pb2.Backup(name=GET.name))

        service.handlers.given["GetBackup"] = handle
        assert service.backups().GetBackup(GET).backup.name == GET.name
        assert len(service.handlers.calls) == 3

    @pytest.mark.parametrize(("times", "wanted"), [(2, None), (9, Kind.UNAVAILABLE)])
    def test_a_call_that_a_stopping_server_does_not_take_up_is_tried_again(
        self, service: Any, times: int, wanted: Kind | None
    ) -> None:
        """A call that the server itself cancels, as gRPC does at its shutdown, is made again; for good it is
        UNAVAILABLE.
        """

        async def handle(_request: object, context: Call) -> csbs.UpdateBackupResponse:
            if len(service.handlers.calls) <= times:
                await context.abort(grpc.StatusCode.CANCELLED, "")
            return csbs.UpdateBackupResponse()

        service.handlers.given["UpdateBackup"] = handle
        outcome = None
        try:
            service.backups().UpdateBackup(csbs.UpdateBackupRequest(backup=backup_pb2.Backup(name=GET.name)))
        except RemoteRefusal as refusal:
            outcome = refusal.kind
        assert outcome is wanted
        assert len(service.handlers.calls) == min(times + 1, 4)

    def test_a_request_has_an_id_of_its_own(self, service: Any) -> None:
        """A request that may have an id and is given none gets one, the same for every try of the call."""
        seen: list[str] = []

        def handle(request: ecs.CreateServersRequest, _context: object) -> ecs.CreateServersResponse:
            seen.append(request.request_id)
            if len(seen) == 1:
                raise Unavailable(problem="starting")
            return ecs.CreateServersResponse()

        service.handlers.given["CreateServers"] = handle
        stub = ecs_grpc.ServerServiceStub(service.channel())
        request = ecs.CreateServersRequest(
            parent="projects/demo",
            server=server_pb2.Server(display_name="a"),
            image="projects/demo/images/a",
        )
        stub.CreateServers(request)
        stub.CreateServers(request)
        assert seen[0] == seen[1] != ""
        assert seen[2] not in {"", seen[0]}
        assert request.request_id == ""

    @pytest.mark.parametrize(
        "kind", [kind for kind in Kind if kind not in {Kind.UNAVAILABLE, Kind.CANCELLED}]
    )
    def test_nothing_else_is_tried_again(self, service: Any, kind: Kind) -> None:
        """A call that is refused with any other code is not made again by itself."""

        def refuse(*_: object) -> csbs.GetBackupResponse:
            raise RemoteRefusal(kind, "REASON", "no", retry_seconds=0.01)

        service.handlers.given["GetBackup"] = refuse
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET)
        assert refused.value.kind is kind
        assert len(service.handlers.calls) == 1

    @pytest.mark.parametrize(("given_", "low", "high"), [({}, 15, 21), ({"timeout": 5}, 1, 6)])
    def test_every_call_has_a_deadline(
        self, service: Any, given_: dict[str, float], low: float, high: float
    ) -> None:
        """The server gets the caller's deadline: 20 seconds, or that of the call."""
        left: list[float] = []

        def handle(_request: object, context: Call) -> csbs.GetBackupResponse:
            left.append(context.time_remaining() or 0.0)
            return csbs.GetBackupResponse()

        service.handlers.given["GetBackup"] = handle
        service.backups().GetBackup(GET, **given_)
        assert low < left[0] <= high

    def test_a_call_that_takes_too_long_is_a_refusal(self, service: Any) -> None:
        """A call whose deadline passes is DEADLINE_EXCEEDED, as a refusal."""

        ended = threading.Event()

        def handle(*_: object) -> csbs.GetBackupResponse:
            ended.wait(10)
            return csbs.GetBackupResponse()

        service.handlers.given["GetBackup"] = handle
        with pytest.raises(RemoteRefusal) as refused:
            service.backups().GetBackup(GET, timeout=0.1)
        ended.set()
        assert refused.value.kind is Kind.DEADLINE_EXCEEDED

    def test_a_peer_that_is_not_there_is_unavailable(self, service: Any) -> None:
        """A call to a port without a listener is UNAVAILABLE, as a refusal."""
        token = service.token(ME)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, but without a listener
            channel = connect(f"127.0.0.1:{taken.getsockname()[1]}", lambda: token)
            with pytest.raises(RemoteRefusal) as refused:
                csbs_grpc.BackupServiceStub(channel).GetBackup(GET)
        assert refused.value.kind is Kind.UNAVAILABLE

    def test_an_unknown_method_is_a_refusal(self, service: Any) -> None:
        """A status without details, as of a method that is not there, has its code for a reason."""
        call = service.channel().unary_unary(
            "/recast.csbs.v1.BackupService/Nothing",
            request_serializer=Empty.SerializeToString,
            response_deserializer=Empty.FromString,
        )
        with pytest.raises(RemoteRefusal) as refused:
            call(Empty())
        assert (refused.value.kind, refused.value.reason) == (Kind.INTERNAL, "UNIMPLEMENTED")
