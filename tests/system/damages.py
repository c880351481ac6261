"""Every kind of damage to an installation, done to a copy: at least one for each of the doctor's codes."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.doctor import Code
from recast.ecs.v1 import backup_source_service_pb2
from tests.system.patient import (
    DEBIAN,
    DEMO,
    IDLE,
    IDLE_DATA,
    IDLE_SYSTEM,
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

Inflict = Callable[[Patient], None]


@dataclass(frozen=True)
class Damage:
    """A damage to an installation: the doctor must find its codes, and no others."""

    name: str
    inflict: Inflict
    codes: frozenset[Code]
    problems: int
    """The number of problems; 0 for any."""
    deep: bool
    at_rest: bool


DAMAGES: list[Damage] = []


def damage(*codes: Code, deep: bool = False, at_rest: bool = True) -> Callable[[Inflict], Inflict]:
    """Enters a function into the list, by its name."""

    def enter(inflict: Inflict) -> Inflict:
        DAMAGES.append(Damage(inflict.__name__.strip("_"), inflict, frozenset(codes), 0, deep, at_rest))
        return inflict

    return enter


def rows(code: Code, *statements: str) -> None:
    """Enters damages that are nothing but SQL, each of them one problem: `service: statement`."""

    def inflict(patient: Patient) -> None:
        for statement in statements:
            service, _, sql = statement.partition(": ")
            patient.sql(service, sql)

    DAMAGES.append(
        Damage(statements[0], inflict, frozenset({code}), len(statements), deep=False, at_rest=True)
    )


# Operations, and states that work ends.

rows(Code.OPERATION_STATE_WRONG, f"csbs: UPDATE operation SET state = 'RUNNING' WHERE target = '{SPARE}'")
rows(Code.OPERATION_STATE_WRONG, f"csbs: UPDATE operation SET ended = 0 WHERE target = '{SPARE}'")
rows(
    Code.OPERATION_RESULT_WRONG,
    f"csbs: UPDATE operation SET response = NULL WHERE target = '{SPARE}'",
    f"csbs: UPDATE operation SET error = x'00' WHERE target = '{NIGHTLY}'",
    f"ims: UPDATE operation SET state = 'FAILED' WHERE target = '{DEBIAN}'",
    f"ims: UPDATE operation SET state = 'FAILED', response = NULL WHERE target = '{SHOP_DATA}'",
    f"ecs: UPDATE operation SET end_time = NULL WHERE target = '{LOOSE}'",
)
rows(Code.OPERATION_KEEPS_REQUEST, f"ecs: UPDATE operation SET request = x'0a' WHERE target = '{LOOSE}'")
rows(Code.OPERATION_KEEPS_LEASE, f"ims: UPDATE operation SET lease_until = 9e9 WHERE target = '{DEBIAN}'")
rows(Code.STEP_WITHOUT_OPERATION, f"csbs: DELETE FROM operation WHERE target = '{SPARE}'")
rows(
    Code.USE_WITHOUT_WORK,
    "csbs: INSERT INTO operation_use VALUES ('projects/demo/chunks', 'gone', 0)",
    "ims: INSERT INTO operation_use SELECT 'projects/demo/chunks', id, 0 FROM operation LIMIT 1",
)
rows(
    Code.STATE_NEVER_ENDS,
    f"csbs: UPDATE backup SET state = 'RESTORING' WHERE name = '{SPARE}'",
    f"ims: UPDATE image SET state = 'DELETING' WHERE name = '{SHOP_DATA}'",
    f"ims: UPDATE image SET state = 'CREATING', content = NULL WHERE name = '{DEBIAN}'",
    f"ecs: UPDATE server SET state = 'STOPPING' WHERE name = '{WEB}'",
    f"ecs: UPDATE server SET state = 'DELETING' WHERE name = '{IDLE}'",
    f"ecs: UPDATE disk SET state = 'CREATING' WHERE name = '{IDLE_DATA}'",
    f"ecs: UPDATE disk SET state = 'DELETING' WHERE name = '{LOOSE}'",
)


@damage(Code.OPERATION_NOT_ENDED)
def _work_under_way(patient: Patient) -> None:
    patient.add_work("csbs", "CollectChunks", f"{DEMO}/chunks")


@damage(Code.OPERATION_WITHOUT_RESOURCE, at_rest=False)
def _work_on_nothing(patient: Patient) -> None:
    patient.add_work("ecs", "CreateDisk", f"{DEMO}/disks/gone")


# Backups and locks.

rows(Code.BACKUP_CONTENT_MISSING, f"csbs: UPDATE backup SET content = NULL WHERE name = '{NIGHTLY}'")
rows(Code.BACKUP_CONTENT_LEFT, f"csbs: UPDATE backup SET state = 'ERROR' WHERE name = '{SPARE}'")
rows(Code.LOCK_STALE, f"csbs: UPDATE backup SET lock_sequence = 7 WHERE name = '{NIGHTLY}'")
rows(Code.LOCK_HOLDER_WRONG, f"csbs: UPDATE backup SET image = '{WEB_IMAGE}' WHERE name = '{SPARE}'")
rows(Code.LOCK_HOLDER_WRONG, f"csbs: UPDATE backup SET image = '' WHERE name = '{NIGHTLY}'")
rows(Code.LOCK_WITHOUT_OWNER, f"ims: DELETE FROM image WHERE name = '{WEB_IMAGE}'")
rows(
    Code.LOCK_WITHOUT_OWNER,
    f"ims: UPDATE image SET state = 'ERROR', lock_token = 0 WHERE name = '{WEB_IMAGE}'",
)
rows(Code.LOCK_NOT_CONFIRMED, "csbs: UPDATE image_lock SET state = 'HELD'")


@damage(Code.BACKUP_CONTENT_WRONG)
def _disk_missing_from_content(patient: Patient) -> None:
    content = content_pb2.Content.FromString(
        patient.value("csbs", "SELECT content FROM backup WHERE name = ?", SPARE)
    )
    del content.disks[1]
    patient.sql("csbs", "UPDATE backup SET content = ? WHERE name = ?", content.SerializeToString(), SPARE)


@damage(Code.LOCK_WITHOUT_BACKUP, Code.IMAGE_WITHOUT_BACKUP)
def _locked_backup_gone(patient: Patient) -> None:
    patient.sql("csbs", "DELETE FROM backup WHERE name = ?", NIGHTLY)


@damage(Code.LOCK_DOUBLE)
def _two_images_on_one_backup(patient: Patient) -> None:
    other = f"{DEMO}/images/other"
    patient.sql("ims", "DROP INDEX image_of_backup")
    patient.copy_row("ims", "image", WEB_IMAGE, name=other, lock_token=2)
    patient.copy_row("csbs", "image_lock", NIGHTLY, request_id="other", image=other, fencing_token=2)
    patient.sql("csbs", "UPDATE backup SET lock_sequence = 2 WHERE name = ?", NIGHTLY)


@damage(Code.LOCK_WITHOUT_OWNER, Code.IMAGE_WITHOUT_LOCK)
def _image_of_another_backup(patient: Patient) -> None:
    patient.sql("ims", "UPDATE image SET source_backup = ? WHERE name = ?", SPARE, WEB_IMAGE)


@damage(Code.LOCK_WITHOUT_OWNER, Code.IMAGE_WITHOUT_LOCK)
def _image_with_another_token(patient: Patient) -> None:
    patient.sql("ims", "UPDATE image SET lock_token = 7 WHERE name = ?", WEB_IMAGE)


@damage(Code.IMAGE_WITHOUT_LOCK)
def _two_images_of_one_lock(patient: Patient) -> None:
    """FAULT-N01: another image of the backup has the lock."""
    patient.sql("ims", "DROP INDEX image_of_backup")
    patient.copy_row("ims", "image", WEB_IMAGE, name=f"{DEMO}/images/other")


# Stores.


@damage(Code.STORE_UNUSABLE)
def _store_gone(patient: Patient) -> None:
    (patient.root / "store" / "csbs").rename(patient.root / "elsewhere")


@damage(Code.STORE_UNUSABLE)
def _store_of_another_version(patient: Patient) -> None:
    patient.write(patient.root / "store" / "ims" / "recast-chunkstore.json", b'{"version": 2}')


@damage(Code.INDEX_MISSING)
def _index_gone(patient: Patient) -> None:
    patient.index(SPARE).unlink()


@damage(Code.INDEX_CORRUPT)
def _index_swapped(patient: Patient) -> None:
    other = patient.index(SPARE).with_name(patient.index(SPARE).name.replace("-system", "-data-1"))
    patient.write(patient.index(SPARE), other.read_bytes())


@damage(Code.INDEX_CORRUPT)
def _another_key(patient: Patient) -> None:
    (patient.root / "keys" / "csbs-store.key").write_bytes(bytes(32))


@damage(Code.INDEX_SIZE_WRONG)
def _backup_of_another_size(patient: Patient) -> None:
    blobs = patient.sql("csbs", "SELECT disks, content FROM backup WHERE name = ?", SPARE)[0]
    message, content = backup_pb2.Backup.FromString(blobs[0]), content_pb2.Content.FromString(blobs[1])
    message.disks[0].size_bytes += 512
    content.disks[0].size_bytes += 512
    values = message.SerializeToString(), content.SerializeToString()
    patient.sql("csbs", "UPDATE backup SET disks = ?, content = ? WHERE name = ?", *values, SPARE)


@damage(Code.CHUNK_MISSING)
def _chunk_of_a_backup_gone(patient: Patient) -> None:
    patient.chunk("csbs").unlink()


@damage(Code.CHUNK_MISSING)
def _chunk_of_an_import_gone(patient: Patient) -> None:
    patient.chunk("ims").unlink()


@damage(Code.CHUNK_CORRUPT)
def _chunk_emptied(patient: Patient) -> None:
    patient.write(patient.chunk("csbs"), b"")


@damage(Code.CHUNK_CORRUPT, deep=True)
def _chunk_flipped(patient: Patient) -> None:
    patient.flip(patient.chunk("csbs"))


# Images.


@damage(Code.IMAGE_WITHOUT_LOCK)
def _lock_released(patient: Patient) -> None:
    patient.release_locks()


rows(Code.IMAGE_DIFFERS, f"ims: UPDATE image SET disk_count = 3 WHERE name = '{WEB_IMAGE}'")
rows(Code.IMAGE_DIFFERS, f"ims: UPDATE image SET size_bytes = 512 WHERE name = '{WEB_IMAGE}'")
rows(Code.IMAGE_CONTENT_MISSING, f"ims: UPDATE image SET content = NULL WHERE name = '{DEBIAN}'")
rows(Code.IMAGE_CONTENT_LEFT, f"ims: UPDATE image SET state = 'ERROR' WHERE name = '{DEBIAN}'")
rows(
    Code.PIN_WITHOUT_WORK,
    f"ims: INSERT INTO image_pin VALUES ('{DEBIAN}', 'gone', '{WEB}', '2026-01-01 00:00:00')",
)
rows(
    Code.PIN_WITHOUT_IMAGE,
    f"ims: INSERT INTO image_pin VALUES ('gone', 'gone', '{WEB}', '2026-01-01 00:00:00')",
)


@damage(Code.IMAGE_WITHOUT_BACKUP, at_rest=False)
def _backup_of_an_image_being_deleted(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE backup SET state = 'DELETING' WHERE name = ?", NIGHTLY)
    patient.add_work("csbs", "DeleteBackup", NIGHTLY)


@damage(Code.IMAGE_KEEPS_LOCK)
def _failed_image_has_its_token(patient: Patient) -> None:
    patient.release_locks()
    patient.sql("ims", "UPDATE image SET state = 'ERROR' WHERE name = ?", WEB_IMAGE)


@damage(Code.STAGED_FILE_UNOWNED)
def _upload_of_no_image(patient: Patient) -> None:
    (patient.root / "data" / "ims-staging" / "unowned").touch()


@damage(Code.STAGED_FILE_UNOWNED)
def _upload_that_was_imported(patient: Patient) -> None:
    key = patient.value("ims", "SELECT upload_key FROM image WHERE name = ?", DEBIAN)
    (patient.root / "data" / "ims-staging" / key).touch()


# Servers.

rows(
    Code.SERVER_SYSTEM_DISK_WRONG,
    f"ecs: UPDATE attachment SET position = 5 WHERE disk = '{IDLE_SYSTEM}'",
    f"ecs: UPDATE disk SET role = 'SYSTEM' WHERE name = '{WEB_DATA}'",
)
rows(
    Code.SERVER_FREEZE_WRONG,
    f"ecs: UPDATE server SET freeze_id = 'gone', frozen_for = '{SPARE}' WHERE name = '{IDLE}'",
)
rows(Code.HOLD_WITHOUT_WORK, f"ecs: INSERT INTO image_hold (server, image) VALUES ('{IDLE}', '{WEB_IMAGE}')")
rows(
    Code.ATTACHMENT_DANGLING,
    f"ecs: INSERT INTO attachment VALUES ('{IDLE}', 'gone', 9)",
)
rows(
    Code.DISK_USE_WRONG,
    f"ecs: UPDATE disk SET state = 'IN_USE' WHERE name = '{LOOSE}'",
    f"ecs: UPDATE disk SET state = 'AVAILABLE' WHERE name = '{IDLE_DATA}'",
)
rows(Code.SYSTEM_DISK_WITHOUT_SERVER, f"ecs: UPDATE disk SET role = 'SYSTEM' WHERE name = '{LOOSE}'")


@damage(Code.DISK_SHARED_WRONG)
def _disk_at_two_servers(patient: Patient) -> None:
    patient.sql("ecs", "UPDATE disk SET state = 'IN_USE' WHERE name = ?", LOOSE)
    for server in (WEB, IDLE):
        patient.sql("ecs", "INSERT INTO attachment VALUES (?, ?, 2)", server, LOOSE)


@damage(Code.FREEZE_WITHOUT_SERVER, Code.FREEZE_WITHOUT_WORK)
def _freeze_of_a_server_gone(patient: Patient) -> None:
    patient.copy_row("ecs", "freeze", WEB, server="gone", freeze_id="gone", state="FROZEN", answer=b"")


@damage(Code.FREEZE_WITHOUT_WORK)
def _freeze_of_a_backup_that_ended(patient: Patient) -> None:
    patient.copy_row("ecs", "freeze", WEB, freeze_id="gone", backup=SPARE, state="FROZEN", answer=b"")
    patient.sql("ecs", "UPDATE server SET freeze_id = 'gone', frozen_for = ? WHERE name = ?", SPARE, WEB)


@damage(Code.SERVER_FREEZE_WRONG, at_rest=False)
def _freeze_that_the_server_forgot(patient: Patient) -> None:
    patient.copy_row("ecs", "freeze", WEB, freeze_id="new-work", state="FROZEN", answer=b"")
    patient.add_work("csbs", "CreateBackup", SPARE)
    patient.sql("ecs", "UPDATE server SET freeze_id = 'gone' WHERE name = ?", WEB)


# The files of disks.

rows(Code.DISK_FILES_LEFT, f"ecs: UPDATE disk SET state = 'ERROR' WHERE name = '{LOOSE}'")
rows(Code.DISK_SIZE_WRONG, f"ecs: UPDATE disk SET size_bytes = size_bytes + 512 WHERE name = '{LOOSE}'")
rows(Code.DISK_BASE_WRONG, f"ecs: UPDATE disk SET base = '' WHERE name = '{IDLE_DATA}'")
rows(
    Code.TRACKED_BACKUP_WRONG,
    f"ecs: UPDATE disk SET tracked_backup = '{NIGHTLY}' WHERE name = '{WEB_DATA}'",
    f"ecs: UPDATE disk SET tracked_backup = '{SPARE}' WHERE name = '{LOOSE}'",
)


@damage(Code.TRACKED_BACKUP_WRONG)
def _tracked_backup_never_sealed(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE backup SET state = 'ERROR', content = NULL WHERE name = ?", SPARE)


@damage(Code.DISK_FILES_MISSING)
def _folder_gone(patient: Patient) -> None:
    shutil.rmtree(patient.folder(LOOSE))


@damage(Code.DISK_FILES_UNSOUND)
def _layer_gone(patient: Patient) -> None:
    patient.layer(WEB_DATA).unlink()


@damage(Code.DISK_FILES_UNSOUND)
def _file_beside_the_chain(patient: Patient) -> None:
    (patient.folder(WEB_DATA) / "active.next.qcow2").touch()


@damage(Code.DISK_FILES_UNSOUND)
def _base_gone(patient: Patient) -> None:
    patient.base(WEB_DATA).unlink()
    for template in patient.base(WEB_DATA).parent.glob(f"{patient.base(WEB_DATA).stem}-*"):
        template.unlink()


@damage(Code.DISK_FILES_UNSOUND)
def _refcounts_flipped(patient: Patient) -> None:
    patient.flip(patient.folder(LOOSE) / "active.qcow2", 0x10000)  # the refcount table, the second cluster


@damage(Code.DISK_FREEZE_WRONG)
def _freeze_without_a_thaw(patient: Patient) -> None:
    freeze = patient.layer(WEB_DATA).name.removeprefix("layer-").removesuffix(".qcow2")
    (patient.folder(WEB_DATA) / f"frozen-{freeze}").touch()


@damage(Code.DISK_FREEZE_WRONG, at_rest=False)
def _freeze_that_never_reached_the_files(patient: Patient) -> None:
    answer = backup_source_service_pb2.FreezeServerResponse()
    answer.disks.add(disk=IDLE_DATA)
    blob = answer.SerializeToString()
    frozen = {"freeze_id": "work", "backup": NIGHTLY, "state": "FROZEN"}
    patient.copy_row("ecs", "freeze", WEB, server=IDLE, **frozen, answer=blob)
    patient.sql("ecs", "UPDATE server SET freeze_id = 'work', frozen_for = ? WHERE name = ?", NIGHTLY, IDLE)
    patient.add_work("csbs", "CreateBackup", NIGHTLY, operation_id="work")


@damage(Code.TRACKED_CONTENT_WRONG, deep=True)
def _layer_written_to(patient: Patient) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 33554432 512", str(patient.layer(WEB_SYSTEM))]
    subprocess.run(command, check=True, capture_output=True)


# The image cache, and unowned files.


@damage(Code.BASE_WRITABLE, Code.DISK_FILES_UNSOUND)
def _base_writable(patient: Patient) -> None:
    base = patient.base(WEB_DATA)
    patient.write(base, base.read_bytes())
    base.chmod(0o644)


@damage(Code.BASE_WRITABLE)
def _template_writable(patient: Patient) -> None:
    next(patient.base(WEB_DATA).parent.glob("*.overlay")).chmod(0o600)


@damage(Code.BASE_SIZE_WRONG)
def _base_cut_off(patient: Patient) -> None:
    base = patient.base(WEB_DATA)
    patient.write(base, base.read_bytes()[:-512])


@damage(Code.BASE_CONTENT_WRONG, Code.TRACKED_CONTENT_WRONG, deep=True)
def _base_flipped(patient: Patient) -> None:
    patient.flip(patient.base(WEB_DATA), 4 << 20)


@damage(Code.FILE_UNOWNED)
def _unowned_files(patient: Patient) -> None:
    for path in ("disks/x", "disks/.new-x", "bases/.x.raw.new", "bases/x", "bases/x-512.overlay", "core"):
        (patient.host / path).touch()


@damage(Code.KEY_EXPOSED)
def _key_for_all_to_read(patient: Patient) -> None:
    (patient.root / "keys" / "csbs-store.key").chmod(0o644)
