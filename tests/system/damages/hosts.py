"""Damages to servers, the files of disks, and the cache of images."""

import shutil
import subprocess

from recast.doctor import Code
from recast.ecs.v1 import backup_source_service_pb2
from tests.system.damages.table import damage, rows
from tests.system.patient import (
    DEMO,
    IDLE,
    IDLE_DATA,
    IDLE_SYSTEM,
    LOAD,
    LOOSE,
    NIGHTLY,
    SPARE,
    WEB,
    WEB_DATA,
    WEB_SYSTEM,
    Patient,
)

_FAILED_BACKUP = "UPDATE backup SET state = 'ERROR', content = NULL, error = x'00'"


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
