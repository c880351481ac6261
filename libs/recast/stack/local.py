"""`LocalStack`: CSBS, IMS and ECS with keys, data and logs under one folder."""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from recast.client import SERVICES, Recast, Service, Settings
from recast.client.local_stack import write_endpoints
from recast.client.tokens import mint
from recast.rpc.identity import create_keys
from recast.stack.layout import Layout, environment_of, private
from recast.stack.ports import address_of, hold_port
from recast.stack.problems import FolderInUse, PortInUse, ServiceNotServing
from recast.stack.process import ServiceProcess

_START_SECONDS = 60.0
# The services give running calls 8 s.
_STOP_SECONDS = 12.0


class LocalStack:
    """The three services as processes of this machine. A context manager.

    The data under `root` stays between runs.
    `ports` are their ports on 127.0.0.1; None means free ports, chosen once and the same after a restart.
    `environment` is added to every service's environment, and takes precedence.
    """

    def __init__(
        self,
        root: Path,
        *,
        ports: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        start_seconds: float = _START_SECONDS,
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        self._layout = Layout(root.resolve())
        self._ports = ports
        self._extra = dict(environment or {})
        self._start_seconds, self._stop_seconds = start_seconds, stop_seconds
        self._endpoints: dict[Service, str] = {}
        self._held: list[socket.socket] = []
        self._running: dict[Service, ServiceProcess] = {}
        self._lock: IO[bytes] | None = None

    # Start and stop.

    def start(self) -> Self:
        """Starts all three, and returns when each is SERVING.

        Raises PortInUse, FolderInUse or ServiceNotServing; then no service runs.
        """
        self._layout.create()
        self._take_lock()
        try:
            self._hold_ports()
            create_keys(self._layout.keys)
            write_endpoints(self._layout.keys, self._endpoints)
            for service in SERVICES:
                self._run(service)
            for service in SERVICES:
                self._running[service].wait_until_serving(self._endpoints[service], self._start_seconds)
        except BaseException:  # any, Ctrl-C too: no service may be left running
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Terminates all three, and kills those still running after 12 s. A repeat does nothing."""
        for process in self._running.values():
            process.signal(signal.SIGTERM)
        end = time.monotonic() + self._stop_seconds
        for process in self._running.values():
            if not process.wait(max(0.0, end - time.monotonic())):
                process.signal(signal.SIGKILL)
                process.wait(self._stop_seconds)
        self._running.clear()
        for held in self._held:
            held.close()
        self._held.clear()
        if self._lock:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # One service.

    def kill(self, service: Service) -> None:
        """Kills a service with SIGKILL, as a crash would, and returns when it has ended."""
        self._running[service].signal(signal.SIGKILL)
        self._running[service].wait(self._stop_seconds)

    def restart(self, service: Service, environment: Mapping[str, str] | None = None) -> None:
        """Starts a service again on its port, after stopping it if it runs; returns when it is SERVING.

        `environment` is added to the service's environment from now on.
        """
        self._extra.update(environment or {})
        process = self._running[service]
        process.signal(signal.SIGTERM)
        if not process.wait(self._stop_seconds):
            process.signal(signal.SIGKILL)
            process.wait(self._stop_seconds)
        self._run(service)
        self._running[service].wait_until_serving(self._endpoints[service], self._start_seconds)

    def exit_code(self, service: Service) -> int | None:
        """The exit code of a service's process, negative for a signal; None while it runs."""
        return self._running[service].exit_code()

    def signal(self, service: Service, number: signal.Signals) -> None:
        """Sends a signal to a service; none to one that has ended."""
        self._running[service].signal(number)

    def start_again(self, service: Service) -> None:
        """Starts a service that ended, on its port, and does not wait until it is SERVING."""
        self._run(service)

    def is_serving(self, service: Service) -> bool:
        """Whether a service is SERVING now."""
        return self._running[service].is_serving(self._endpoints[service])

    def wait_for_end(self, service: Service, seconds: float = 20.0) -> None:
        """Returns when a service's process has ended by itself; ServiceNotServing when it has not."""
        process = self._running[service]
        if not process.wait(seconds):
            raise ServiceNotServing(
                service, f"had not ended after {seconds:g} s", process.log, process.tail()
            )

    def is_running(self, service: Service) -> bool:
        """Whether a service's process has not ended."""
        return self._running[service].exit_code() is None

    def pid(self, service: Service) -> int:
        """The process id of a service."""
        return self._running[service].pid

    def log(self, service: Service) -> Path:
        """The file that a service's output is appended to."""
        return self._layout.log(service)

    # Clients.

    @property
    def endpoints(self) -> Mapping[Service, str]:
        """`host:port` of each service."""
        return dict(self._endpoints)

    @property
    def keys(self) -> Path:
        """The folder with the keys, for RECAST_KEYS."""
        return self._layout.keys

    def environment(self, project: str = "demo") -> dict[str, str]:
        """The environment in which the command `recast` uses this stack."""
        ends = {f"RECAST_{service.upper()}_ENDPOINT": end for service, end in self._endpoints.items()}
        return ends | {"RECAST_KEYS": str(self.keys), "RECAST_PROJECT": project}

    def client(self, project: str = "demo", role: str = "user", service: Service | None = None) -> Recast:
        """A client of this stack, in `role`, or as one of the services."""
        settings = Settings(endpoints=self._endpoints, project=project, keys=self.keys)
        return Recast.from_settings(settings, mint(settings, project, role=role, service=service))

    # Internals.

    def _hold_ports(self) -> None:
        """Binds free ports, the given ones or the earlier ones; raises PortInUse.

        They stay bound while the stack runs, so that no program takes one while its service is down.
        """
        for service in SERVICES:
            port = self._ports[service] if self._ports else 0
            if service in self._endpoints:
                port = int(self._endpoints[service].rpartition(":")[2])
            try:
                self._held.append(hold_port(port))
            except OSError:
                raise PortInUse(service, port) from None
            self._endpoints[service] = address_of(self._held[-1])

    def _run(self, service: Service) -> None:
        environment = dict(os.environ) | environment_of(service, self._layout, self._endpoints) | self._extra
        command = [sys.executable, "-m", service]
        self._running[service] = ServiceProcess(service, command, environment, self.log(service))

    def _take_lock(self) -> None:
        """Two stacks on one folder would take over each other's work: the folder is locked while one runs.

        The lock is the kernel's, so it ends with this process; the services do not inherit it.
        """
        lock = os.fdopen(private(str(self._layout.root / "lock"), os.O_WRONLY | os.O_CREAT), "wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise FolderInUse(self._layout.root) from None
        self._lock = lock
