"""Starts services again that ended by themselves, and those whose restart was requested."""

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recast.client import SERVICES, Service
from recast.client.local_stack import end_restart, requested_restarts
from recast.stack.process import how_it_ended

# Five starts, after 1, 2, 4, 8 and 16 s; then the service stays off until its restart is requested.
_STARTS = 5
_FIRST_DELAY_SECONDS = 1.0
# A service that served this long does not fail at its start: its next end counts as the first.
_STEADY_SECONDS = 60.0
# The services give running calls 8 s.
_STOP_SECONDS = 12.0


class Supervised(Protocol):
    """What a supervisor needs of a stack. None of it waits."""

    def exit_code(self, service: Service) -> int | None:
        """The exit code of a service's process; None while it runs."""

    def signal(self, service: Service, number: signal.Signals) -> None:
        """Sends a signal to a service."""

    def start_again(self, service: Service) -> None:
        """Starts a service that ended, on its port."""

    def is_serving(self, service: Service) -> bool:
        """Whether a service answers that it is SERVING."""


@dataclass
class _Watch:
    """One service. Times are those of the clock; infinity is never."""

    failures: int = 0
    start_at: float | None = None
    kill_at: float | None = None
    is_starting: bool = False
    steady_at: float = math.inf


class Supervisor:
    """Watches the services of a stack. `say` gets a line for people, and its style."""

    def __init__(
        self,
        stack: Supervised,
        root: Path,
        say: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stack, self._root, self._say, self._clock = stack, root, say, clock
        self._watches: dict[Service, _Watch] = {service: _Watch() for service in SERVICES}
        for service in requested_restarts(root):  # of an earlier stack
            end_restart(root, service)

    def step(self) -> None:
        """Does what is due now; called a few times a second."""
        for service in requested_restarts(self._root):
            self._request(service, self._watches[service])
        for service, watch in self._watches.items():
            code = self._stack.exit_code(service)
            if code is None:
                self._running(service, watch)
            else:
                self._ended(service, watch, code)

    def _request(self, service: Service, watch: _Watch) -> None:
        if watch.kill_at is not None or watch.is_starting:
            return
        watch.failures = 0
        if self._stack.exit_code(service) is not None:
            watch.start_at = self._clock()
            return
        self._say(f"{service} is restarted, as requested", "yellow")
        self._stack.signal(service, signal.SIGTERM)
        watch.kill_at = self._clock() + _STOP_SECONDS

    def _running(self, service: Service, watch: _Watch) -> None:
        now = self._clock()
        if watch.kill_at is not None and now >= watch.kill_at:
            self._stack.signal(service, signal.SIGKILL)
        elif watch.is_starting and self._stack.is_serving(service):
            watch.is_starting, watch.steady_at = False, now + _STEADY_SECONDS
            end_restart(self._root, service)
            self._say(f"{service} serves again", "green")
        elif now >= watch.steady_at:
            watch.failures = 0

    def _ended(self, service: Service, watch: _Watch, code: int) -> None:
        now = self._clock()
        if watch.kill_at is not None:  # by request
            watch.kill_at, watch.start_at = None, now
        elif watch.start_at is None:
            watch.failures, watch.is_starting = watch.failures + 1, False
            watch.start_at = now + self._delay(watch)
            self._say(f"{service} {how_it_ended(code)}; {self._next(service, watch)}", "bold red")
            if math.isinf(watch.start_at):
                end_restart(self._root, service)
        if watch.start_at is not None and now >= watch.start_at:
            self._stack.start_again(service)
            watch.start_at, watch.is_starting, watch.steady_at = None, True, math.inf

    def _delay(self, watch: _Watch) -> float:
        return math.inf if watch.failures > _STARTS else _FIRST_DELAY_SECONDS * 2 ** (watch.failures - 1)

    def _next(self, service: Service, watch: _Watch) -> str:
        if watch.failures > _STARTS:
            return f"it is left off after {_STARTS} starts: mend it, then `recast stack restart {service}`"
        return f"it is started again in {self._delay(watch):g} s"
