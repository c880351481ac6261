"""Everything that can be wrong with an installation, done to a copy: one damage at least for each of the
doctor's codes.
"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from patient import (
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

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.doctor import Code
from recast.ecs.v1 import backup_source_service_pb2

Inflict = Callable[[Patient], None]


@dataclass(frozen=True)
class Damage:
    """Something done to an installation, and the codes of the problems that this must give, no others."""

    name: str
    inflict: Inflict
    codes: tuple[Code, ...]
    """Each as often as there are problems with it; at least as often, where a damage is `wide`."""
    deep: bool
    at_rest: bool


DAMAGES: list[Damage] = []


def damage(*codes: Code, deep: bool = False, at_rest: bool = True) -> Callable[[Inflict], Inflict]:
    """Enters a function into the list."""

    def enter(inflict: Inflict) -> Inflict:
        DAMAGES.append(Damage(inflict, frozenset(codes), deep, at_rest))
        return inflict

    return enter


def rows(code: Code, service: str, *statements: str, at_rest: bool = True) -> None:
    """Enters a damage that is nothing but SQL; `{web}` and such stand for the rows' names."""
    names = {
        "web": WEB,
        "idle": IDLE,
        "nightly": NIGHTLY,
        "spare": SPARE,
        "debian": DEBIAN,
        "shop_data": SHOP_DATA,
        "web_image": WEB_IMAGE,
        "loose": LOOSE,
        "idle_data": IDLE_DATA,
        "idle_system": IDLE_SYSTEM,
    }

    def inflict(patient: Patient) -> None:
        for statement in statements:
            patient.sql(service, statement.format(**names))

    inflict.__name__ = statements[0]
    DAMAGES.append(Damage(inflict, frozenset({code}), deep=False, at_rest=at_rest))


_OF_SPARE = "WHERE target = '{spare}'"
_GONE = f"{DEMO}/backups/gone"

# Operations, and states that work ends.

rows(Code.OPERATION_STATE_WRONG, "csbs", f"UPDATE operation SET state = 'RUNNING' {_OF_SPARE}")
rows(Code.OPERATION_STATE_WRONG, "csbs", f"UPDATE operation SET ended = 0 {_OF_SPARE}")
rows(Code.OPERATION_RESULT_WRONG, "csbs", f"UPDATE operation SET response = NULL {_OF_SPARE}")
rows(Code.OPERATION_RESULT_WRONG, "csbs", f"UPDATE operation SET error = x'00' {_OF_SPARE}")
rows(Code.OPERATION_RESULT_WRONG, "ims", "UPDATE operation SET state = 'FAILED' WHERE target = '{debian}'")
rows(Code.OPERATION_RESULT_WRONG, "ecs", "UPDATE operation SET end_time = NULL WHERE target = '{loose}'")
rows(Code.OPERATION_KEEPS_REQUEST, "ecs", "UPDATE operation SET request = x'0a' WHERE target = '{loose}'")
rows(Code.OPERATION_KEEPS_LEASE, "ims", "UPDATE operation SET lease_until = 9e9 WHERE target = '{debian}'")
rows(Code.STEP_WITHOUT_OPERATION, "csbs", f"DELETE FROM operation {_OF_SPARE}")
rows(Code.USE_WITHOUT_WORK, "csbs", "INSERT INTO operation_use VALUES ('projects/demo/chunks', 'gone', 0)")
rows(
    Code.USE_WITHOUT_WORK,
    "ims",
    "INSERT INTO operation_use SELECT 'projects/demo/chunks', id, 0 FROM operation",
)
rows(Code.STATE_NEVER_ENDS, "csbs", "UPDATE backup SET state = 'RESTORING' WHERE name = '{spare}'")
rows(Code.STATE_NEVER_ENDS, "ims", "UPDATE image SET state = 'DELETING' WHERE name = '{shop_data}'")
rows(
    Code.STATE_NEVER_ENDS,
    "ims",
    "UPDATE image SET state = 'CREATING', content = NULL WHERE name = '{debian}'",
)
rows(Code.STATE_NEVER_ENDS, "ecs", "UPDATE disk SET state = 'DELETING' WHERE name = '{loose}'")
for _state in ("CREATING", "STARTING", "STOPPING", "REBOOTING", "CHANGING_OS", "RESTORING", "DELETING"):
    rows(Code.STATE_NEVER_ENDS, "ecs", f"UPDATE server SET state = '{_state}' WHERE name = '{{idle}}'")


@damage(Code.OPERATION_NOT_ENDED)
def _work_under_way(patient: Patient) -> None:
    patient.add_work("csbs", "CollectChunks", f"{DEMO}/chunks")


@damage(Code.OPERATION_WITHOUT_RESOURCE, at_rest=False)
def _work_on_nothing(patient: Patient) -> None:
    patient.add_work("ecs", "CreateDisk", f"{DEMO}/disks/gone")


# Backups and locks.

rows(Code.BACKUP_CONTENT_MISSING, "csbs", "UPDATE backup SET content = NULL WHERE name = '{nightly}'")
rows(Code.BACKUP_CONTENT_LEFT, "csbs", "UPDATE backup SET state = 'ERROR' WHERE name = '{spare}'")
rows(Code.LOCK_STALE, "csbs", "UPDATE backup SET lock_sequence = 7 WHERE name = '{nightly}'")
rows(Code.LOCK_WITHOUT_OWNER, "ims", "DELETE FROM image WHERE name = '{web_image}'")
rows(
    Code.LOCK_WITHOUT_OWNER,
    "ims",
    "UPDATE image SET state = 'ERROR', lock_token = 0 WHERE name = '{web_image}'",
)
rows(Code.LOCK_WITHOUT_OWNER, "ims", "UPDATE image SET lock_token = 7 WHERE name = '{web_image}'")
rows(Code.LOCK_NOT_CONFIRMED, "csbs", "UPDATE image_lock SET state = 'HELD'")


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
    patient.copy_row("ims", "image", WEB_IMAGE, name=other, lock_token=2)
    patient.copy_row("csbs", "image_lock", NIGHTLY, request_id="other", image=other, token=2)
    patient.sql("csbs", "UPDATE backup SET lock_sequence = 2 WHERE name = ?", NIGHTLY)


@damage(Code.LOCK_WITHOUT_OWNER, Code.IMAGE_WITHOUT_LOCK)
def _image_of_another_backup(patient: Patient) -> None:
    patient.sql("ims", "UPDATE image SET source_backup = ? WHERE name = ?", SPARE, WEB_IMAGE)


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
    shown, content = backup_pb2.Backup.FromString(blobs[0]), content_pb2.Content.FromString(blobs[1])
    shown.disks[0].size_bytes += 512
    content.disks[0].size_bytes += 512
    values = shown.SerializeToString(), content.SerializeToString()
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

rows(Code.IMAGE_WITHOUT_LOCK, "csbs", "UPDATE image_lock SET state = 'RELEASED'")
rows(Code.IMAGE_DIFFERS, "ims", "UPDATE image SET disk_count = 3 WHERE name = '{web_image}'")
rows(Code.IMAGE_DIFFERS, "ims", "UPDATE image SET size_bytes = 512 WHERE name = '{web_image}'")
rows(Code.IMAGE_CONTENT_MISSING, "ims", "UPDATE image SET content = NULL WHERE name = '{debian}'")
rows(Code.IMAGE_CONTENT_LEFT, "ims", "UPDATE image SET state = 'ERROR' WHERE name = '{debian}'")
rows(
    Code.PIN_WITHOUT_WORK,
    "ims",
    "INSERT INTO image_pin VALUES ('{debian}', 'gone', '{web}', '2026-01-01 00:00:00')",
)
rows(
    Code.PIN_WITHOUT_IMAGE,
    "ims",
    "INSERT INTO image_pin VALUES ('gone', 'gone', '{web}', '2026-01-01 00:00:00')",
)


@damage(Code.IMAGE_WITHOUT_BACKUP, at_rest=False)
def _backup_of_an_image_being_deleted(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE backup SET state = 'DELETING' WHERE name = ?", NIGHTLY)
    patient.add_work("csbs", "DeleteBackup", NIGHTLY)


@damage(Code.IMAGE_KEEPS_LOCK)
def _failed_image_keeps_its_token(patient: Patient) -> None:
    patient.sql("csbs", "UPDATE image_lock SET state = 'RELEASED'")
    patient.sql("ims", "UPDATE image SET state = 'ERROR' WHERE name = ?", WEB_IMAGE)


@damage(Code.STAGED_FILE_UNOWNED)
def _upload_of_nobody(patient: Patient) -> None:
    (patient.root / "data" / "ims-staging" / "nobody").touch()


@damage(Code.STAGED_FILE_UNOWNED)
def _upload_that_was_imported(patient: Patient) -> None:
    key = patient.value("ims", "SELECT upload_key FROM image WHERE name = ?", DEBIAN)
    (patient.root / "data" / "ims-staging" / key).touch()


# Servers.

rows(Code.SERVER_SYSTEM_DISK_WRONG, "ecs", "UPDATE attachment SET position = 5 WHERE disk = '{idle_system}'")
rows(Code.SERVER_SYSTEM_DISK_WRONG, "ecs", "UPDATE disk SET role = 'SYSTEM' WHERE name = '{idle_data}'")
rows(
    Code.SERVER_FREEZE_WRONG,
    "ecs",
    "UPDATE server SET freeze_id = 'gone', frozen_for = '{spare}' WHERE name = '{idle}'",
)
rows(Code.HOLD_WITHOUT_WORK, "ecs", "INSERT INTO image_hold VALUES ('{idle}', '{web_image}')")
rows(Code.ATTACHMENT_DANGLING, "ecs", "DELETE FROM server WHERE name = '{idle}'")
rows(Code.ATTACHMENT_DANGLING, "ecs", "INSERT INTO attachment VALUES ('{idle}', 'gone', 9)")
rows(Code.DISK_USE_WRONG, "ecs", "UPDATE disk SET state = 'IN_USE' WHERE name = '{loose}'")
rows(Code.DISK_USE_WRONG, "ecs", "UPDATE disk SET state = 'AVAILABLE' WHERE name = '{idle_data}'")
rows(
    Code.DISK_SHARED_WRONG,
    "ecs",
    "UPDATE disk SET state = 'IN_USE' WHERE name = '{loose}'",
    "INSERT INTO attachment VALUES ('{idle}', '{loose}', 2), ('{web}', '{loose}', 2)",
)
rows(Code.SYSTEM_DISK_WITHOUT_SERVER, "ecs", "UPDATE disk SET role = 'SYSTEM' WHERE name = '{loose}'")


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

rows(Code.DISK_FILES_LEFT, "ecs", "UPDATE disk SET state = 'ERROR' WHERE name = '{loose}'")
rows(Code.DISK_SIZE_WRONG, "ecs", "UPDATE disk SET size_bytes = size_bytes + 512 WHERE name = '{loose}'")
rows(Code.DISK_BASE_WRONG, "ecs", "UPDATE disk SET base = '' WHERE name = '{idle_data}'")
rows(
    Code.TRACKED_BACKUP_WRONG,
    "ecs",
    "UPDATE disk SET tracked_backup = '{nightly}' WHERE tracked_backup != ''",
)
rows(Code.TRACKED_BACKUP_WRONG, "ecs", "UPDATE disk SET tracked_backup = '{spare}' WHERE name = '{loose}'")
rows(
    Code.TRACKED_BACKUP_WRONG,
    "csbs",
    "UPDATE backup SET state = 'ERROR', content = NULL WHERE name = '{spare}'",
)


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
def _freeze_that_nobody_thaws(patient: Patient) -> None:
    freeze = patient.layer(WEB_DATA).name.removeprefix("layer-").removesuffix(".qcow2")
    (patient.folder(WEB_DATA) / f"frozen-{freeze}").touch()


@damage(Code.DISK_FREEZE_WRONG, at_rest=False)
def _freeze_that_never_reached_the_files(patient: Patient) -> None:
    answer = backup_source_service_pb2.FreezeServerResponse()
    answer.disks.add(disk=IDLE_DATA)
    blob = answer.SerializeToString()
    patient.copy_row("ecs", "freeze", WEB, server=IDLE, freeze_id="new-work", state="FROZEN", answer=blob)
    patient.sql(
        "ecs", "UPDATE server SET freeze_id = 'new-work', frozen_for = ? WHERE name = ?", NIGHTLY, IDLE
    )
    patient.add_work("csbs", "CreateBackup", SPARE)


@damage(Code.TRACKED_CONTENT_WRONG, deep=True)
def _layer_written_to(patient: Patient) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 33554432 512", str(patient.layer(WEB_SYSTEM))]
    subprocess.run(command, check=True, capture_output=True)


# The image cache, and files of nobody.


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


def _new_file(*path: str) -> Inflict:
    def inflict(patient: Patient) -> None:
        patient.host.joinpath(*path).touch()

    inflict.__name__ = f"new file {'/'.join(path)}"
    return inflict


for _path in (
    ("disks", "of-nobody"),
    ("disks", ".new-x"),
    ("bases", ".x.raw.new"),
    ("bases", "x"),
    ("core",),
):
    damage(Code.FILE_UNOWNED)(_new_file(*_path))


@damage(Code.FILE_UNOWNED)
def _template_without_its_base(patient: Patient) -> None:
    (patient.host / "bases" / "gone-512.overlay").touch(mode=0o444)


@damage(Code.KEY_EXPOSED)
def _key_for_all_to_read(patient: Patient) -> None:
    (patient.root / "keys" / "csbs-store.key").chmod(0o644)
