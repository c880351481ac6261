"""Damages to backups, locks, stores and images."""

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.doctor import Code
from tests.system.damages.table import damage, rows
from tests.system.patient import (
    DEBIAN,
    DEMO,
    NIGHTLY,
    SPARE,
    WEB,
    WEB_IMAGE,
    Patient,
)

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
