"""Checks of single rows of resources: the resources that they name, their messages, and their results."""

from collections.abc import Iterator, Mapping
from typing import Any

from recast.csbs.v1 import backup_pb2
from recast.doctor.findings import Code, Findings
from recast.doctor.rows import Backup, Disk, Image, Server
from recast.doctor.snapshots import Snapshots

_BACKUP_FIELDS = (
    *("name", "display_name", "description", "server", "image_ready", "incremental"),
    *("size_bytes", "stored_bytes", "image"),
)
_IMAGE_FIELDS = (
    *("name", "display_name", "description", "source_backup", "source_server"),
    *("min_disk_bytes", "size_bytes", "disk_count", "os_name"),
)


def check_projects(seen: Snapshots, findings: Findings) -> None:
    """A row names resources of its own project alone."""
    for owner, named in _references(seen):
        project = "/".join(owner.split("/")[:2])
        for name in named:
            if name and not name.startswith(f"{project}/"):
                findings.add(Code.REFERENCE_FOREIGN, owner, f"it names {name}, which is not in {project}")


def _references(seen: Snapshots) -> Iterator[tuple[str, list[str]]]:
    """The name of each row, and the names in it."""
    for work in (seen.csbs.work, seen.ims.work, seen.ecs.work):
        yield from ((each.name, [each.target]) for each in work.unended.values())
    for backup in seen.csbs.backups.values():
        disks = [disk.disk for disk in backup.described]
        yield backup.name, [f"projects/{backup.project}/", backup.server, backup.image, *disks]
    yield from ((lock.backup, [lock.image]) for lock in seen.csbs.locks)
    for image in seen.ims.images.values():
        sources = [image.source_backup, image.source_server, image.held_server]
        yield image.name, [f"projects/{image.project}/", *sources]
    yield from ((pin.image, [pin.holder]) for pin in seen.ims.pins)
    for server in seen.ecs.servers.values():
        yield server.name, [f"projects/{server.project}/", server.image, server.frozen_for]
    for disk in seen.ecs.disks.values():
        yield disk.name, [f"projects/{disk.project}/", disk.source_image, disk.tracked_backup]
    yield from ((place.server, [place.disk]) for place in seen.ecs.attachments)
    yield from ((hold.server, [hold.image]) for hold in seen.ecs.holds)
    yield from (
        (freeze.server, [freeze.backup, *freeze.disks]) for freeze in seen.ecs.freezes if freeze.is_live
    )


def check_messages(seen: Snapshots, findings: Findings) -> None:
    """The serialized message of a row, which the API answers with, equals the row."""
    for backup in seen.csbs.backups.values():
        if backup.serialized:
            _compare(backup, backup.answer, _BACKUP_FIELDS, _backup_state(backup.answer), findings)
            if list(backup.answer.disks) != list(backup.described):
                findings.add(Code.MESSAGE_WRONG, backup.name, "its message has other disks than its row")
    for image in seen.ims.images.values():
        if image.serialized:
            # It imports gRPC, which takes a tenth of a second: only when needed.
            from recast.ims.v1 import image_pb2  # noqa: PLC0415

            answer = image_pb2.Image.FromString(image.serialized)
            state = image_pb2.ImageState.Name(answer.state).removeprefix("IMAGE_STATE_")
            _compare(image, answer, _IMAGE_FIELDS, state, findings)


def _backup_state(answer: backup_pb2.Backup) -> str:
    return backup_pb2.BackupState.Name(answer.state).removeprefix("BACKUP_STATE_")


def _compare(
    row: Backup | Image, answer: Any, fields: tuple[str, ...], state: str, findings: Findings
) -> None:
    pairs: Mapping[str, tuple[object, object]] = {
        **{name: (getattr(answer, name), getattr(row, name)) for name in fields},
        "state": (state, row.state),
        "etag": (answer.etag.rpartition("-")[2], str(row.version)),
        "error": (answer.HasField("error"), bool(row.error)),
        "finish_time": (answer.HasField("finish_time"), row.finish_time is not None),
    }
    for name, (answered, stored) in pairs.items():
        if answered != stored:
            what = f"its message has {name} {answered or 'empty'}, its row {stored or 'empty'}"
            findings.add(Code.MESSAGE_WRONG, row.name, what)


def check_results(seen: Snapshots, findings: Findings) -> None:
    """A resource has an error only in ERROR; a sealed backup and a NORMAL image have their times."""
    for backup in seen.csbs.backups.values():
        is_sealed = backup.state in {"AVAILABLE", "RESTORING"}
        _check_error(backup.name, backup.state, backup.error, findings, needed=True)
        if is_sealed and not (backup.image_ready and backup.freeze_time and backup.finish_time):
            what = f"it is {backup.state}, and is not image-ready, or has no freeze time or no finish time"
            findings.add(Code.RESULT_WRONG, backup.name, what)
        if backup.state == "ERROR" and backup.image_ready:
            findings.add(Code.RESULT_WRONG, backup.name, "it is in ERROR, and is image-ready")
    for image in seen.ims.images.values():
        _check_error(image.name, image.state, image.error, findings, needed=True)
        if image.state == "NORMAL" and image.finish_time is None:
            findings.add(Code.RESULT_WRONG, image.name, "it is NORMAL, and has no finish time")
    of_ecs: list[Server | Disk] = [*seen.ecs.servers.values(), *seen.ecs.disks.values()]
    for resource in of_ecs:
        # A disk in ERROR has no error when its server's work failed: the server has it.
        _check_error(resource.name, resource.state, resource.error, findings, needed=False)


def _check_error(name: str, state: str, error: bytes | None, findings: Findings, *, needed: bool) -> None:
    # Until their end, a deletion and a restore leave the error of an earlier failure.
    if error and state not in {"ERROR", "DELETING", "RESTORING"}:
        findings.add(Code.RESULT_WRONG, name, f"it is {state}, and has an error")
    elif needed and state == "ERROR" and not error:
        findings.add(Code.RESULT_WRONG, name, "it is in ERROR, and has no error")
