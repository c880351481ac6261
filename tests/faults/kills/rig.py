"""The three services as processes that can be ended at a named point, and the checks after their recovery."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from google.longrunning import operations_pb2

from recast.client import SERVICES, Recast, Service
from recast.doctor import Installation, examine
from recast.faults import Kind
from recast.stack import LocalStack
from tests.harness.expectations import answered, until

Answer = TypeVar("Answer")
PROJECT = "projects/demo"
LEASE_SECONDS = 1.0
# Issue: every operation reaches a defined end within 60 s of healing.
DEADLINE_SECONDS = 60.0
# Kinds of refusals that pass by themselves after the restart of a service.
_PASSING = {Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED, Kind.CANCELLED}


class NotRecovered(Exception):
    """Something that must hold after a kill does not."""


class Rig:
    """One stack of local processes under `root`, in which any service may be ended at any point."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.patience = DEADLINE_SECONDS
        self._orders = {service: root / f"{service}.point" for service in SERVICES}
        self.logs = {service: root / f"{service}.reached" for service in SERVICES}
        root.mkdir(parents=True, exist_ok=True)
        self.stack = LocalStack(root / "stack", environment=self._environment())
        self.stack.start()
        self.recast: Recast = self.stack.client("demo", "operator")
        self.number = self.deaths = 0

    def _environment(self) -> dict[str, str]:
        # Every service reads its own order, so the three can share an environment: the name is the service's.
        return {"RECAST_FAULT_POINTS": str(self.root)} | {
            f"RECAST_{service.upper()}_LEASE_SECONDS": str(LEASE_SECONDS) for service in SERVICES
        }

    def new_id(self, prefix: str) -> str:
        """An id that was not used before."""
        self.number += 1
        return f"{prefix}-{self.number}"

    def arm(self, service: Service, point: str) -> None:
        """Orders the end of a service at a point."""
        order = self._orders[service]
        self.number += 1  # makes the order differ from any before: its times are counted anew
        order.with_suffix(".new").write_text(f"{point} @{self.number}")
        order.with_suffix(".new").rename(order)

    def disarm(self) -> None:
        """Takes every order back."""
        for order in self._orders.values():
            order.unlink(missing_ok=True)

    def has_died(self, service: Service) -> bool:
        """Whether the service has ended."""
        return not self.stack.is_running(service)

    def revive(self) -> list[Service]:
        """Starts the services that have ended; gives their names."""
        dead: list[Service] = [service for service in SERVICES if self.has_died(service)]
        self.deaths += len(dead)
        if dead:
            self.disarm()
        for service in dead:
            self.stack.restart(service)
        return dead

    def insist(self, call: Callable[[], Answer]) -> Answer:
        """Makes a call until it is answered, reviving services that died under it. The
        call has a request id.
        """
        return answered(call, _PASSING, meanwhile=self.revive, seconds=DEADLINE_SECONDS)

    def finish(self, service: Service, name: str) -> operations_pb2.Operation:
        """Waits for the end of an operation, `patience` seconds at most, reviving services that
        die meanwhile.
        """
        request = operations_pb2.GetOperationRequest(name=name)

        def ended() -> operations_pb2.Operation | None:
            operation: operations_pb2.Operation = self.insist(
                lambda: self.recast.operations(service).GetOperation(request)
            )
            if operation.done:
                return operation
            self.revive()
            return None

        description = f"the end of {name} of {service}"
        return cast(operations_pb2.Operation, until(ended, description, seconds=self.patience, pause=0.02))

    def run(self, service: Service, call: Callable[[], Any]) -> operations_pb2.Operation:
        """Begins work and follows it to its end."""
        return self.finish(service, self.insist(call).operation.name)

    def wait_until_idle(self) -> None:
        """Waits until no work is under way anywhere."""
        self.disarm()
        self.revive()

        def is_quiet() -> bool:
            if not any(self._unfinished(service) for service in SERVICES):
                return True
            self.revive()  # no service that is about to die is called while another has work
            return False

        until(is_quiet, "the end of all work", seconds=DEADLINE_SECONDS, pause=0.05)

    def _unfinished(self, service: Service) -> bool:
        request = operations_pb2.ListOperationsRequest(name=PROJECT, filter="done = false")
        listed = self.insist(lambda: self.recast.operations(service).ListOperations(request))
        return bool(listed.operations)

    def check(self) -> None:
        """Holds the whole installation against its invariants, by the independent checker."""
        report = examine(Installation.local(self.root / "stack"), at_rest=True)
        if report.problems:
            raise NotRecovered("; ".join(str(problem) for problem in report.problems))

    def close(self) -> None:
        """Stops everything."""
        self.recast.close()
        self.stack.stop()
