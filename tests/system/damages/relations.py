"""Damages to counts, ids, and rows of one service that name rows of another."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2
from recast.doctor import Code
from recast.ecs.v1 import backup_source_service_pb2
from recast.ims.v1 import image_service_pb2
from tests.system.damages.table import DAMAGES, damage, rows
from tests.system.damages.work import hold
from tests.system.patient import (
    DEBIAN,
    IDLE,
    IDLE_DATA,
    LOAD,
    LOOSE,
    NIGHTLY,
    SHOP_DATA,
    SPARE,
    WEB,
    WEB_DATA,
    WEB_IMAGE,
    Patient,
)

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
    hold(patient, IDLE)
    patient.sql("ims", "UPDATE image SET held_server = ? WHERE name = ?", WEB, WEB_IMAGE)


@damage("hold-work", Code.HOLD_WITHOUT_WORK, at_rest=False)
def _hold_for_an_import(patient: Patient) -> None:
    hold(patient, IDLE)
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
