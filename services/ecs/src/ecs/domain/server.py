"""The states of a server, and the operations that each state allows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ecs.domain.refusals import DiskStateForbids, ServerFrozen, ServerInImageCreation, ServerStateForbids
from recast.faults import FieldViolation, RequestInvalid, Unavailable, all_of

DISPLAY_NAME = "1 to 128 letters or digits of any script, `-`, `.` or `_`; no spaces"
"""The rule for display names; a test compares it with the contracts."""
_DISPLAY_NAME = re.compile(r"[\w.-]{1,128}", re.UNICODE)


class ServerState(StrEnum):
    """The state of a server; the names of the contract's enum without its prefix."""

    CREATING = "CREATING"
    """The worker ends it, or removes the row; if it cannot, the server is in ERROR."""
    RUNNING = "RUNNING"
    """StopServer, RebootServer, DeleteServer and a restore end it."""
    STOPPED = "STOPPED"
    """StartServer, ChangeServerOs, ReinstallServerOs, DeleteServer and a restore end it."""
    STARTING = "STARTING"
    """The worker ends it."""
    STOPPING = "STOPPING"
    """The worker ends it."""
    REBOOTING = "REBOOTING"
    """The worker ends it."""
    CHANGING_OS = "CHANGING_OS"
    """The worker ends it."""
    RESTORING = "RESTORING"
    """The worker ends it."""
    DELETING = "DELETING"
    """The worker removes the row; if it cannot, the server is in ERROR."""
    ERROR = "ERROR"
    """A restore or DeleteServer ends it."""


class ServerEvent(StrEnum):
    """An event that changes the state of a server."""

    UP = "up"
    DOWN = "down"
    FAILED = "failed"
    START_BEGUN = "start begun"
    STOP_BEGUN = "stop begun"
    REBOOT_BEGUN = "reboot begun"
    OS_CHANGE_BEGUN = "OS change begun"
    RESTORE_BEGUN = "restore begun"
    DELETION_BEGUN = "deletion begun"


_S, _E = ServerState, ServerEvent
TRANSITIONS: dict[tuple[ServerState, ServerEvent], ServerState] = {
    (_S.CREATING, _E.UP): _S.RUNNING,
    (_S.CREATING, _E.DOWN): _S.STOPPED,
    (_S.RUNNING, _E.STOP_BEGUN): _S.STOPPING,
    (_S.RUNNING, _E.REBOOT_BEGUN): _S.REBOOTING,
    (_S.STOPPED, _E.START_BEGUN): _S.STARTING,
    (_S.STOPPED, _E.OS_CHANGE_BEGUN): _S.CHANGING_OS,
    (_S.STARTING, _E.UP): _S.RUNNING,
    (_S.STARTING, _E.DOWN): _S.STOPPED,
    (_S.STOPPING, _E.DOWN): _S.STOPPED,
    (_S.STOPPING, _E.UP): _S.RUNNING,
    (_S.REBOOTING, _E.UP): _S.RUNNING,
    (_S.CHANGING_OS, _E.UP): _S.RUNNING,
    (_S.CHANGING_OS, _E.DOWN): _S.STOPPED,
    (_S.RESTORING, _E.UP): _S.RUNNING,
    (_S.RESTORING, _E.DOWN): _S.STOPPED,
    **{(state, _E.FAILED): _S.ERROR for state in (_S.CREATING, _S.RESTORING, _S.DELETING)},
    **{(state, _E.RESTORE_BEGUN): _S.RESTORING for state in (_S.RUNNING, _S.STOPPED, _S.ERROR)},
    **{(state, _E.DELETION_BEGUN): _S.DELETING for state in (_S.RUNNING, _S.STOPPED, _S.ERROR)},
}

_WANTED = {
    _E.START_BEGUN: "only a STOPPED server is started",
    _E.STOP_BEGUN: "only a RUNNING server is stopped",
    _E.REBOOT_BEGUN: "only a RUNNING server is rebooted",
    _E.OS_CHANGE_BEGUN: "stop it first: only a STOPPED server's OS is changed",
    _E.RESTORE_BEGUN: "only a RUNNING or STOPPED server, or one in ERROR, is restored",
    _E.DELETION_BEGUN: "only a RUNNING or STOPPED server, or one in ERROR, is deleted",
}


@dataclass(frozen=True)
class Server:
    """The facts about a server that rules need.

    `holds` are the images that are being made from it. `changing_disks` are its disks that are being attached
    or detached, with their states.
    """

    name: str
    state: ServerState
    frozen_for: str = ""
    holds: Sequence[str] = ()
    changing_disks: Mapping[str, str] = field(default_factory=dict)


def advance(server: Server, event: ServerEvent) -> ServerState:
    """The state after the event; a pair that is not in the table is refused.

    So is whatever would begin while a disk is being attached or detached: that is work on the server, too.
    """
    try:
        state = TRANSITIONS[server.state, event]
    except KeyError:
        wanted = _WANTED.get(event, f"its state has no transition by `{event}`")
        raise ServerStateForbids(server=server.name, state=server.state, wanted=wanted) from None
    if server.changing_disks and event in _WANTED:
        wanted = f"server {server.name} is changed once that has ended"
        changing = server.changing_disks.items()
        raise all_of([DiskStateForbids(disk=disk, state=each, wanted=wanted) for disk, each in changing])
    return state


def decide_start(server: Server) -> ServerState:
    """The state of a server after StartServer; refused while an image is made from it (R23)."""
    state = advance(server, ServerEvent.START_BEGUN)
    check_free(server)
    return state


def check_free(server: Server) -> None:
    """Refuses to start a server while an image is made from it (R23)."""
    if server.holds:
        raise all_of([ServerInImageCreation(server=server.name, image=image) for image in server.holds])


def decide_freeze(server: Server) -> None:
    """Refuses to freeze a server that is not RUNNING or STOPPED (V11)."""
    if server.state not in {ServerState.RUNNING, ServerState.STOPPED}:
        wanted = "only a RUNNING or STOPPED server is backed up"
        raise ServerStateForbids(server=server.name, state=server.state, wanted=wanted)
    for disk, state in server.changing_disks.items():  # tried again: no backup need fail for what ends soon
        wanted = f"server {server.name} is frozen once that has ended"
        raise Unavailable(problem=f"disk {disk} is {state}; {wanted}")


def check_thawed(server: Server) -> None:
    """Refuses to change the disks of a frozen server."""
    if server.frozen_for:
        raise ServerFrozen(server=server.name, backup=server.frozen_for)


def check_changeable(server: Server) -> None:
    """Refuses to attach or detach disks unless the server is RUNNING or STOPPED, and not frozen."""
    check_thawed(server)
    if server.state not in {ServerState.RUNNING, ServerState.STOPPED}:
        wanted = "disks are attached to and detached from a RUNNING or STOPPED server"
        raise ServerStateForbids(server=server.name, state=server.state, wanted=wanted)


def check_texts(display_name: str, description: str, noun: str = "server") -> None:
    """Refuses a malformed name or description."""
    fields = []
    if not _DISPLAY_NAME.fullmatch(display_name):
        fields.append(FieldViolation(f"{noun}.display_name", f"must be {DISPLAY_NAME}"))
    if len(description) > 255 or "<" in description or ">" in description:
        fields.append(FieldViolation(f"{noun}.description", "must be at most 255 characters without < and >"))
    if fields:
        raise RequestInvalid(
            problem="; ".join(f"{each.field} {each.description}" for each in fields), fields=fields
        )
