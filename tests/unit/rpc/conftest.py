"""A server on loopback, whose handlers are functions of a test, and callers of every kind."""

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from recast.csbs.v1 import backup_service_pb2 as csbs
from recast.csbs.v1 import backup_service_pb2_grpc as csbs_grpc
from recast.ecs.v1 import server_service_pb2 as ecs
from recast.ecs.v1 import server_service_pb2_grpc as ecs_grpc
from recast.imagelock.v1 import image_lock_service_pb2_grpc as lock_grpc
from recast.ims.v1 import image_service_pb2 as ims
from recast.ims.v1 import image_service_pb2_grpc as ims_grpc
from recast.rpc.access import NOBODY, OPERATORS, PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import Caller, Signer, Verifier, create_keys
from recast.rpc.server import Registration, Server

Handler = Callable[[Any, Any], Any]
_ANSWERS: dict[str, type[Any]] = {
    "GetBackup": csbs.GetBackupResponse,
    "ListBackups": csbs.ListBackupsResponse,
    "CreateServers": ecs.CreateServersResponse,
    "ImportImage": ims.ImportImageResponse,
}


@dataclass
class Handlers:
    """Answers each method by the test's handler, else with an empty message; counts the calls."""

    given: dict[str, Handler] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, method: str) -> Handler:
        """The handler of a method."""
        if not method[0].isupper():
            raise AttributeError(method)

        def handle(request: Any, context: Any) -> Any:
            self.calls.append(method)
            if method in self.given:
                return self.given[method](request, context)
            return _ANSWERS[method]()

        async def handle_in_the_loop(request: Any, context: Any) -> Any:
            answer = handle(request, context)
            return await answer if inspect.isawaitable(answer) else answer

        # As in the services, a method that takes a stream is async; of the others one, to be tried.
        return handle_in_the_loop if method in {"ImportImage", "UpdateBackup"} else handle


def _add_streams(handlers: Handlers, server: Any) -> None:
    """A service that streams its answers: the contracts have none as yet."""
    handler = grpc.unary_stream_rpc_method_handler(
        handlers.Stream, Empty.FromString, StringValue.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Streams", {"Stream": handler}),)
    )


@dataclass(frozen=True)
class Service:
    """The server, and how to call it."""

    target: str
    handlers: Handlers
    keys: Path

    def token(self, caller: Caller, key: str = "people", **times: float) -> str:
        """A token made with one of the keys."""
        made = {"now": time.time(), "lifetime_seconds": 60.0} | times
        return Signer.load(self.keys / f"{key}.pem").token(caller, **made)

    def channel(self, token: str | None = None, **settings: Any) -> grpc.Channel:
        """A channel as services and people have it; by default for a user of `demo`."""
        token = token or self.token(Caller("me", "demo", "user"))
        return connect(self.target, lambda: token, **settings)

    def plain(self) -> grpc.Channel:
        """A channel that adds nothing."""
        return grpc.insecure_channel(self.target)

    def backups(self, token: str | None = None) -> csbs_grpc.BackupServiceStub:
        """BackupService."""
        return csbs_grpc.BackupServiceStub(self.channel(token))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys for people and services."""
    folder = tmp_path_factory.mktemp("keys")
    create_keys(folder)
    return folder


@pytest.fixture(scope="module")
def server(keys: Path) -> Iterator[Service]:
    """A server of services of several contracts."""
    handlers = Handlers()
    running = make_server(handlers, keys)
    running.start()
    yield Service(f"127.0.0.1:{running.port}", handlers, keys)
    running.stop(0)


def make_server(handlers: Handlers, keys: Path, **settings: Any) -> Server:
    """A server of services of several contracts, which is not started."""
    return Server(
        "test",
        "127.0.0.1:0",
        Verifier.load(keys / "trusted.json"),
        [
            Registration(
                "recast.csbs.v1.BackupService",
                csbs_grpc.add_BackupServiceServicer_to_server,
                handlers,
                PEOPLE,
                {"ims": ("GetBackup",)},
            ),
            Registration(
                "recast.imagelock.v1.ImageLockService",
                lock_grpc.add_ImageLockServiceServicer_to_server,
                handlers,
                NOBODY,
                {"ims": ("LockBackup", "ConfirmLock")},
            ),
            Registration(
                "recast.ecs.v1.ServerService",
                ecs_grpc.add_ServerServiceServicer_to_server,
                handlers,
                PEOPLE,
            ),
            Registration(
                "recast.ims.v1.ImageService", ims_grpc.add_ImageServiceServicer_to_server, handlers, PEOPLE
            ),
            Registration("test.Streams", _add_streams, handlers, PEOPLE),
        ],
        methods={"recast.csbs.v1.BackupService/ListBackups": OPERATORS},
        **settings,
    )


@pytest.fixture
def service(server: Service) -> Service:
    """The server, with no handler given and no call counted."""
    server.handlers.given.clear()
    server.handlers.calls.clear()
    return server


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """The captured log with its bound context, which is not printed."""
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured
