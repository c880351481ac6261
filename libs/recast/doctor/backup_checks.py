"""Checks of backups, their images, and the locks between the two."""

from collections import Counter
from collections.abc import Collection, Sequence

from recast.content.v1 import content_pb2
from recast.doctor.findings import Code, Findings
from recast.doctor.rows import Backup, Image, Lock
from recast.doctor.snapshots import Snapshots

_SEALED = {"AVAILABLE", "RESTORING"}
# The verbs of ECS that read an image.
_READING = {"CreateServers", "CreateDisk", "ChangeServerOs", "ReinstallServerOs"}


def check_backups(seen: Snapshots, findings: Findings) -> None:
    """A sealed backup has the content of each of its disks; others have no content."""
    findings.counts.backups = len(seen.csbs.backups)
    for backup in seen.csbs.backups.values():
        if backup.state in _SEALED:
            _check_content(backup, findings)
        elif backup.state in {"CREATING", "ERROR"} and backup.content:
            findings.add(Code.BACKUP_CONTENT_LEFT, backup.name, f"it is {backup.state} and holds content")


def _check_content(backup: Backup, findings: Findings) -> None:
    if not backup.contents:
        findings.add(Code.BACKUP_CONTENT_MISSING, backup.name, f"it is {backup.state} and holds no content")
        return
    described = [(each.id, each.disk, each.role, each.position, each.size_bytes) for each in backup.described]
    held = [
        (each.id, each.source_disk, each.role, each.position, each.size_bytes) for each in backup.contents
    ]
    if described != held:
        what = f"it shows {_brief(described)}, and holds the content of {_brief(held)}"
        findings.add(Code.BACKUP_CONTENT_WRONG, backup.name, what)
    if [each.position for each in backup.described if each.role == content_pb2.DISK_ROLE_SYSTEM] != [0]:
        what = f"it has not one system disk, at position 0, but {_brief(described)}"
        findings.add(Code.BACKUP_CONTENT_WRONG, backup.name, what)
    sums = {
        "size_bytes": sum(each.size_bytes for each in backup.described),
        "stored_bytes": sum(each.stored_bytes for each in backup.described),
    }
    for field, expected in sums.items():
        if getattr(backup, field) != expected:
            what = f"its {field} is {getattr(backup, field)}, the sum of its disks' {expected}"
            findings.add(Code.BACKUP_CONTENT_WRONG, backup.name, what)


def _brief(disks: Collection[tuple[str, str, int, int, int]]) -> str:
    return ", ".join(
        f"{disk_id} at {position} ({disk}, {size} bytes)" for disk_id, disk, _, position, size in disks
    )


def check_locks(seen: Snapshots, findings: Findings) -> None:
    """Every lock has its backup and its image, and a backup has at most one."""
    held = Counter(lock.backup for lock in seen.csbs.locks)
    for name in [name for name, count in held.items() if count > 1]:
        findings.add(Code.LOCK_DOUBLE, name, f"{held[name]} images hold a lock on it")
    for lock in seen.csbs.locks:
        backup = seen.csbs.backups.get(lock.backup)
        if backup is None:
            findings.add(Code.LOCK_WITHOUT_BACKUP, lock.backup, f"{lock.image} locks it, and it is gone")
        elif held[lock.backup] == 1 and lock.fencing_token != backup.lock_sequence:
            what = f"its lock has token {lock.fencing_token}, the last one given is {backup.lock_sequence}"
            findings.add(Code.LOCK_STALE, lock.backup, what)
        _check_owner(seen, lock, findings)
    for lock in seen.csbs.released:
        last = seen.csbs.backups[lock.backup].lock_sequence
        what = f"token {lock.fencing_token} was given and released, and the last one given is {last}"
        findings.add(Code.LOCK_STALE, lock.backup, what)
    holders = {lock.backup: lock.image for lock in seen.csbs.locks if held[lock.backup] == 1}
    for backup in seen.csbs.backups.values():
        if held[backup.name] <= 1 and backup.image != holders.get(backup.name, ""):
            what = f"{backup.image or 'nothing'} holds it, by its locks {holders.get(backup.name, 'nothing')}"
            findings.add(Code.LOCK_HOLDER_WRONG, backup.name, what)


def _check_owner(seen: Snapshots, lock: Lock, findings: Findings) -> None:
    image, work = seen.ims.images.get(lock.image), seen.ims.work.on(lock.image)
    if image is None:
        owner = "is gone"
    elif image.state == "ERROR":
        owner = "is in ERROR"
    elif image.source_backup != lock.backup:
        owner = f"stands on {image.source_backup or 'no backup'}"
    elif image.state == "NORMAL" and image.lock_token != lock.fencing_token:
        owner = f"holds token {image.lock_token}, the lock's is {lock.fencing_token}"
    else:
        if image.state == "NORMAL" and lock.state != "CONFIRMED":
            what = f"{lock.image} is NORMAL, and its lock is {lock.state}"
            findings.add(Code.LOCK_NOT_CONFIRMED, lock.backup, what, work)
        return
    findings.add(Code.LOCK_WITHOUT_OWNER, lock.backup, f"{lock.image} locks it, and {owner}", work)


def check_images(seen: Snapshots, findings: Findings) -> None:
    """A NORMAL image has content or a backup; any other has neither."""
    findings.counts.images = len(seen.ims.images)
    for image in seen.ims.images.values():
        if image.state == "NORMAL" and image.kind == "FULL_SERVER":
            _check_full_server(seen, image, findings)
        elif image.state == "NORMAL" and not image.contents:
            findings.add(Code.IMAGE_CONTENT_MISSING, image.name, "it is NORMAL and holds no content")
        elif image.state == "NORMAL":
            _check_size(image, "its content", [disk.size_bytes for disk in image.contents], findings)
        elif image.state in {"CREATING", "ERROR"} and image.content:
            findings.add(Code.IMAGE_CONTENT_LEFT, image.name, f"it is {image.state} and holds content")
        if image.kind == "FULL_SERVER" and image.state == "NORMAL" and image.content:
            findings.add(
                Code.IMAGE_CONTENT_LEFT, image.name, "its content is its backup's, and it holds content"
            )
        if image.lock_token and (image.state == "ERROR" or image.kind != "FULL_SERVER"):
            what = f"it is in {image.state}, a {image.kind}, and holds token {image.lock_token}"
            findings.add(Code.IMAGE_KEEPS_LOCK, image.name, f"{what} of {image.source_backup or 'no backup'}")


def _check_full_server(seen: Snapshots, image: Image, findings: Findings) -> None:
    backup = seen.csbs.backups.get(image.source_backup)
    if backup is None or backup.state not in _SEALED:
        state = f"is {backup.state}" if backup else "is gone"
        findings.add(Code.IMAGE_WITHOUT_BACKUP, image.name, f"its backup {image.source_backup} {state}")
        return
    own = (image.source_backup, image.name, image.lock_token)
    if own not in {(lock.backup, lock.image, lock.fencing_token) for lock in seen.csbs.locks}:
        what = f"it has no lock of token {image.lock_token} on its backup {image.source_backup}"
        findings.add(Code.IMAGE_WITHOUT_LOCK, image.name, what)
    if backup.contents:
        _check_size(image, "its backup", [disk.size_bytes for disk in backup.contents], findings)
        _check_defaults(image, backup, findings)


def _check_size(image: Image, of: str, sizes: Sequence[int], findings: Findings) -> None:
    """`sizes` are those of the disks, of which the first is the system disk, or the only one."""
    if (len(sizes), sum(sizes), sizes[0]) != (image.disk_count, image.size_bytes, image.min_disk_bytes):
        what = (
            f"it has {image.disk_count} disks of {image.size_bytes} bytes in all, the first of "
            f"{image.min_disk_bytes}; {of} {len(sizes)} of {sum(sizes)}, the first of {sizes[0]}"
        )
        findings.add(Code.IMAGE_DIFFERS, image.name, what)


def _check_defaults(image: Image, backup: Backup, findings: Findings) -> None:
    """The disks that the API answers with are those of the backup."""
    # It imports gRPC, which takes a tenth of a second: only when needed.
    from recast.ims.v1.image_service_pb2 import GetProvisioningDefaultsResponse  # noqa: PLC0415

    shown = GetProvisioningDefaultsResponse.FromString(image.defaults).disks
    if [(each.id, each.role, each.position, each.size_bytes) for each in shown] != [
        (each.id, each.role, each.position, each.size_bytes) for each in backup.contents
    ]:
        what = f"its defaults name disks {', '.join(each.id for each in shown) or '-'}, unlike its backup's"
        findings.add(Code.IMAGE_DIFFERS, image.name, what)


def check_pins(seen: Snapshots, findings: Findings) -> None:
    """A pin belongs to an image, and to work of ECS that has not ended."""
    ended = {(each.image, each.pin_id) for each in seen.ims.ended_pins}
    for pin in seen.ims.pins:
        if pin.image not in seen.ims.images:
            findings.add(Code.PIN_WITHOUT_IMAGE, pin.image, f"operation {pin.pin_id} pins it, and it is gone")
            continue
        if (pin.image, pin.pin_id) in ended:
            findings.add(
                Code.RESERVATION_REUSED, pin.image, f"pin {pin.pin_id} was released, and is in force"
            )
        work = seen.ecs.work.unended.get(pin.pin_id)
        if work is not None and work.verb not in _READING:
            work = None
        what = f"operation {pin.pin_id} of ECS pins it" + ("" if work else ", and has ended or is gone")
        findings.add(Code.PIN_WITHOUT_WORK, pin.image, what, work)
