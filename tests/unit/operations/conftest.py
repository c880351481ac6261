"""google.longrunning.Operations on a real server, with callers of two projects."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2_grpc
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from sqlmodel import SQLModel

from recast.database import Database
from recast.faults import Refusal
from recast.operations import TABLES, Operations, OperationsServicer, Waits, Work, Worker
from recast.rpc.access import PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import Caller, Signer, Verifier, create_keys
from recast.rpc.server import Registration, Server

MAX_WAITS, MIN_SHARE = 4, 2


@dataclass(frozen=True)
class Scripted:
    """A workflow that is a function of a test, and leaves nothing to undo."""

    runs: Callable[[Work], Message | Refusal]

    def run(self, work: Work) -> Message | Refusal:
        """Does the work."""
        return self.runs(work)

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Service:
    """The operations of a service, and the address where it serves them."""

    operations: Operations
    target: str
    signer: Signer
    max_waits: int = MAX_WAITS

    def record(self, target: str = "projects/demo/x", project: str = "demo") -> str:
        """Records work; gives its name."""
        with self.operations.database.write() as tx:
            request = StringValue()
            recorded = self.operations.record(tx, project=project, verb="Do", target=target, request=request)
            tx.commit()
        return recorded.name

    def worker(self, run: Callable[[Work], Message | Refusal]) -> Worker:
        """A worker that is not started."""
        return Worker(self.operations, {"Do": Scripted(run)}, domain="test.recast")

    def finish(self, run: Callable[[Work], Message | Refusal]) -> None:
        """Runs the oldest work."""
        assert self.worker(run).run_once()

    def stub(self, project: str = "demo") -> operations_pb2_grpc.OperationsStub:
        """A client of a project."""
        token = self.signer.token(Caller("me", project, "user"), now=time.time(), lifetime_seconds=60)
        channel: grpc.Channel = connect(self.target, lambda: token)
        return operations_pb2_grpc.OperationsStub(channel)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys."""
    folder = tmp_path_factory.mktemp("keys")
    create_keys(folder)
    return folder


@pytest.fixture
def service(tmp_path: Path, keys: Path) -> Iterator[Service]:
    """A service without work."""
    database = Database(f"sqlite:///{tmp_path}/test.db")
    with database.write() as tx:
        SQLModel.metadata.create_all(tx.session.connection(), tables=[table.__table__ for table in TABLES])
        tx.commit()
    numbers = count()
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    operations = Operations(
        database, lambda: begin + timedelta(minutes=next(numbers)), lambda: f"op-{next(numbers):03}"
    )
    server = Server(
        "test",
        "127.0.0.1:0",
        Verifier.load(keys / "trusted.json"),
        [
            Registration(
                "google.longrunning.Operations",
                operations_pb2_grpc.add_OperationsServicer_to_server,
                OperationsServicer(operations, Waits(operations), MAX_WAITS, MIN_SHARE),
                PEOPLE,
            )
        ],
    )
    server.start()
    yield Service(operations, f"127.0.0.1:{server.port}", Signer.load(keys / "people.pem"))
    server.stop(0)
    database.close()
