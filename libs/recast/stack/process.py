"""One service as a process: start, health check, stop."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from recast.stack.layout import private
from recast.stack.log_lines import is_loud
from recast.stack.problems import ServiceNotServing

_TAIL_LINES, _TAIL_BYTES = 20, 16_384
# gRPC waits a second before it retries a refused connection; a service starts in less.
_QUICK = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_http_proxy", 0),  # no proxy reaches this machine's own services
]
_CHECK_SECONDS = 0.5


class ServiceProcess:
    """A child process of this stack: signals go to its process id, never to a name."""

    def __init__(
        self, service: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.service = service
        self.log = log
        # Appended to, so that the reason of an earlier exit is preserved. The parent closes its descriptor:
        # the child has its own, and survives a kill of the parent.
        with open(log, "ab", opener=private) as output:
            self._begin = output.tell()
            self._child = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal goes to the whole process group; the stack stops its services itself,
                # in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def exit_code(self) -> int | None:
        """The exit code; None while it runs. Reaps the child."""
        return self._child.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; none after the child's end, because its id may have been reused."""
        self._child.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within `seconds`."""
        try:
            self._child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_until_serving(
        self, endpoint: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Returns when the service is SERVING. Raises ServiceNotServing when it ends first, or is late."""
        end = clock() + seconds
        with grpc.insecure_channel(endpoint, options=_QUICK) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while clock() < end:
                code = self.exit_code()
                if code is not None:
                    raise ServiceNotServing(self.service, how_it_ended(code), self.log, self.tail())
                # `wait_for_ready` waits for the port: no sleep is needed here.
                if _is_serving(health, wait_for_ready=True):
                    return
                self.wait(0.05)
        raise ServiceNotServing(self.service, f"did not serve within {seconds:g} s", self.log, self.tail())

    def is_serving(self, endpoint: str) -> bool:
        """Whether the service is SERVING now."""
        with grpc.insecure_channel(endpoint, options=_QUICK) as channel:
            return _is_serving(health_pb2_grpc.HealthStub(channel), wait_for_ready=False)

    def tail(self) -> str:
        """The last warnings, errors and tracebacks that this process wrote."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._begin, size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        loud = [line for line in lines if is_loud(line)]
        return "\n".join(f"  {line}" for line in loud[-_TAIL_LINES:])


def how_it_ended(code: int) -> str:
    """`ended by SIGKILL`, `ended with code 1`."""
    if code >= 0:
        return f"ended with code {code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"ended by {known.get(-code, f'signal {-code}')}"


def _is_serving(health: Any, *, wait_for_ready: bool) -> bool:
    """Whether the answer is SERVING; no answer within half a second is none."""
    try:
        answer = health.Check(
            health_pb2.HealthCheckRequest(), timeout=_CHECK_SECONDS, wait_for_ready=wait_for_ready
        )
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
