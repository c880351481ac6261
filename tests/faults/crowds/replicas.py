"""The three services as processes, one or several of each on one database, for the tests of races,
stale owners and drains.

The replicas of a service share its database, its chunk store and its folders, and nothing else. Clients and
peers reach them by a target that names them all, and gRPC takes them in turn.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from recast.client import SERVICES, Recast, Service, Settings
from recast.client.tokens import mint
from recast.database import Database
from recast.doctor import Installation, examine
from recast.rpc.identity import create_keys
from recast.stack.layout import Layout, environment_of
from recast.stack.ports import address_of, hold_port
from recast.stack.process import ServiceProcess
from tests.harness.cloud import chunks_held, work_held
from tests.harness.expectations import NeverCame, until
from tests.harness.postgresql import PostgresqlServer

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class Replicas:
    """`count` processes of each service under `root`; on SQLite files, or on a PostgreSQL server.

    A context manager. `environment` is added to every process's environment.
    """

    def __init__(
        self,
        root: Path,
        *,
        count: int = 1,
        postgresql: PostgresqlServer | None = None,
        lease_seconds: float = 2.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.numbers = range(count)
        self._layout = Layout(root / "stack")
        self._databases = {
            service: postgresql.created(f"{root.name}_{service}".replace("-", "_"))
            if postgresql
            else f"sqlite:///{self._layout.data / f'{service}.db'}"
            for service in SERVICES
        }
        self._extra = dict(environment or {}) | {
            f"RECAST_{service.upper()}_LEASE_SECONDS": str(lease_seconds) for service in SERVICES
        }
        # Held to the end, so that no other process takes the port of a replica that is dead for a while.
        self._held = [[hold_port() for _ in self.numbers] for _ in SERVICES]
        self._ends = {
            service: [address_of(each) for each in held]
            for service, held in zip(SERVICES, self._held, strict=True)
        }
        self.targets: Mapping[Service, str] = {
            service: ends[0] if count == 1 else f"ipv4:{','.join(ends)}"
            for service, ends in self._ends.items()
        }
        self._running: dict[tuple[Service, int], ServiceProcess] = {}
        self._clients: dict[tuple[object, ...], Recast] = {}
        self._orders = 0

    # Beginning and end.

    def start(self) -> Self:
        """Starts everything at once, and returns when all serve."""
        self._layout.create()
        create_keys(self._layout.keys)
        for service in SERVICES:
            for number in self.numbers:
                self._run(service, number)
        for service in SERVICES:
            for number in self.numbers:
                self._await(service, number)
        return self

    def stop(self) -> None:
        """Ends everything, in any state."""
        for client in self._clients.values():
            client.close()
        for process in self._running.values():
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        for process in self._running.values():
            if not process.wait(max(0.0, end - time.monotonic())):
                process.signal(signal.SIGKILL)
                process.wait(_STOP_SECONDS)
        for held in chain.from_iterable(self._held):
            held.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # One process.

    def process(self, service: Service, number: int = 0) -> ServiceProcess:
        """The process of a replica."""
        return self._running[service, number]

    def kill(self, service: Service, number: int = 0) -> None:
        """Kills a replica as a crash would, and returns when it is gone."""
        self._running[service, number].signal(signal.SIGKILL)
        assert self._running[service, number].wait(_STOP_SECONDS)

    def drain(self, service: Service, number: int = 0) -> tuple[float, int | None]:
        """Ends a replica by SIGTERM; gives the duration, in seconds, and its exit code."""
        begun = time.monotonic()
        self._running[service, number].signal(signal.SIGTERM)
        self._running[service, number].wait(_STOP_SECONDS)
        return time.monotonic() - begun, self._running[service, number].exit_code()

    def run_again(self, service: Service, number: int = 0) -> None:
        """Starts a replica that has ended, on its port, and returns when it serves."""
        assert self._running[service, number].exit_code() is not None
        self._run(service, number)
        self._await(service, number)

    def order(self, service: Service, point: str, number: int = 0) -> None:
        """Orders the end of a replica at a point, or its sleep: `name #2 stop`."""
        path = self._faults(service, number) / f"{service}.point"
        self._orders += 1
        path.with_suffix(".new").write_text(f"{point} @{self._orders}")
        path.with_suffix(".new").rename(path)

    def disarm(self) -> None:
        """Takes every order back."""
        for path in self.root.glob("points/*/*.point"):
            path.unlink()

    def reached(self, service: Service, number: int = 0) -> list[str]:
        """The points that a replica reached."""
        path = self._faults(service, number) / f"{service}.reached"
        return path.read_text().splitlines() if path.exists() else []

    def is_asleep(self, service: Service, number: int = 0) -> bool:
        """Whether a replica is stopped by SIGSTOP."""
        stat = Path(f"/proc/{self._running[service, number].pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def wake(self, service: Service, number: int = 0) -> None:
        """Wakes a replica that was stopped."""
        self._running[service, number].signal(signal.SIGCONT)

    # Reaching them.

    def client(
        self, project: str, role: str = "user", service: Service | None = None, number: int | None = None
    ) -> Recast:
        """A client in a role, or as one of the services; `number` has it reach those replicas alone."""
        key = (project, role, service, number)
        if key not in self._clients:
            self._clients[key] = self.new_client(project, role, service, number)
        return self._clients[key]

    def new_client(
        self, project: str, role: str = "user", service: Service | None = None, number: int | None = None
    ) -> Recast:
        """A client with channels of its own."""
        ends = self.targets if number is None else {each: self._ends[each][number] for each in SERVICES}
        settings = Settings(endpoints=ends, project=project, keys=self._layout.keys)
        return Recast.from_settings(settings, mint(settings, project, role=role, service=service))

    def token(self, project: str) -> str:
        """A token of a user of the project, for calls that no client makes."""
        return mint(Settings(endpoints=self.targets, project=project, keys=self._layout.keys), project)()

    # Reading their databases and logs.

    def rows(self, service: Service, query: str, **values: object) -> Sequence[Any]:
        """The rows of a query on a service's database."""
        engine = create_engine(self._databases[service], poolclass=NullPool)
        with engine.connect() as connection:
            return connection.execute(text(query), values).all()

    def value(self, service: Service, query: str, **values: object) -> Any:
        """The one value of a query on a service's database."""
        [[value]] = self.rows(service, query, **values)
        return value

    def wait_until_idle(self) -> None:
        """Returns when no work is under way anywhere."""
        query = "SELECT verb, target, state, last_retry_reason FROM operation WHERE NOT ended"
        for service in SERVICES:
            try:
                until(lambda service=service: not self.rows(service, query), pause=0.05)
            except NeverCame:
                raise AssertionError(f"work of {service} does not end: {self.rows(service, query)}") from None

    def chunks_held(self, service: Service, project: str) -> AbstractContextManager[None]:
        """Excludes all work of the project from its chunk store, as a collection of chunks does."""
        return chunks_held(Database(self._databases[service]), project)

    @contextmanager
    def work_held(self, service: Service, verb: str) -> Iterator[None]:
        """Work of this verb that is recorded in the block begins at its end."""
        database = Database(self._databases[service])
        with work_held(database, verb):
            yield
        database.close()

    def problems(self) -> list[str]:
        """The problems of `recast doctor` after the end of all work."""
        self.wait_until_idle()
        local = Installation.local(self._layout.root)
        installation = replace(
            local,
            csbs_database=self._databases["csbs"],
            ims_database=self._databases["ims"],
            ecs_database=self._databases["ecs"],
        )
        return [str(problem) for problem in examine(installation, at_rest=True).problems]

    def log(self, service: Service) -> str:
        """The log lines of a service's replicas."""
        return self._layout.log(service).read_text()

    # Inside.

    def _faults(self, service: Service, number: int) -> Path:
        folder = self.root / "points" / f"{service}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _run(self, service: Service, number: int) -> None:
        own = {
            f"RECAST_{service.upper()}_ADDRESS": self._ends[service][number],
            f"RECAST_{service.upper()}_DATABASE_URL": self._databases[service],
            "RECAST_FAULT_POINTS": str(self._faults(service, number)),
        }
        environment = environment_of(service, self._layout, self.targets) | self._extra | own
        self._running[service, number] = ServiceProcess(
            service,
            [sys.executable, "-m", service],
            dict(os.environ) | environment,
            self._layout.log(service),
        )

    def _await(self, service: Service, number: int) -> None:
        self._running[service, number].wait_until_serving(self._ends[service][number], _START_SECONDS)


class Only:
    """A stack that is reached through one replica of each service, also when the others are dead."""

    def __init__(self, replicas: Replicas, number: int) -> None:
        self._replicas = replicas
        self._number = number

    def client(self, project: str, role: str = "user", service: Service | None = None) -> Recast:
        """A client in a role, or as one of the services."""
        return self._replicas.client(project, role, service, self._number)
