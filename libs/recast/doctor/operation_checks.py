"""Checks of operations, and of states that only work ends."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set

from recast.doctor.findings import Code, Findings, InProgress
from recast.doctor.rows import Operation
from recast.doctor.snapshots import Snapshots
from recast.doctor.work import Work

_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
# States that a resource may stay in.
STABLE: Mapping[str, Set[str]] = {
    "backup": {"AVAILABLE", "ERROR"},
    "image": {"NORMAL", "ERROR"},
    "server": {"RUNNING", "STOPPED", "ERROR"},
    "disk": {"AVAILABLE", "IN_USE", "ERROR"},
}
_OS_CHANGES = {"ChangeServerOs", "ReinstallServerOs"}
# States that only work changes, and the verbs of the work that does.
TRANSIENT: Mapping[str, Mapping[str, Set[str]]] = {
    "backup": {
        "CREATING": {"CreateBackup"},
        "RESTORING": {"RestoreBackup"},
        "DELETING": {"DeleteBackup"},
    },
    "image": {"CREATING": {"CreateImage", "ImportImage"}, "DELETING": {"DeleteImage"}},
    "server": {
        "CREATING": {"CreateServers"},
        "STARTING": {"StartServer"},
        "STOPPING": {"StopServer"},
        "REBOOTING": {"RebootServer"},
        "CHANGING_OS": _OS_CHANGES,
        "RESTORING": {"RestoreDisks"},
        "DELETING": {"DeleteServer"},
    },
    "disk": {
        "CREATING": {"CreateDisk", "CreateServers", *_OS_CHANGES},
        "ATTACHING": {"AttachDisk"},
        "DETACHING": {"DetachDisk"},
        "DELETING": {"DeleteDisk", "DeleteServer", "CreateServers", *_OS_CHANGES},
    },
}
# The targets of these exist until they are decided. All others may outlive theirs, or have no row.
_NEEDING_TARGET = {
    *("CreateBackup", "RestoreBackup", "CreateImage", "ImportImage", "CreateServers", "CreateDisk"),
    *("AttachDisk", "DetachDisk"),
    *("ExportDisks", "RestoreDisks", "ChangeServerOs", "ReinstallServerOs"),
    *("StartServer", "StopServer", "RebootServer"),
}


def check_operations(seen: Snapshots, findings: Findings, *, at_rest: bool) -> None:
    """Checks every service's operations, alone and against the rows of their targets."""
    _check(seen.csbs.work, seen.csbs.backups, findings, at_rest)
    _check(seen.ims.work, seen.ims.images, findings, at_rest)
    _check(seen.ecs.work, {**seen.ecs.servers, **seen.ecs.disks}, findings, at_rest)


def check_states(seen: Snapshots, findings: Findings) -> None:
    """A resource in a state that only work ends has work that has not ended."""
    for backup in seen.csbs.backups.values():
        _check_state(seen.csbs.work, backup.name, backup.state, "backup", findings)
    for image in seen.ims.images.values():
        if image.awaits_bytes:
            findings.in_progress.append(InProgress(image.name, "its upload waits for more bytes"))
        else:
            _check_state(seen.ims.work, image.name, image.state, "image", findings)
    for server in seen.ecs.servers.values():
        _check_state(seen.ecs.work, server.name, server.state, "server", findings)
    servers_of = {place.disk: place.server for place in seen.ecs.attachments}
    for disk in seen.ecs.disks.values():
        on = servers_of.get(disk.name, "")
        _check_state(seen.ecs.work, disk.name, disk.state, "disk", findings, on)


def _check_state(work: Work, name: str, state: str, noun: str, findings: Findings, also_on: str = "") -> None:
    """`also_on` is another resource with work that may end the state."""
    verbs = work.verbs_on(name) | work.verbs_on(also_on)
    if state in STABLE[noun]:
        return
    if state not in TRANSIENT[noun]:
        findings.add(
            Code.STATE_UNKNOWN, name, f"it is {state or 'in no state'}, which is no state of a {noun}"
        )
    elif not verbs & TRANSIENT[noun][state]:
        left = (
            f"the work on it ({', '.join(sorted(verbs))}) does not end that"
            if verbs
            else "no work on it is left"
        )
        findings.add(Code.STATE_NEVER_ENDS, name, f"it is {state}, and {left}")


def _check(work: Work, resources: Collection[str], findings: Findings, at_rest: bool) -> None:
    for operation in work.operations:
        if operation.ended:
            for code, what in _inconsistencies(operation):
                findings.add(code, operation.name, what)
            continue
        what = f"{operation.verb} of {operation.target} is {operation.state}, at step {operation.step or '-'}"
        if operation.state in _TERMINAL:
            findings.add(Code.OPERATION_STATE_WRONG, operation.name, f"it is {operation.state} but not ended")
        elif at_rest:
            findings.add(Code.OPERATION_NOT_ENDED, operation.name, what)
        else:
            findings.in_progress.append(InProgress(operation.name, what))
        if operation.state not in _TERMINAL and (operation.has_response or operation.end_time is not None):
            what = "it has not ended, and has a response or an end time"
            findings.add(Code.OPERATION_RESULT_WRONG, operation.name, what)
        needs_target = operation.verb in _NEEDING_TARGET and operation.state != "UNDOING"
        if needs_target and operation.target not in resources and not work.is_decided(operation):
            what = f"{operation.verb} is to work on {operation.target}, which is not there"
            findings.add(Code.OPERATION_WITHOUT_RESOURCE, operation.name, what)
        if operation.parent and operation.parent not in work.unended:
            what = f"it is a child of operation {operation.parent}, which has ended or is gone"
            findings.add(Code.OPERATION_PARENT_WRONG, operation.name, what)
    _check_steps_and_uses(work, findings)


def _check_steps_and_uses(work: Work, findings: Findings) -> None:
    """Both belong to work that has not ended; what is used exclusively is used once."""
    users: dict[str, list[bool]] = defaultdict(list)
    for use in work.uses:
        users[use.resource].append(use.exclusive)
    for resource, modes in users.items():
        if any(modes) and len(modes) > 1:
            findings.add(
                Code.USE_CONFLICT, resource, f"{len(modes)} operations use it, one of them exclusively"
            )
    for owner in sorted({step.operation_id for step in work.lost_steps}):
        findings.add(Code.STEP_WITHOUT_OPERATION, owner, "steps are remembered of an operation that is gone")
    for use in work.lost_uses:
        what = f"operation {use.operation_id} still uses it, but has ended or is gone"
        findings.add(Code.USE_WITHOUT_WORK, use.resource, what)


def _inconsistencies(operation: Operation) -> Iterable[tuple[Code, str]]:
    """The inconsistencies of an operation that has ended."""
    if operation.state not in _TERMINAL:
        yield Code.OPERATION_STATE_WRONG, f"it has ended but is {operation.state}"
    elif operation.has_response != (operation.state == "SUCCEEDED"):
        has = "a" if operation.has_response else "no"
        yield Code.OPERATION_RESULT_WRONG, f"it is {operation.state}, and has {has} response"
    elif operation.has_response == operation.has_error:
        has = "both a response and an error" if operation.has_error else "neither a response nor an error"
        yield Code.OPERATION_RESULT_WRONG, f"it has ended and has {has}"
    elif operation.end_time is None:
        yield Code.OPERATION_RESULT_WRONG, "it has ended and has no end time"
    if operation.request:
        yield Code.OPERATION_KEEPS_REQUEST, "it has ended and still holds its request"
    if operation.lease_until > 0:
        yield Code.OPERATION_KEEPS_LEASE, "it has ended and still has a lease"
