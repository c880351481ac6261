"""The long-running work of one service, and its resources."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from recast.doctor.rows import Operation, Step, Use

_OS_CHANGES = ("ChangeServerOs", "ReinstallServerOs")
# Steps with a result that names the disks which the work detached from a server, and will remove.
_TAKING_STEPS = ("detach", "swap")


@dataclass
class Work:
    """Operations that have not ended or are inconsistent, and leftovers of deleted ones."""

    operations: Sequence[Operation]
    steps: Sequence[Step]
    lost_steps: Sequence[Step]
    lost_uses: Sequence[Use]
    unended: Mapping[str, Operation] = field(init=False)
    """By id."""
    _about: Mapping[str, Operation] = field(init=False)
    _decided: Set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.unended = {each.id: each for each in self.operations if not each.ended}
        results: dict[str, dict[str, bytes]] = defaultdict(dict)
        for step in self.steps:
            results[step.operation_id][step.name] = step.result
        self._about = {
            resource: operation
            for operation in self.unended.values()
            for resource in _resources(operation, results[operation.id])
        }
        self._decided = {step.operation_id for step in self.steps if step.name == ":decided"}

    def on(self, resource: str) -> Operation | None:
        """The work on a resource that has not ended, if there is any."""
        return self._about.get(resource)

    def is_decided(self, operation: Operation) -> bool:
        """Whether the operation is past its point of no return."""
        return operation.id in self._decided


def _resources(operation: Operation, results: dict[str, bytes]) -> Iterator[str]:
    """All resources of an operation, not only its target."""
    yield operation.target
    if operation.verb == "CreateServers":
        # It imports gRPC, which takes a tenth of a second: only when needed.
        from recast.ecs.v1.server_service_pb2 import CreateServersResult  # noqa: PLC0415

        result = CreateServersResult.FromString(operation.request)
        yield from (outcome.server for outcome in result.outcomes)
    if operation.verb in _OS_CHANGES:
        # The new disk has one of these names, by the length of the server's id and the version of ECS.
        server = operation.target.rpartition("/")[2]
        yield f"projects/{operation.project}/disks/{operation.id}"
        yield f"projects/{operation.project}/disks/{server}-system-{operation.id[:8]}"
    for step in _TAKING_STEPS:
        taken = json.loads(results.get(step, b"[]"))
        yield from [taken] if isinstance(taken, str) else taken
