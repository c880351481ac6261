"""Every kind of damage to an installation, done to a copy: for each relation of the doctor's RELATIONS.md."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.doctor import Code
from recast.ecs.v1 import backup_source_service_pb2
from recast.ims.v1 import image_pb2, image_service_pb2
from tests.system.patient import (
    DEBIAN,
    DEMO,
    IDLE,
    IDLE_DATA,
    IDLE_SYSTEM,
    LOAD,
    LOOSE,
    NIGHTLY,
    SHOP_DATA,
    SPARE,
    WEB,
    WEB_DATA,
    WEB_IMAGE,
    WEB_SYSTEM,
    Patient,
)

_FAILED_BACKUP = "UPDATE backup SET state = 'ERROR', content = NULL, error = x'00'"
Inflict = Callable[[Patient], None]


@dataclass(frozen=True)
class Damage:
    """A damage to an installation: the doctor must find its codes, and no others."""

    name: str
    relation: str
    """The relation that it breaks, of the doctor's RELATIONS.md."""
    inflict: Inflict
    codes: frozenset[Code]
    problems: int
    """The number of problems; 0 for any."""
    deep: bool
    at_rest: bool


DAMAGES: list[Damage] = []


def damage(
    relation: str, *codes: Code, deep: bool = False, at_rest: bool = True
) -> Callable[[Inflict], Inflict]:
    """Enters a function into the list, by its name. `codes` are the first the relation's own."""

    def enter(inflict: Inflict) -> Inflict:
        DAMAGES.append(
            Damage(inflict.__name__.strip("_"), relation, inflict, frozenset(codes), 0, deep, at_rest)
        )
        return inflict

    return enter


def rows(relation: str, code: Code, *statements: str) -> None:
    """Enters damages that are nothing but SQL, each of them one problem: `service: statement`."""

    def inflict(patient: Patient) -> None:
        for statement in statements:
            service, _, sql = statement.partition(": ")
            patient.sql(service, sql)

    DAMAGES.append(
        Damage(statements[0], relation, inflict, frozenset({code}), len(statements), deep=False, at_rest=True)
    )


# Operations, and states that work ends.

rows(
    "work-state",
    Code.OPERATION_STATE_WRONG,
    f"csbs: UPDATE operation SET state = 'RUNNING' WHERE target = '{SPARE}'",
)
rows(
    "work-state", Code.OPERATION_STATE_WRONG, f"csbs: UPDATE operation SET ended = 0 WHERE target = '{SPARE}'"
)
rows(
    "work-result",
    Code.OPERATION_RESULT_WRONG,
    f"csbs: UPDATE operation SET response = NULL WHERE target = '{SPARE}'",
    f"csbs: UPDATE operation SET error = x'00' WHERE target = '{NIGHTLY}'",
    f"ims: UPDATE operation SET state = 'FAILED' WHERE target = '{DEBIAN}'",
    f"ims: UPDATE operation SET state = 'FAILED', response = NULL WHERE target = '{SHOP_DATA}'",
    f"ecs: UPDATE operation SET end_time = NULL WHERE target = '{LOOSE}'",
)
rows(
    "work-request",
    Code.OPERATION_KEEPS_REQUEST,
    f"ecs: UPDATE operation SET request = x'0a' WHERE target = '{LOOSE}'",
)
rows(
    "work-lease",
    Code.OPERATION_KEEPS_LEASE,
    f"ims: UPDATE operation SET lease_until = 9e9 WHERE target = '{DEBIAN}'",
)
rows("work-steps", Code.STEP_WITHOUT_OPERATION, f"csbs: DELETE FROM operation WHERE target = '{SPARE}'")
rows(
    "work-uses",
    Code.USE_WITHOUT_WORK,
    "csbs: INSERT INTO operation_use VALUES ('projects/demo/chunks', 'gone', 0)",
    "ims: INSERT INTO operation_use SELECT 'projects/demo/chunks', id, 0 FROM operation LIMIT 1",
)
rows(
    "state-known",
    Code.STATE_UNKNOWN,
    f"csbs: UPDATE backup SET state = 'PAUSED' WHERE name = '{SPARE}'",
    f"ims: UPDATE image SET state = '' WHERE name = '{SHOP_DATA}'",
    f"ecs: UPDATE server SET state = 'running' WHERE name = '{WEB}'",
)
rows(
    "state-ends",
    Code.STATE_NEVER_ENDS,
    f"csbs: UPDATE backup SET state = 'RESTORING' WHERE name = '{SPARE}'",
    f"ims: UPDATE image SET state = 'DELETING' WHERE name = '{SHOP_DATA}'",
    f"ims: UPDATE image SET state = 'CREATING', content = NULL WHERE name = '{DEBIAN}'",
    f"ecs: UPDATE server SET state = 'STOPPING' WHERE name = '{WEB}'",
    f"ecs: UPDATE server SET state = 'DELETING' WHERE name = '{IDLE}'",
    f"ecs: UPDATE disk SET state = 'CREATING' WHERE name = '{IDLE_DATA}'",
    f"ecs: UPDATE disk SET state = 'DELETING' WHERE name = '{LOOSE}'",
)
rows(
    "state-result",
    Code.RESULT_WRONG,
    f"csbs: UPDATE backup SET error = x'00' WHERE name = '{SPARE}'",
    f"csbs: UPDATE backup SET image_ready = 0 WHERE name = '{NIGHTLY}'",
    f"ims: UPDATE image SET error = x'00' WHERE name = '{DEBIAN}'",
    f"ims: UPDATE image SET finish_time = NULL WHERE name = '{SHOP_DATA}'",
    f"ecs: UPDATE server SET error = x'00' WHERE name = '{IDLE}'",
    f"ecs: UPDATE disk SET error = x'00' WHERE name = '{LOOSE}'",
)
rows(
    "state-result",
    Code.RESULT_WRONG,
    f"csbs: UPDATE backup SET freeze_time = NULL WHERE name = '{SPARE}'",
    f"csbs: UPDATE backup SET finish_time = NULL WHERE name = '{NIGHTLY}'",
)
rows(
    "row-message",
    Code.MESSAGE_WRONG,
    f"csbs: UPDATE backup SET description = 'other' WHERE name = '{SPARE}'",
    f"csbs: UPDATE backup SET version = version + 1 WHERE name = '{NIGHTLY}'",
    f"ims: UPDATE image SET os_name = 'other' WHERE name = '{DEBIAN}'",
    f"ims: UPDATE image SET display_name = 'other' WHERE name = '{WEB_IMAGE}'",
)
rows(
    "row-project",
    Code.REFERENCE_FOREIGN,
    f"csbs: UPDATE backup SET server = 'projects/other/servers/web' WHERE name = '{LOAD}'",
    f"ims: UPDATE image SET source_server = 'projects/other/servers/web' WHERE name = '{WEB_IMAGE}'",
    f"ecs: UPDATE server SET image = 'projects/other/images/x' WHERE name = '{IDLE}'",
    f"ecs: UPDATE disk SET source_image = 'projects/demo2/images/x' WHERE name = '{LOOSE}'",
    f"ecs: UPDATE server SET project = 'other' WHERE name = '{WEB}'",
)


@damage("row-project", Code.REFERENCE_FOREIGN, Code.INDEX_MISSING)
def _backup_of_another_project(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE backup SET project = 'other' WHERE name = ?", LOAD)


@damage("row-message", Code.MESSAGE_WRONG)
def _message_of_another_backup(patient: Patient) -> None:
    message = patient.value("csbs", "SELECT serialized FROM backup WHERE name = ?", NIGHTLY)
    patient.sql("csbs", "UPDATE backup SET serialized = ? WHERE name = ?", message, SPARE)


@damage("row-message", Code.MESSAGE_WRONG)
def _message_of_an_earlier_state(patient: Patient) -> None:
    blob = patient.value("ims", "SELECT serialized FROM image WHERE name = ?", DEBIAN)
    message = image_pb2.Image.FromString(blob)
    message.state = image_pb2.IMAGE_STATE_CREATING
    patient.sql("ims", "UPDATE image SET serialized = ? WHERE name = ?", message.SerializeToString(), DEBIAN)


@damage("state-result", Code.RESULT_WRONG)
def _failed_backup_without_an_error(patient: Patient) -> None:
    patient.sql("csbs", f"{_FAILED_BACKUP}, image_ready = 0, error = NULL WHERE name = ?", LOAD)
    patient.sql("ecs", "UPDATE disk SET tracked_backup = ''")


@damage("state-result", Code.RESULT_WRONG)
def _failed_backup_for_an_image(patient: Patient) -> None:
    patient.sql("csbs", f"{_FAILED_BACKUP}, image_ready = 1 WHERE name = ?", LOAD)
    patient.sql("ecs", "UPDATE disk SET tracked_backup = ''")


@damage("work-parent", Code.OPERATION_PARENT_WRONG, at_rest=False)
def _child_of_ended_work(patient: Patient) -> None:
    patient.add_work("ecs", "CreateServers", WEB)
    parent = patient.value("ecs", "SELECT id FROM operation WHERE target = ? AND ended = 1 LIMIT 1", LOOSE)
    patient.sql("ecs", "UPDATE operation SET parent = ? WHERE id = 'new-work'", parent)


@damage("work-result", Code.OPERATION_RESULT_WRONG, at_rest=False)
def _result_before_the_end(patient: Patient) -> None:
    patient.add_work("ims", "CollectChunks", f"{DEMO}/chunks")
    patient.sql("ims", "UPDATE operation SET response = x'00' WHERE id = 'new-work'")


@damage("work-uses", Code.USE_CONFLICT, at_rest=False)
def _exclusive_use_beside_another(patient: Patient) -> None:
    for number, exclusive in enumerate((1, 0)):
        patient.add_work("csbs", "CollectChunks", f"{DEMO}/chunks", operation_id=f"work-{number}")
        use = "INSERT INTO operation_use VALUES ('projects/demo/chunks', ?, ?)"
        patient.sql("csbs", use, f"work-{number}", exclusive)


@damage("state-ends", Code.STATE_NEVER_ENDS, at_rest=False)
def _work_that_does_not_end_the_state(patient: Patient) -> None:
    patient.sql("ecs", "UPDATE server SET state = 'STOPPING' WHERE name = ?", WEB)
    patient.add_work("ecs", "ThawServer", WEB)


@damage("reservation-once", Code.RESERVATION_REUSED, at_rest=False)
def _pin_under_a_released_id(patient: Patient) -> None:
    patient.add_work("ecs", "CreateDisk", LOOSE)
    pin = f"INSERT INTO image_pin VALUES ('{DEBIAN}', 'new-work', '{LOOSE}', '2026-01-01 00:00:00')"
    patient.sql("ims", pin)
    tombstone = (
        "INSERT INTO ended_pin (pin_id, image, create_time) VALUES ('new-work', ?, '2026-01-01 00:00:00')"
    )
    patient.sql("ims", tombstone, DEBIAN)


@damage("reservation-once", Code.RESERVATION_REUSED, at_rest=False)
def _hold_under_a_released_id(patient: Patient) -> None:
    _hold(patient, IDLE)
    tombstone = (
        "INSERT INTO ended_hold (hold_id, server, create_time) VALUES ('new-work', ?, '2026-01-01 00:00:00')"
    )
    patient.sql("ecs", tombstone, IDLE)


def _hold(patient: Patient, server: str) -> None:
    """Holds a server for an image that is being made from it."""
    patient.add_work("ims", "CreateImage", WEB_IMAGE)
    patient.sql("ims", "UPDATE image SET held_server = ? WHERE name = ?", server, WEB_IMAGE)
    hold = "INSERT INTO image_hold (server, image, hold_id) VALUES (?, ?, 'new-work')"
    patient.sql("ecs", hold, server, WEB_IMAGE)


@damage("work-at-rest", Code.OPERATION_NOT_ENDED)
def _work_under_way(patient: Patient) -> None:
    patient.add_work("csbs", "CollectChunks", f"{DEMO}/chunks")


@damage("work-resource", Code.OPERATION_WITHOUT_RESOURCE, at_rest=False)
def _work_on_nothing(patient: Patient) -> None:
    patient.add_work("ecs", "CreateDisk", f"{DEMO}/disks/gone")


# Backups and locks.

rows(
    "backup-content",
    Code.BACKUP_CONTENT_MISSING,
    f"csbs: UPDATE backup SET content = NULL WHERE name = '{NIGHTLY}'",
)
rows(
    "backup-content",
    Code.BACKUP_CONTENT_LEFT,
    f"csbs: UPDATE backup SET state = 'ERROR', error = x'00', image_ready = 0 WHERE name = '{SPARE}'",
)
rows("lock-token", Code.LOCK_STALE, f"csbs: UPDATE backup SET lock_sequence = 7 WHERE name = '{NIGHTLY}'")
rows(
    "lock-holder",
    Code.LOCK_HOLDER_WRONG,
    f"csbs: UPDATE backup SET image = '{WEB_IMAGE}' WHERE name = '{SPARE}'",
)
rows("lock-holder", Code.LOCK_HOLDER_WRONG, f"csbs: UPDATE backup SET image = '' WHERE name = '{NIGHTLY}'")
rows("lock-image", Code.LOCK_WITHOUT_OWNER, f"ims: DELETE FROM image WHERE name = '{WEB_IMAGE}'")
rows(
    "lock-image",
    Code.LOCK_WITHOUT_OWNER,
    f"ims: UPDATE image SET state = 'ERROR', error = x'00', lock_token = 0 WHERE name = '{WEB_IMAGE}'",
)
rows("lock-confirmed", Code.LOCK_NOT_CONFIRMED, "csbs: UPDATE image_lock SET state = 'HELD'")


@damage("backup-content", Code.BACKUP_CONTENT_WRONG)
def _disk_missing_from_content(patient: Patient) -> None:
    content = content_pb2.Content.FromString(
        patient.value("csbs", "SELECT content FROM backup WHERE name = ?", SPARE)
    )
    del content.disks[1]
    patient.sql("csbs", "UPDATE backup SET content = ? WHERE name = ?", content.SerializeToString(), SPARE)


@damage("lock-backup", Code.LOCK_WITHOUT_BACKUP, Code.IMAGE_WITHOUT_BACKUP)
def _locked_backup_gone(patient: Patient) -> None:
    patient.sql("csbs", "DELETE FROM backup WHERE name = ?", NIGHTLY)


@damage("lock-single", Code.LOCK_DOUBLE)
def _two_images_on_one_backup(patient: Patient) -> None:
    other = f"{DEMO}/images/other"
    patient.sql("ims", "DROP INDEX image_of_backup")
    patient.copy_row("ims", "image", WEB_IMAGE, name=other, lock_token=2)
    patient.copy_row("csbs", "image_lock", NIGHTLY, request_id="other", image=other, fencing_token=2)
    patient.sql("csbs", "UPDATE backup SET lock_sequence = 2 WHERE name = ?", NIGHTLY)


@damage("lock-image", Code.LOCK_WITHOUT_OWNER, Code.IMAGE_WITHOUT_LOCK)
def _image_of_another_backup(patient: Patient) -> None:
    patient.sql("ims", "UPDATE image SET source_backup = ? WHERE name = ?", SPARE, WEB_IMAGE)


@damage("lock-image", Code.LOCK_WITHOUT_OWNER, Code.IMAGE_WITHOUT_LOCK)
def _image_with_another_token(patient: Patient) -> None:
    patient.sql("ims", "UPDATE image SET lock_token = 7 WHERE name = ?", WEB_IMAGE)


@damage("image-lock", Code.IMAGE_WITHOUT_LOCK)
def _two_images_of_one_lock(patient: Patient) -> None:
    """FAULT-N01: another image of the backup has the lock."""
    patient.sql("ims", "DROP INDEX image_of_backup")
    patient.copy_row("ims", "image", WEB_IMAGE, name=f"{DEMO}/images/other")


# Stores.


@damage("store", Code.STORE_UNUSABLE)
def _store_gone(patient: Patient) -> None:
    (patient.root / "store" / "csbs").rename(patient.root / "elsewhere")


@damage("store", Code.STORE_UNUSABLE)
def _store_of_another_version(patient: Patient) -> None:
    patient.write(patient.root / "store" / "ims" / "recast-chunkstore.json", b'{"version": 2}')


@damage("index", Code.INDEX_MISSING)
def _index_gone(patient: Patient) -> None:
    patient.index(SPARE).unlink()


@damage("index", Code.INDEX_CORRUPT)
def _index_swapped(patient: Patient) -> None:
    other = patient.index(SPARE).with_name(patient.index(SPARE).name.replace("-system", "-data-1"))
    patient.write(patient.index(SPARE), other.read_bytes())


@damage("index", Code.INDEX_CORRUPT)
def _another_key(patient: Patient) -> None:
    (patient.root / "keys" / "csbs-store.key").write_bytes(bytes(32))


@damage("index-size", Code.INDEX_SIZE_WRONG)
def _backup_of_another_size(patient: Patient) -> None:
    blobs = patient.sql("csbs", "SELECT disks, content FROM backup WHERE name = ?", SPARE)[0]
    message, content = backup_pb2.Backup.FromString(blobs[0]), content_pb2.Content.FromString(blobs[1])
    message.disks[0].size_bytes += 512
    content.disks[0].size_bytes += 512
    values = message.SerializeToString(), content.SerializeToString()
    change = "UPDATE backup SET size_bytes = size_bytes + 512, disks = ?, content = ? WHERE name = ?"
    patient.sql("csbs", change, *values, SPARE)


@damage("chunks", Code.CHUNK_MISSING)
def _chunk_of_a_backup_gone(patient: Patient) -> None:
    patient.chunk("csbs").unlink()


@damage("chunks", Code.CHUNK_MISSING)
def _chunk_of_an_import_gone(patient: Patient) -> None:
    patient.chunk("ims").unlink()


@damage("chunks", Code.CHUNK_CORRUPT)
def _chunk_emptied(patient: Patient) -> None:
    patient.write(patient.chunk("csbs"), b"")


@damage("chunks", Code.CHUNK_CORRUPT, deep=True)
def _chunk_flipped(patient: Patient) -> None:
    patient.flip(patient.chunk("csbs"))


# Images.


@damage("image-lock", Code.IMAGE_WITHOUT_LOCK)
def _lock_released(patient: Patient) -> None:
    patient.release_locks()


rows("image-sizes", Code.IMAGE_DIFFERS, f"ims: UPDATE image SET disk_count = 3 WHERE name = '{WEB_IMAGE}'")
rows("image-sizes", Code.IMAGE_DIFFERS, f"ims: UPDATE image SET size_bytes = 512 WHERE name = '{WEB_IMAGE}'")
rows(
    "image-content",
    Code.IMAGE_CONTENT_MISSING,
    f"ims: UPDATE image SET content = NULL WHERE name = '{DEBIAN}'",
)
rows(
    "image-content",
    Code.IMAGE_CONTENT_LEFT,
    f"ims: UPDATE image SET state = 'ERROR', error = x'00' WHERE name = '{DEBIAN}'",
)
rows(
    "pin-work",
    Code.PIN_WITHOUT_WORK,
    f"ims: INSERT INTO image_pin VALUES ('{DEBIAN}', 'gone', '{WEB}', '2026-01-01 00:00:00')",
)
rows(
    "pin-image",
    Code.PIN_WITHOUT_IMAGE,
    f"ims: INSERT INTO image_pin VALUES ('{DEMO}/images/gone', 'gone', '{WEB}', '2026-01-01 00:00:00')",
)


@damage("image-backup", Code.IMAGE_WITHOUT_BACKUP, at_rest=False)
def _backup_of_an_image_being_deleted(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE backup SET state = 'DELETING' WHERE name = ?", NIGHTLY)
    patient.add_work("csbs", "DeleteBackup", NIGHTLY)


@damage("image-token", Code.IMAGE_KEEPS_LOCK)
def _failed_image_has_its_token(patient: Patient) -> None:
    patient.release_locks()
    patient.sql("ims", "UPDATE image SET state = 'ERROR', error = x'00' WHERE name = ?", WEB_IMAGE)


@damage("upload-image", Code.STAGED_FILE_UNOWNED)
def _upload_of_no_image(patient: Patient) -> None:
    (patient.root / "data" / "ims-staging" / "unowned").touch()


@damage("upload-image", Code.STAGED_FILE_UNOWNED)
def _upload_that_was_imported(patient: Patient) -> None:
    key = patient.value("ims", "SELECT upload_key FROM image WHERE name = ?", DEBIAN)
    (patient.root / "data" / "ims-staging" / key).touch()


# Servers.

rows(
    "server-system-disk",
    Code.SERVER_SYSTEM_DISK_WRONG,
    f"ecs: UPDATE attachment SET position = 5 WHERE disk = '{IDLE_SYSTEM}'",
    f"ecs: UPDATE disk SET role = 'SYSTEM' WHERE name = '{WEB_DATA}'",
)
rows(
    "server-freeze",
    Code.SERVER_FREEZE_WRONG,
    f"ecs: UPDATE server SET freeze_id = 'gone', frozen_for = '{SPARE}' WHERE name = '{IDLE}'",
)
rows(
    "hold-work",
    Code.HOLD_WITHOUT_WORK,
    f"ecs: INSERT INTO image_hold (server, image) VALUES ('{IDLE}', '{DEMO}/images/gone')",
)
rows(
    "attachment",
    Code.ATTACHMENT_DANGLING,
    f"ecs: INSERT INTO attachment VALUES ('{IDLE}', '{DEMO}/disks/gone', 9)",
)
rows(
    "disk-use",
    Code.DISK_USE_WRONG,
    f"ecs: UPDATE disk SET state = 'IN_USE' WHERE name = '{LOOSE}'",
    f"ecs: UPDATE disk SET state = 'AVAILABLE' WHERE name = '{IDLE_DATA}'",
)
rows(
    "disk-system",
    Code.SYSTEM_DISK_WITHOUT_SERVER,
    f"ecs: UPDATE disk SET role = 'SYSTEM' WHERE name = '{LOOSE}'",
)


@damage("disk-shared", Code.DISK_SHARED_WRONG)
def _disk_at_two_servers(patient: Patient) -> None:
    patient.sql("ecs", "UPDATE disk SET state = 'IN_USE' WHERE name = ?", LOOSE)
    for server in (WEB, IDLE):
        patient.sql("ecs", "INSERT INTO attachment VALUES (?, ?, 2)", server, LOOSE)


@damage("freeze-server", Code.FREEZE_WITHOUT_SERVER, Code.FREEZE_WITHOUT_WORK)
def _freeze_of_a_server_gone(patient: Patient) -> None:
    patient.copy_row(
        "ecs", "freeze", WEB, server=f"{DEMO}/servers/gone", freeze_id="gone", state="FROZEN", answer=b""
    )


@damage("freeze-work", Code.FREEZE_WITHOUT_WORK)
def _freeze_of_a_backup_that_ended(patient: Patient) -> None:
    patient.copy_row("ecs", "freeze", WEB, freeze_id="gone", backup=SPARE, state="FROZEN", answer=b"")
    patient.sql("ecs", "UPDATE server SET freeze_id = 'gone', frozen_for = ? WHERE name = ?", SPARE, WEB)


@damage("server-freeze", Code.SERVER_FREEZE_WRONG, at_rest=False)
def _freeze_that_the_server_forgot(patient: Patient) -> None:
    patient.copy_row("ecs", "freeze", WEB, freeze_id="new-work", backup=SPARE, state="FROZEN", answer=b"")
    patient.add_work("csbs", "CreateBackup", SPARE)
    patient.sql("ecs", "UPDATE server SET freeze_id = 'gone' WHERE name = ?", WEB)


# The files of disks.

rows("disk-files", Code.DISK_FILES_LEFT, f"ecs: UPDATE disk SET state = 'ERROR' WHERE name = '{LOOSE}'")
rows(
    "disk-size",
    Code.DISK_SIZE_WRONG,
    f"ecs: UPDATE disk SET size_bytes = size_bytes + 512 WHERE name = '{LOOSE}'",
)
rows("disk-base", Code.DISK_BASE_WRONG, f"ecs: UPDATE disk SET base = '' WHERE name = '{IDLE_DATA}'")
rows(
    "disk-changes",
    Code.TRACKED_BACKUP_WRONG,
    f"ecs: UPDATE disk SET tracked_backup = '{NIGHTLY}' WHERE name = '{WEB_DATA}'",
    f"ecs: UPDATE disk SET tracked_backup = '{SPARE}' WHERE name = '{LOOSE}'",
)


@damage("disk-changes", Code.TRACKED_BACKUP_WRONG)
def _tracked_backup_never_sealed(patient: Patient) -> None:
    patient.sql("csbs", f"{_FAILED_BACKUP}, image_ready = 0 WHERE name = ?", SPARE)


@damage("disk-files", Code.DISK_FILES_MISSING)
def _folder_gone(patient: Patient) -> None:
    shutil.rmtree(patient.folder(LOOSE))


@damage("disk-files", Code.DISK_FILES_UNSOUND)
def _layer_gone(patient: Patient) -> None:
    patient.layer(WEB_DATA).unlink()


@damage("disk-files", Code.DISK_FILES_UNSOUND)
def _file_beside_the_chain(patient: Patient) -> None:
    (patient.folder(WEB_DATA) / "active.next.qcow2").touch()


@damage("disk-files", Code.DISK_FILES_UNSOUND)
def _base_gone(patient: Patient) -> None:
    patient.base(WEB_DATA).unlink()
    for template in patient.base(WEB_DATA).parent.glob(f"{patient.base(WEB_DATA).stem}-*"):
        template.unlink()


@damage("disk-files", Code.DISK_FILES_UNSOUND)
def _refcounts_flipped(patient: Patient) -> None:
    patient.flip(patient.folder(LOOSE) / "active.qcow2", 0x10000)  # the refcount table, the second cluster


@damage("disk-freeze", Code.DISK_FREEZE_WRONG)
def _freeze_without_a_thaw(patient: Patient) -> None:
    freeze = patient.layer(WEB_DATA).name.removeprefix("layer-").removesuffix(".qcow2")
    (patient.folder(WEB_DATA) / f"frozen-{freeze}").touch()


@damage("disk-freeze", Code.DISK_FREEZE_WRONG, at_rest=False)
def _freeze_that_never_reached_the_files(patient: Patient) -> None:
    answer = backup_source_service_pb2.FreezeServerResponse()
    answer.disks.add(disk=IDLE_DATA)
    blob = answer.SerializeToString()
    frozen = {"freeze_id": "work", "backup": LOAD, "state": "FROZEN"}
    patient.copy_row("ecs", "freeze", WEB, server=IDLE, **frozen, answer=blob)
    patient.sql("ecs", "UPDATE server SET freeze_id = 'work', frozen_for = ? WHERE name = ?", LOAD, IDLE)
    patient.add_work("csbs", "CreateBackup", LOAD, operation_id="work")


@damage("disk-content", Code.TRACKED_CONTENT_WRONG, deep=True)
def _layer_written_to(patient: Patient) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 33554432 512", str(patient.layer(WEB_SYSTEM))]
    subprocess.run(command, check=True, capture_output=True)


# The image cache, and unowned files.


@damage("base-mode", Code.BASE_WRITABLE, Code.DISK_FILES_UNSOUND)
def _base_writable(patient: Patient) -> None:
    base = patient.base(WEB_DATA)
    patient.write(base, base.read_bytes())
    base.chmod(0o644)


@damage("base-mode", Code.BASE_WRITABLE)
def _template_writable(patient: Patient) -> None:
    next(patient.base(WEB_DATA).parent.glob("*.overlay")).chmod(0o600)


@damage("base-content", Code.BASE_SIZE_WRONG)
def _base_cut_off(patient: Patient) -> None:
    base = patient.base(WEB_DATA)
    patient.write(base, base.read_bytes()[:-512])


@damage("base-content", Code.BASE_CONTENT_WRONG, Code.TRACKED_CONTENT_WRONG, deep=True)
def _base_flipped(patient: Patient) -> None:
    patient.flip(patient.base(WEB_DATA), 4 << 20)


@damage("files", Code.FILE_UNOWNED)
def _unowned_files(patient: Patient) -> None:
    for path in ("disks/x", "disks/.new-x", "bases/.x.raw.new", "bases/x", "bases/x-512.overlay", "core"):
        (patient.host / path).touch()


@damage("keys", Code.KEY_EXPOSED)
def _key_for_all_to_read(patient: Patient) -> None:
    (patient.root / "keys" / "csbs-store.key").chmod(0o644)


# Relations of counts, of ids, and of rows of one service with rows of another.

rows(
    "backup-sums",
    Code.BACKUP_CONTENT_WRONG,
    f"csbs: UPDATE backup SET stored_bytes = stored_bytes + 1 WHERE name = '{SPARE}'",
    f"csbs: UPDATE backup SET size_bytes = 512 WHERE name = '{LOAD}'",
)
rows(
    "image-sizes",
    Code.IMAGE_DIFFERS,
    f"ims: UPDATE image SET min_disk_bytes = 512 WHERE name = '{WEB_IMAGE}'",
)
rows(
    "image-sizes",
    Code.IMAGE_DIFFERS,
    f"ims: UPDATE image SET size_bytes = size_bytes + 512 WHERE name = '{DEBIAN}'",
    f"ims: UPDATE image SET disk_count = 2 WHERE name = '{SHOP_DATA}'",
)
rows("image-token", Code.IMAGE_KEEPS_LOCK, f"ims: UPDATE image SET lock_token = 1 WHERE name = '{DEBIAN}'")
rows(
    "server-freeze",
    Code.SERVER_FREEZE_WRONG,
    f"ecs: UPDATE server SET frozen_for = '{SPARE}' WHERE name = '{WEB}'",
)
rows("disk-host", Code.DISK_HOST_WRONG, f"ecs: UPDATE server SET host = 'other' WHERE name = '{WEB}'")
DAMAGES[-1] = replace(DAMAGES[-1], problems=2)  # one for each of its disks


@damage("disk-host", Code.DISK_HOST_WRONG, Code.FILE_UNOWNED)
def _disk_of_no_host(patient: Patient) -> None:
    patient.sql("ecs", "UPDATE disk SET host = 'gone' WHERE name = ?", LOOSE)


@damage("disk-host", Code.DISK_HOST_WRONG)
def _host_forgotten(patient: Patient) -> None:
    patient.sql("ecs", "DELETE FROM host")


def _change_disks(patient: Patient, backup: str, change: Callable[[Any], None]) -> None:
    """Changes both the disks that a backup shows and those of its content."""
    blobs = patient.sql("csbs", "SELECT disks, content FROM backup WHERE name = ?", backup)[0]
    message, content = backup_pb2.Backup.FromString(blobs[0]), content_pb2.Content.FromString(blobs[1])
    change(message)
    change(content)
    values = message.SerializeToString(), content.SerializeToString()
    patient.sql("csbs", "UPDATE backup SET disks = ?, content = ? WHERE name = ?", *values, backup)


@damage("backup-disks", Code.BACKUP_CONTENT_WRONG)
def _backup_without_a_system_disk(patient: Patient) -> None:
    def change(message: Any) -> None:
        message.disks[0].role = content_pb2.DISK_ROLE_DATA

    _change_disks(patient, SPARE, change)


@damage("backup-disks", Code.BACKUP_CONTENT_WRONG)
def _system_disk_at_another_position(patient: Patient) -> None:
    def change(message: Any) -> None:
        message.disks[0].position = 7

    _change_disks(patient, SPARE, change)


@damage("backup-content", Code.BACKUP_CONTENT_WRONG)
def _disks_at_exchanged_positions(patient: Patient) -> None:
    content = content_pb2.Content.FromString(
        patient.value("csbs", "SELECT content FROM backup WHERE name = ?", SPARE)
    )
    content.disks[1].position = 9
    patient.sql("csbs", "UPDATE backup SET content = ? WHERE name = ?", content.SerializeToString(), SPARE)


@damage("index-size", Code.INDEX_SIZE_WRONG)
def _data_bytes_of_another_backup(patient: Patient) -> None:
    message = backup_pb2.Backup.FromString(
        patient.value("csbs", "SELECT disks FROM backup WHERE name = ?", SPARE)
    )
    message.disks[0].data_bytes += 1 << 20
    patient.sql("csbs", "UPDATE backup SET disks = ? WHERE name = ?", message.SerializeToString(), SPARE)


@damage("lock-token", Code.LOCK_STALE)
def _token_given_twice(patient: Patient) -> None:
    released = {"request_id": "earlier", "state": "RELEASED", "fencing_token": 7}
    patient.copy_row("csbs", "image_lock", NIGHTLY, **released)


@damage("image-sizes", Code.IMAGE_DIFFERS)
def _defaults_without_a_disk(patient: Patient) -> None:
    answer = image_service_pb2.GetProvisioningDefaultsResponse.FromString(
        patient.value("ims", "SELECT defaults FROM image WHERE name = ?", WEB_IMAGE)
    )
    del answer.disks[1]
    patient.sql("ims", "UPDATE image SET defaults = ? WHERE name = ?", answer.SerializeToString(), WEB_IMAGE)


@damage("image-content", Code.IMAGE_CONTENT_LEFT)
def _full_server_image_with_its_own_content(patient: Patient) -> None:
    content = patient.value("ims", "SELECT content FROM image WHERE name = ?", DEBIAN)
    patient.sql("ims", "UPDATE image SET content = ? WHERE name = ?", content, WEB_IMAGE)


@damage("pin-work", Code.PIN_WITHOUT_WORK, at_rest=False)
def _pin_of_work_that_reads_no_image(patient: Patient) -> None:
    patient.add_work("ecs", "RebootServer", WEB)
    pin = f"INSERT INTO image_pin VALUES ('{DEBIAN}', 'new-work', '{WEB}', '2026-01-01 00:00:00')"
    patient.sql("ims", pin)


@damage("hold-server", Code.HOLD_SERVER_WRONG, at_rest=False)
def _hold_of_another_server(patient: Patient) -> None:
    _hold(patient, IDLE)
    patient.sql("ims", "UPDATE image SET held_server = ? WHERE name = ?", WEB, WEB_IMAGE)


@damage("hold-work", Code.HOLD_WITHOUT_WORK, at_rest=False)
def _hold_for_an_import(patient: Patient) -> None:
    _hold(patient, IDLE)
    patient.sql("ims", "UPDATE operation SET verb = 'ImportImage' WHERE id = 'new-work'")


def _freeze(patient: Patient, server: str, backup: str, disks: tuple[str, ...] = ()) -> None:
    """Freezes a server in the rows of ECS alone."""
    answer = backup_source_service_pb2.FreezeServerResponse()
    for disk in disks:
        answer.disks.add(disk=disk)
    row = {"server": server, "freeze_id": "new-work", "backup": backup, "state": "FREEZING"}
    patient.copy_row("ecs", "freeze", WEB, **row, answer=answer.SerializeToString())
    frozen = "UPDATE server SET freeze_id = 'new-work', frozen_for = ? WHERE name = ?"
    patient.sql("ecs", frozen, backup, server)


@damage("freeze-work", Code.FREEZE_WITHOUT_WORK, at_rest=False)
def _freeze_of_work_on_another_backup(patient: Patient) -> None:
    _freeze(patient, WEB, SPARE)
    patient.add_work("csbs", "CreateBackup", NIGHTLY)


@damage("freeze-work", Code.FREEZE_WITHOUT_WORK, at_rest=False)
def _freeze_of_a_restore(patient: Patient) -> None:
    _freeze(patient, WEB, SPARE)
    patient.add_work("csbs", "RestoreBackup", SPARE)


@damage("freeze-backup", Code.FREEZE_BACKUP_WRONG, at_rest=False)
def _freeze_for_a_backup_of_another_server(patient: Patient) -> None:
    _freeze(patient, IDLE, SPARE)
    patient.add_work("csbs", "CreateBackup", SPARE)


@damage("freeze-backup", Code.FREEZE_BACKUP_WRONG, at_rest=False)
def _freeze_of_a_disk_of_another_server(patient: Patient) -> None:
    _freeze(patient, WEB, SPARE, (IDLE_DATA,))
    patient.add_work("csbs", "CreateBackup", SPARE)


@damage("disk-changes", Code.TRACKED_BACKUP_WRONG)
def _tracked_backup_without_the_disk(patient: Patient) -> None:
    def change(message: Any) -> None:
        message.disks[1].CopyFrom(message.disks[1])
        field = "disk" if isinstance(message, backup_pb2.Backup) else "source_disk"
        setattr(message.disks[1], field, LOOSE)

    _change_disks(patient, SPARE, change)


@damage("store-objects", Code.OBJECT_UNKNOWN)
def _objects_of_no_format(patient: Patient) -> None:
    store = patient.root / "store" / "csbs"
    for name in ("core", "demo/notes", "demo/chunks/ab/short", "demo/chunks/ab/" + "AB" * 32):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).touch()


@damage("chunks", Code.CHUNK_MISSING, Code.OBJECT_UNKNOWN)
def _chunk_in_another_folder(patient: Patient) -> None:
    chunk = patient.chunk("csbs")
    folder = chunk.parent.with_name("zz")
    folder.mkdir()
    chunk.rename(folder / chunk.name)


@damage("chunks", Code.CHUNK_CORRUPT)
def _chunk_too_large(patient: Patient) -> None:
    chunk = patient.chunk("csbs")
    patient.write(chunk, b"")
    chunk.chmod(0o600)
    os.truncate(chunk, 600 << 20)


@damage("template", Code.TEMPLATE_WRONG)
def _template_cut_off(patient: Patient) -> None:
    template = next(patient.base(WEB_DATA).parent.glob("*.overlay"))
    patient.write(template, template.read_bytes()[:100])


@damage("template", Code.TEMPLATE_WRONG)
def _template_on_another_base(patient: Patient) -> None:
    folder = patient.base(WEB_DATA).parent
    base = patient.base(WEB_DATA).stem
    other = next(path for path in folder.glob("*.overlay") if not path.name.startswith(base))
    own = next(folder.glob(f"{base}-*.overlay"))
    patient.write(own, other.read_bytes())
