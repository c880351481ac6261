"""Checks of operations, and of states that only work ends."""

from collections.abc import Collection, Iterable, Mapping, Set

from recast.doctor.findings import Code, Findings, InProgress
from recast.doctor.rows import Operation
from recast.doctor.snapshots import Snapshots
from recast.doctor.work import Work

_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
# States that only work changes.
TRANSIENT: Mapping[str, Set[str]] = {
    "backup": {"CREATING", "RESTORING", "DELETING"},
    "image": {"CREATING", "DELETING"},
    "server": {"CREATING", "STARTING", "STOPPING", "REBOOTING", "CHANGING_OS", "RESTORING", "DELETING"},
    "disk": {"CREATING", "ATTACHING", "DETACHING", "DELETING"},
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
        _check_state(seen.csbs.work, backup.name, backup.state, TRANSIENT["backup"], findings)
    for image in seen.ims.images.values():
        if image.awaits_bytes:
            findings.in_progress.append(InProgress(image.name, "its upload waits for more bytes"))
        else:
            _check_state(seen.ims.work, image.name, image.state, TRANSIENT["image"], findings)
    for server in seen.ecs.servers.values():
        _check_state(seen.ecs.work, server.name, server.state, TRANSIENT["server"], findings)
    servers_of = {place.disk: place.server for place in seen.ecs.attachments}
    for disk in seen.ecs.disks.values():
        on = disk.name if seen.ecs.work.on(disk.name) else servers_of.get(disk.name, "")
        _check_state(seen.ecs.work, disk.name, disk.state, TRANSIENT["disk"], findings, on)


def _check_state(
    work: Work, name: str, state: str, transient: Collection[str], findings: Findings, on: str = ""
) -> None:
    if state in transient and work.on(on or name) is None:
        findings.add(Code.STATE_NEVER_ENDS, name, f"it is {state}, and no work on it is left")


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
        needs_target = operation.verb in _NEEDING_TARGET and operation.state != "UNDOING"
        if needs_target and operation.target not in resources and not work.is_decided(operation):
            what = f"{operation.verb} is to work on {operation.target}, which is not there"
            findings.add(Code.OPERATION_WITHOUT_RESOURCE, operation.name, what)
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
