"""Renders a refusal: the block on stderr, the JSON, the exit code, and the next command."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from recast.client.cli.escaping import escaped, json_text
from recast.faults import Kind, Refusal, RemoteRefusal

_EXIT_CODES = {
    Kind.INVALID_ARGUMENT: 2,
    Kind.OUT_OF_RANGE: 2,
    Kind.NOT_FOUND: 3,
    Kind.FAILED_PRECONDITION: 4,
    Kind.ALREADY_EXISTS: 4,
    Kind.ABORTED: 4,
    Kind.UNAVAILABLE: 5,
    Kind.DEADLINE_EXCEEDED: 5,
}

# The next command, by reason. `{image}` is taken from the refusal: a fact of that name, or a violation's
# resource of that collection; without either it is `IMAGE`.
HINTS: Mapping[str, str] = {
    "ARGUMENT_INVALID": "see --help",
    "USAGE_INVALID": "see --help",
    "NO_TOKEN": "`make up` makes the keys; or set RECAST_KEYS or RECAST_TOKEN",
    "ENDPOINTS_INVALID": "or set RECAST_CSBS_ENDPOINT, RECAST_IMS_ENDPOINT and RECAST_ECS_ENDPOINT",
    "FILE_UNREADABLE": "correct the variable, or unset it",
    "OTHER_INSTALLATION": "recast doctor --root FOLDER examines a folder all the same; containers have none",
    "NO_STACK": "start it with `make up`, or give its folder by --root",
    "NOT_RESTARTED": "the terminal of `make up` has the reason",
    "KEY_UNREADABLE": "use the keys of this installation: RECAST_KEYS",
    "WAIT_TIMED_OUT": "recast operation wait {operation}",
    # Any service.
    "REQUEST_INVALID": "correct the fields named above; see --help",
    "TOKEN_INVALID": "unset RECAST_TOKEN, or make one with `recast token` and the right keys",
    "ROLE_NOT_ALLOWED": "use --role operator, or --as csbs|ims|ecs, with the keys of this installation",
    "PROJECT_NOT_FOUND": "a token is for one project: use --project",
    "ETAG_MISMATCH": "read it again, and give the new --etag, or leave --etag out",
    "REQUEST_ID_REUSED": "leave --request-id out, or choose a new one",
    "PAGE_TOKEN_INVALID": "begin again without --page-token",
    "OPERATION_NOT_FOUND": "recast operation list",
    "OPERATION_RUNNING": "recast operation wait {operation}, or recast operation cancel {operation}",
    "TOO_MANY_WAITS": "try again in a moment",
    "UNAVAILABLE": "`recast status` shows which is down; `make up` or `docker compose up` starts them",
    "INTERNAL": "a bug: look for the request id in the service's log",
    "CONFLICT": "try again",
    # CSBS.
    "BACKUP_NOT_FOUND": "recast backup list",
    "BACKUP_NOT_IMAGE_READY": "recast backup get {backup}: wait until it is AVAILABLE, or image_ready",
    "BACKUP_NOT_AVAILABLE": "recast backup get {backup}: wait until it is AVAILABLE",
    "BACKUP_NOT_RESTORABLE": "recast backup get {backup}: wait until it is AVAILABLE",
    "BACKUP_WITHOUT_SYSTEM_DISK": "make a new backup: recast backup create --server SERVER",
    "BACKUP_HAS_SHARED_DISK": "detach it (recast disk detach DISK --server SERVER) and make a new backup",
    "BACKUP_ALREADY_HAS_IMAGE": "use that image, or make room: recast image delete {image}",
    "BACKUP_HAS_IMAGE": "recast image delete {image} (--delete-backup takes the backup with it)",
    "BACKUP_BUSY": "wait for the work on it: recast operation list --service csbs",
    "SERVER_BEING_BACKED_UP": "wait for that backup: recast operation list --service csbs",
    "SERVER_STATE_FORBIDS_BACKUP": "wait until it is RUNNING or STOPPED: recast operation list --service ecs",
    "SERVER_DISKS_CHANGED": "recast backup create --server {server}",
    "BACKUP_ID_TAKEN": "choose another id, or give none",
    "RESTORE_TARGET_INVALID": "say where each disk goes: --map system=DISK --map data-1=DISK",
    # IMS.
    "IMAGE_NOT_FOUND": "recast image list",
    "IMAGE_NOT_NORMAL": "recast image get {image}: wait until it is NORMAL",
    "IMAGE_SOURCE_INVALID": "give exactly one of --backup and --server",
    "IMAGE_NAME_INVALID": "set a name for people with --name",
    "DISCLAIMER_NOT_ACCEPTED": "recast image disclaimer shows it; agree by --accept-disclaimer",
    "IMAGE_CONTENT_MISMATCH": "import the file with the --kind that its content has",
    "SOURCE_NOT_CONFIGURED": "prepare the server as listed above, back it up again, make the image of that",
    "IMAGE_IN_USE": "wait for the servers that are made from it: recast operation list --service ecs",
    "IMAGE_BUSY": "wait for the work on it: recast operation list --service ims",
    "BACKUP_DELETION_FAILED": "the image is gone; recast backup delete {backup}",
    "IMAGE_ID_TAKEN": "choose another id, or give none",
    "UPLOAD_INCOMPLETE": "the same command with the same --request-id resumes it",
    "UPLOAD_MISMATCH": "the file changed while it was uploaded; import it again",
    "DELETE_BACKUP_UNSUPPORTED": "leave --delete-backup out",
    # ECS.
    "SERVER_NOT_FOUND": "recast server list",
    "DISK_NOT_FOUND": "recast disk list",
    "SERVER_STATE_FORBIDS": "wait for the work on it: recast operation list --service ecs",
    "SERVER_FROZEN": "wait for its backup: recast operation list --service csbs",
    "SERVER_IN_IMAGE_CREATION": "wait for the image: recast operation list --service ims",
    "SIZE_BELOW_IMAGE": "recast image defaults {image} shows the least sizes",
    "IMAGE_DISK_UNKNOWN": "recast image defaults {image} shows its disks",
    "IMAGE_GONE": "choose another: recast server change-os {server} --image IMAGE",
    "DISK_ALREADY_ATTACHED": "recast disk detach {disk} --server {server}",
    "DISK_IN_USE": "recast disk detach {disk} --server {server}",
    "SERVER_ID_TAKEN": "choose another id, or give none",
    "DISK_ID_TAKEN": "choose another id, or give none",
}


# A server in these states refuses what needs the other one; in every other state it is being changed.
_STATE_HINTS: Mapping[str, str] = {
    "RUNNING": "recast server stop {server} --wait",
    "STOPPED": "recast server start {server} --wait",
    "ERROR": "recast server get {server} has the reason; recast server delete {server} removes it",
}


def exit_code(refusal: Refusal) -> int:
    """0 done; 2 wrong usage or argument; 3 not found; 4 refused; 5 unavailable; 1 else."""
    return _EXIT_CODES.get(refusal.kind, 1)


class _Facts(dict[str, str]):
    """Facts for a hint: a missing one is its name in capitals, as in help texts; names are cut to ids."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def hint(refusal: Refusal) -> str:
    """The next command; empty when there is none."""
    pattern = HINTS.get(refusal.reason, "")
    if refusal.reason == "SERVER_STATE_FORBIDS":
        pattern = _STATE_HINTS.get(refusal.facts.get("state", ""), pattern)
    # Only a service that does not have the method answers so, or a program that is no service of ours.
    if refusal.reason == "UNIMPLEMENTED":
        pattern = "another service answers there: compare RECAST_*_ENDPOINT with `recast status`"
    resources = [each.resource for each in refusal.violations] + list(refusal.facts.values())
    split = [each.split("/") for each in resources]
    named = [parts for parts in split if len(parts) == 4 and parts[0] == "projects"]
    facts = _Facts({parts[2].removesuffix("s"): parts[3] for parts in reversed(named)})
    return pattern.format_map(facts)


def as_json(refusal: Refusal, request_id: str) -> str:
    """The refusal as one JSON object."""
    return json_text({"error": as_fields(refusal, request_id)})


def as_fields(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """The fields of a refusal, without the empty ones."""
    error = {
        "code": refusal.kind.name,
        "reason": refusal.reason,
        "rule": refusal.rule,
        "message": refusal.text,
        "domain": getattr(refusal, "domain", ""),
        "metadata": refusal.facts,
        "violations": [vars(each) for each in refusal.violations],
        "fields": [vars(each) for each in refusal.fields],
        "retry_seconds": refusal.retry_seconds,
        "hint": hint(refusal),
        "request_id": request_id if isinstance(refusal, RemoteRefusal) else "",
        "exit_code": exit_code(refusal),
    }
    return {key: value for key, value in error.items() if value not in ("", None, [], {})}


def as_text(refusal: Refusal, request_id: str) -> Text:
    """The refusal as a block for people: reason, text, blocking resources, next command."""
    text = Text()
    text.append("refused" if exit_code(refusal) == 4 else "error", style="bold red")
    text.append(f" {refusal.reason}", style="bold")
    if refusal.rule:
        text.append(f" (rule {refusal.rule})")
    text.append(f"\n  {escaped(refusal.text)}")
    # A single violation mostly repeats the text: then only its resource is added.
    for each in refusal.violations:
        if each.description != refusal.text:
            text.append("\n  - " + escaped(f"{each.reason} {each.resource}: {each.description}"))
        elif each.resource:
            text.append(f"\n  - {escaped(each.resource)}")
    for broken in refusal.fields:
        if len(refusal.fields) > 1 or broken.description not in refusal.text:
            text.append("\n  - " + escaped(f"{broken.field}: {broken.description}"))
    if refusal.retry_seconds is not None:
        text.append(f"\n  try again in {refusal.retry_seconds:g} s")
    advice = hint(refusal)
    if advice:
        text.append("\n  next: ", style="bold")
        text.append(escaped(advice))
    if isinstance(refusal, RemoteRefusal):  # any other never left the client: no log has the id
        text.append(f"\n  request id {request_id}", style="dim")
    return text


@contextmanager
def reporting(*, json_wanted: bool = False, code: int = 0) -> Iterator[None]:
    """Reports a refusal of its body, and exits with its code or `code`; for commands without a session."""
    try:
        yield
    except Refusal as refusal:
        found = report(refusal, "", json_wanted=json_wanted, errors=Console(stderr=True))
        raise typer.Exit(code or found) from None


def report(refusal: Refusal, request_id: str, *, json_wanted: bool, errors: Console) -> int:
    """Prints the refusal on stderr and returns the exit code."""
    if json_wanted:
        errors.print(as_json(refusal, request_id), markup=False, highlight=False, soft_wrap=True)
    else:
        errors.print(as_text(refusal, request_id), highlight=False, soft_wrap=True)
    return exit_code(refusal)
