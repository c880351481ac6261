"""Damages to operations, and to what work reserves."""

from recast.doctor import Code
from recast.ims.v1 import image_pb2
from tests.system.damages.table import damage, rows
from tests.system.patient import (
    DEBIAN,
    DEMO,
    IDLE,
    IDLE_DATA,
    LOAD,
    LOOSE,
    NIGHTLY,
    SHOP_DATA,
    SPARE,
    WEB,
    WEB_IMAGE,
    Patient,
)

_FAILED_BACKUP = "UPDATE backup SET state = 'ERROR', content = NULL, error = x'00'"


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
    hold(patient, IDLE)
    tombstone = (
        "INSERT INTO ended_hold (hold_id, server, create_time) VALUES ('new-work', ?, '2026-01-01 00:00:00')"
    )
    patient.sql("ecs", tombstone, IDLE)


def hold(patient: Patient, server: str) -> None:
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
