"""Operations on each engine and through a gRPC client, and a bench to drive them by hand: rounds, leases and
waits.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import text
from sqlmodel import Field, SQLModel
from structlog.testing import capture_logs

from recast.database import Database, Transaction
from recast.faults import Refusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata, OperationPart
from recast.operations import TABLES, OperationRow, Operations, Work, Worker
from recast.resources import RequestReplay
from recast.rpc.identity import Caller, Signer, Verifier, create_keys
from tests.conformance.operations.reaching import InProcess, Reach, served

Run = Callable[[Work], Message | Refusal]
Undo = Callable[[Work, Refusal], Message | None]


class Killed(BaseException):
    """Out of a workflow it leaves things as SIGKILL does: nothing is written, the lease stays."""


class Effect(SQLModel, table=True):
    """An effect of work in the service's own database."""

    __tablename__ = "conformance_effect"

    id: int | None = Field(default=None, primary_key=True)
    name: str


_TABLES = [table.__table__ for table in (*TABLES, RequestReplay, Effect)]  # type: ignore[attr-defined]


def _undo_nothing(_work: Work, _error: Refusal) -> None:
    """For work that leaves nothing."""


@dataclass
class Scripted:
    """A workflow whose run and undo are functions of a test."""

    runs: Run
    undoes: Undo

    def run(self, work: Work) -> Message | Refusal:
        """Does the work."""
        return self.runs(work)

    def undo(self, work: Work, error: Refusal) -> Message | None:
        """Takes it back."""
        return self.undoes(work, error)


class Bench:
    """One service's operations. Rows go by the bench's clock, leases and waits by the database's."""

    Killed = Killed

    def __init__(self, database: Database) -> None:
        self._numbers = count()
        self._started: list[Worker] = []
        self.database = database
        self.operations = Operations(database, self._now, self._id)
        self.reach: Reach = InProcess(self.operations)
        """How callers reach the work; see `message`, `cancel`, `wait` and `delete`."""

    def _now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=next(self._numbers))

    def _id(self) -> str:
        return f"{next(self._numbers):04}"

    # Doing.

    def worker(self, run: Run, undo: Undo = _undo_nothing, **settings: Any) -> Worker:
        """A worker of another replica, which knows the verb `Do`. It is not started."""
        return Worker(self.operations, {"Do": Scripted(run, undo)}, domain="test.recast", **settings)

    def start(self, run: Run, **settings: Any) -> Worker:
        """A worker with threads of its own, which stops with the test at the latest."""
        worker = self.worker(run, **settings)
        self._started.append(worker)
        worker.start()
        return worker

    def stop(self) -> None:
        """Stops the started workers; stopping twice does no harm."""
        for worker in self._started:
            worker.stop()

    def record(
        self,
        verb: str = "Do",
        queue: str = "",
        parent: str = "",
        parts: Sequence[OperationPart] = (),
        project: str = "demo",
    ) -> str:
        """Records work; gives its id."""
        with self.database.write() as tx:
            operation = self.operations.record(
                tx,
                project=project,
                verb=verb,
                target="projects/demo/x",
                request=StringValue(value="key"),
                queue=queue,
                parent=parent,
                parts=parts,
            )
            tx.commit()
        return operation.name.rpartition("/")[2]

    def cancel(self, operation: str) -> None:
        """Requests the cancellation of work."""
        self.reach.cancel(operation)

    def expire(self, operation: str) -> None:
        """Has the lease of work run out."""
        self.execute(f"UPDATE operation SET lease_until = 1 WHERE id = '{operation}'")

    def make_due(self, operation: str) -> None:
        """Has the wait before the next try of work run out."""
        self.execute(f"UPDATE operation SET not_before = 0 WHERE id = '{operation}'")

    def drive(self, worker: Worker, operation: str, rounds: int = 50) -> int:
        """Lets a worker try until work has ended; gives how many rounds that took."""
        for number in range(1, rounds + 1):
            self.make_due(operation)
            worker.run_once()
            if self.row(operation).ended:
                return number
        raise AssertionError(f"not ended after {rounds} rounds")

    def kill_at(self, operation: str, run: Run, undo: Undo = _undo_nothing) -> None:
        """Has a worker killed while it runs `run`, which must come to `Killed`; its lease runs out."""
        with pytest.raises(Killed):
            self.worker(run, undo).run_once()
        self.expire(operation)

    def execute(self, statement: str) -> None:
        """Runs a statement past the operations' own code."""
        with self.database.write() as tx:
            tx.session.connection().execute(text(statement))
            tx.commit()

    # Reading.

    def clock(self) -> float:
        """The database's clock."""
        with self.database.read() as session:
            return float(session.connection().execute(text(f"SELECT {self.database.now_sql()}")).scalar_one())

    def row(self, operation: str) -> OperationRow:
        """The row of work."""
        with self.database.read() as session:
            return session.get_one(OperationRow, operation)

    def message(self, operation: str) -> operations_pb2.Operation:
        """Work as its callers see it."""
        return self.reach.get(operation)

    def metadata(self, operation: str) -> OperationMetadata:
        """The metadata that its callers see."""
        metadata = OperationMetadata()
        self.message(operation).metadata.Unpack(metadata)
        return metadata

    def names(self, table: str, column: str = "name") -> list[str]:
        """The values in a column of a table."""
        with self.database.read() as session:
            return list(session.connection().execute(text(f"SELECT {column} FROM {table}")).scalars())

    def effects(self) -> list[str]:
        """The effects of work in the database."""
        return self.names("conformance_effect")

    # Runs of workflows.

    @staticmethod
    def nothing(_work: Work) -> Message:
        """A run that succeeds at once."""
        return Empty()

    def die(self, _work: Work) -> Message:
        """A run that is killed at once."""
        raise Killed

    @staticmethod
    def effect(tx: Transaction, name: str) -> str:
        """Writes an effect; gives its name."""
        tx.session.add(Effect(name=name))
        return name


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """The captured log, which is not printed: to draw tracebacks would take most of these tests' time."""
    with capture_logs() as captured:
        yield captured


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test on both engines; a module with `BY_CLIENT`, whose tests read work as its callers do,
    through a gRPC client too.
    """
    if "way" in metafunc.fixturenames:
        by_client = ["client"] if getattr(metafunc.module, "BY_CLIENT", False) else []
        metafunc.parametrize("way", ["sqlite", "postgresql", *by_client], scope="module")


@pytest.fixture(scope="module")
def database(
    way: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """The engines. A module's tests share one: to make its tables costs more than a test."""
    if way != "postgresql":
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('operations')}/test.db")
    else:
        database = Database(request.getfixturevalue("postgresql").emptied())
    with database.write() as tx:
        SQLModel.metadata.create_all(tx.session.connection(), tables=_TABLES)
        tx.commit()
    yield database
    database.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of services and people."""
    folder = tmp_path_factory.mktemp("keys")
    create_keys(folder)
    return folder


@pytest.fixture
def bench(way: str, database: Database, keys: Path) -> Iterator[Bench]:
    """Operations, of which there are none yet."""
    with database.write() as tx:
        for table in reversed(_TABLES):
            tx.session.connection().execute(table.delete())
        tx.commit()
    bench = Bench(database)
    with ExitStack() as stack:
        stack.callback(bench.stop)
        if way == "client":
            signer = Signer.load(keys / "people.pem")
            token = signer.token(Caller("me", "demo", "user"), now=time.time(), lifetime_seconds=600)
            verifier = Verifier.load(keys / "trusted.json")
            bench.reach = stack.enter_context(served(bench.operations, verifier, token))
        yield bench
